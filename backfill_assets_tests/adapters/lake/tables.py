"""A table of the lake and its rows, for the tests of this folder."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from threading import Lock
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from backfill_assets.adapters.lake.raw import OURS, RawLake, RawTable
from backfill_assets.adapters.lake.storage import Storage, Stored
from backfill_assets.core.source import ColumnType

DAY = date(2024, 1, 7)
MIDNIGHT = datetime(2024, 1, 7, tzinfo=UTC)
TABLE = RawTable(
    tenant="acme",
    service="desk",
    table="service_tickets",
    id_column="id",
    version_column="changed",
    types={
        "id": ColumnType.INTEGER,
        "open": ColumnType.BOOLEAN,
        "hours": ColumnType.NUMBER,
        "due": ColumnType.DATE,
        "changed": ColumnType.TIMESTAMP,
    },
)


def row(record_id: int, minute: int = 0, *, run: str = "1", **columns: Any) -> dict[str, Any]:
    """A row whose version is that minute of the day, stored by that run."""
    moment = MIDNIGHT + timedelta(minutes=minute)
    return {"id": record_id, "changed": moment, **columns, f"{OURS}job_id": f"job {run}"}


def arrow(rows: Sequence[Mapping[str, Any]], table: RawTable = TABLE) -> pa.Table:
    """Rows as the lake takes them; a column that a row does not name is null in it."""
    return pa.Table.from_pylist(list(rows), schema=table.schema({name for found in rows for name in found}))


def lake_on(storage: Storage) -> RawLake:
    """A lake whose files only threads of this process write."""
    mutex = Lock()

    @contextmanager
    def lock(name: str) -> Iterator[None]:
        with mutex:
            yield

    return RawLake(storage, lock=lock)


def merge(lake: RawLake, *rows: Mapping[str, Any], table: RawTable = TABLE) -> tuple[int, int]:
    """Merge rows into the day's file; how many were added and how many changed."""
    merged = lake.merge(table, {DAY: arrow(rows, table)})[DAY]
    return merged.rows_added, merged.rows_changed


def stored(storage: Storage, table: RawTable = TABLE, day: date = DAY) -> Stored:
    """The file of the day as it is stored."""
    found = storage.read(table.file(day))
    assert found is not None
    return found


def put(storage: Storage, content: bytes, table: RawTable = TABLE, day: date = DAY) -> None:
    """Store this as the file of the day, whatever is there."""
    found = storage.read(table.file(day))
    with storage.batch(table.folder) as batch:
        assert batch.put(table.file(day), pa.py_buffer(content), seen=found.mark if found else None)


def content(storage: Storage, table: RawTable = TABLE) -> Sequence[Mapping[str, Any]]:
    """The rows of the day's file, in its order."""
    rows: list[dict[str, Any]] = pq.read_table(pa.BufferReader(stored(storage, table).content)).to_pylist()
    return rows
