"""The product's database as its migrations leave it, as far as a backfill of metadata meets it.

Here belong the tables with their types, keys and indexes, and making them. The product has many more of them, and
columns that point to those; what is left out here is never read or written by a backfill.
"""

from typing import Any

from sqlalchemy import (
    Column,
    Engine,
    ForeignKey,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    UniqueConstraint,
)
from sqlalchemy.types import UserDefinedType


class JsonText(UserDefinedType[str]):
    """A JSON column that is given the text itself, so that what is stored is exactly what was made."""

    cache_ok = True

    def get_col_spec(self, **_options: Any) -> str:
        """The type's name, which is the same everywhere."""
        return "JSON"


SCHEMA = MetaData()

INSTANCES = Table(
    "process_instance",
    SCHEMA,
    Column("id", Integer, primary_key=True),
    Column("process_model_identifier", String(255), nullable=False, index=True),
    Column("process_model_display_name", String(255), nullable=False, index=True),
    Column("process_initiator_id", Integer, nullable=False, index=True),
    Column("start_in_seconds", Integer, index=True),
    Column("end_in_seconds", Integer, index=True),
    Column("updated_at_in_seconds", Integer),
    Column("created_at_in_seconds", Integer),
    Column("status", String(50), index=True),
)
DOCUMENTS = Table(
    "json_data",
    SCHEMA,
    Column("hash", String(255), primary_key=True),
    Column("data", JsonText, nullable=False),
)
TASKS = Table(
    "task",
    SCHEMA,
    Column("guid", String(36), primary_key=True),
    Column("bpmn_process_id", Integer, nullable=False, index=True),
    Column("process_instance_id", Integer, ForeignKey("process_instance.id"), nullable=False, index=True),
    Column("task_definition_id", Integer, nullable=False, index=True),
    Column("state", String(10), nullable=False, index=True),
    Column("properties_json", JsonText, nullable=False),
    Column("json_data_hash", String(255), nullable=False, index=True),
    Column("python_env_data_hash", String(255), nullable=False, index=True),
    Column("start_in_seconds", Numeric(17, 6)),
    Column("end_in_seconds", Numeric(17, 6)),
    Column("runtime_info", JsonText),
)
ROWS = Table(
    "process_instance_metadata",
    SCHEMA,
    Column("id", Integer, primary_key=True),
    Column("process_instance_id", Integer, ForeignKey("process_instance.id"), nullable=False, index=True),
    Column("key", String(255), nullable=False, index=True),
    Column("value", String(255), nullable=False),
    Column("updated_at_in_seconds", Integer, nullable=False),
    Column("created_at_in_seconds", Integer, nullable=False),
    UniqueConstraint("process_instance_id", "key", name="process_instance_metadata_unique"),
)


def create(engine: Engine) -> None:
    """Make the tables in an empty database."""
    SCHEMA.create_all(engine)
