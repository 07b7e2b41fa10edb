"""An installation put into a database of the product, and its metadata rows read back.

Here belongs the way between plain values and the tables.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Engine, Table, select

from backfill_assets.adapters.spiffworkflow.memory import Installation, Instance, MetadataRow, Task
from backfill_assets.sandbox.spiffworkflow.schema import DOCUMENTS, INSTANCES, ROWS, TASKS

MICROSECONDS = 1_000_000


def load(engine: Engine, installation: Installation) -> None:
    """Insert all that the installation holds, in one transaction."""
    with engine.begin() as connection:
        _insert(connection, INSTANCES, [_instance(one) for one in installation.instances])
        _insert(connection, DOCUMENTS, [{"hash": name, "data": text} for name, text in installation.documents.items()])
        _insert(connection, TASKS, [_task(one) for one in installation.tasks])
        _insert(connection, ROWS, [_row(one) for one in installation.rows.values()])


def stored_rows(engine: Engine) -> Mapping[tuple[int, str], MetadataRow]:
    """The metadata rows by instance and key."""
    with engine.connect() as connection:
        rows = [MetadataRow(**_named(found)) for found in connection.execute(select(ROWS)).mappings()]
    return {(row.instance_id, row.key): row for row in rows}


def _insert(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        connection.execute(table.insert(), rows)


def _instance(instance: Instance) -> Mapping[str, Any]:
    return {
        "id": instance.id,
        "process_model_identifier": instance.model,
        "process_model_display_name": instance.model.rpartition("/")[2],
        "process_initiator_id": 1,
        "updated_at_in_seconds": instance.created_at,
        "created_at_in_seconds": instance.created_at,
        "status": instance.status,
    }


def _task(task: Task) -> Mapping[str, Any]:
    return {
        "guid": task.guid,
        "bpmn_process_id": task.instance_id,
        "process_instance_id": task.instance_id,
        "task_definition_id": 1,
        "state": task.state,
        "properties_json": "{}",
        "json_data_hash": task.json_data_hash,
        "python_env_data_hash": task.python_env_data_hash,
        "end_in_seconds": None if task.ended_at is None else Decimal(task.ended_at) / MICROSECONDS,
    }


def _row(row: MetadataRow) -> Mapping[str, Any]:
    return {
        "process_instance_id": row.instance_id,
        "key": row.key,
        "value": row.value,
        "updated_at_in_seconds": row.updated_at,
        "created_at_in_seconds": row.created_at,
    }


def _named(found: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        "instance_id": found["process_instance_id"],
        "key": found["key"],
        "value": found["value"],
        "updated_at": found["updated_at_in_seconds"],
        "created_at": found["created_at_in_seconds"],
    }
