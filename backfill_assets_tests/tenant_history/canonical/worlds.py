"""A small entity with two source tables, and lakes that hold versions of it, for the tests of this folder."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from backfill_assets.adapters.lake.engine import MODEST, Limits
from backfill_assets.adapters.lake.folder import Folder
from backfill_assets.adapters.lake.raw import OURS, RawLake, RawTable
from backfill_assets.adapters.lake.storage import Storage
from backfill_assets.core.source import ColumnType, TableSpec
from backfill_assets.tenant_history.canonical.building import Built, CanonicalBuild
from backfill_assets.tenant_history.canonical.mapping import (
    CanonicalColumn,
    CanonicalSource,
    CanonicalTable,
    Constant,
    Origins,
    RawColumn,
)
from backfill_assets.tenant_history.reading import raw_table
from backfill_assets_tests.tenant_history.canonical.reference import Row, Version, canonical_rows

TENANT = "o'acme"
START = datetime(2024, 1, 1, tzinfo=UTC)


def spec(name: str, **columns: ColumnType) -> TableSpec:
    """A table whose deletions are marked by `gone`."""
    return TableSpec(
        name=name,
        version_field="changed",
        incremental_field="changed",
        deleted_field="gone",
        columns={"id": ColumnType.INTEGER, **columns},
    )


REQUESTS = spec(
    "service/requests",
    title=ColumnType.STRING,
    hours=ColumnType.NUMBER,
    visits=ColumnType.INTEGER,
    active=ColumnType.BOOLEAN,
    due=ColumnType.DATE,
    seen=ColumnType.TIMESTAMP,
    editor=ColumnType.STRING,
)
ALERTS = spec("alerts", title=ColumnType.STRING, level=ColumnType.STRING)

COLUMNS = (
    CanonicalColumn(name="kind", type=ColumnType.STRING),
    CanonicalColumn(name="source", type=ColumnType.STRING),
    CanonicalColumn(name="title", type=ColumnType.STRING),
    CanonicalColumn(name="level", type=ColumnType.STRING),
    CanonicalColumn(name="hours", type=ColumnType.NUMBER),
    CanonicalColumn(name="visits", type=ColumnType.INTEGER),
    CanonicalColumn(name="is_closed", type=ColumnType.BOOLEAN),
    CanonicalColumn(name="due_on", type=ColumnType.DATE),
    CanonicalColumn(name="seen_at", type=ColumnType.TIMESTAMP),
    CanonicalColumn(name="updated_by", type=ColumnType.STRING, tracked=False),
)
ORIGINS: Mapping[str, Origins] = {
    REQUESTS.name: {
        "kind": Constant(text="it's a request"),
        "source": RawColumn(name="visits"),
        "title": RawColumn(name="title"),
        "hours": RawColumn(name="hours"),
        "visits": RawColumn(name="visits"),
        "is_closed": RawColumn(name="active", negated=True),
        "due_on": RawColumn(name="due"),
        "seen_at": RawColumn(name="seen"),
        "updated_by": RawColumn(name="editor"),
    },
    ALERTS.name: {
        # Names the other way round: a canonical column must not be taken for the raw one of that name.
        "title": RawColumn(name="level"),
        "level": RawColumn(name="title"),
    },
}
TICKETS = CanonicalTable(
    service="desk",
    entity="tickets",
    columns=COLUMNS,
    sources=tuple(CanonicalSource(table=table, origins=ORIGINS[table.name]) for table in (REQUESTS, ALERTS)),
)

Raw = Mapping[str, Sequence[Version]]
"""Versions by the name of their table."""


def version(record_id: int, minute: int = 0, *, deleted: bool = False, **columns: Any) -> Version:
    """A version of a record, so many minutes after the start."""
    return {"id": record_id, "changed": START + timedelta(minutes=minute), "_deleted": deleted, **columns}


def lake_on(storage: Storage, *, lock: Callable[[str], AbstractContextManager[None]] | None = None) -> RawLake:
    """A lake whose files only threads of this process write."""
    mutexes: dict[str, Lock] = defaultdict(Lock)

    @contextmanager
    def held(name: str) -> Iterator[None]:
        with mutexes[name]:
            yield

    return RawLake(storage, lock=lock or held)


def lockless(storage: Storage) -> RawLake:
    """A lake whose locks are all lost."""
    return lake_on(storage, lock=lambda _name: nullcontext())


def raw_of(table: TableSpec) -> RawTable:
    """Where the versions of a table lie."""
    return raw_table(TENANT, TICKETS.service, table)


def store(lake: RawLake, raw: Raw, *, run: str = "1") -> None:
    """Merge versions into the files of their days."""
    for source in TICKETS.sources:
        days: dict[date, list[Version]] = defaultdict(list)
        for found in raw.get(source.table.name, ()):
            days[found["changed"].date()].append({**found, f"{OURS}job_id": run})
        table = raw_of(source.table)
        lake.merge(table, {day: _arrow(table, found) for day, found in days.items()})


def _arrow(table: RawTable, versions: Sequence[Version]) -> pa.Table:
    names = {name for found in versions for name in found}
    return pa.Table.from_pylist(list(versions), schema=table.schema(names))


def build(lake: RawLake, *, limits: Limits = MODEST, table: CanonicalTable = TICKETS) -> Built:
    """Build the canonical table."""
    return CanonicalBuild(tenant=TENANT, service=table.service, table=table, lake=lake, limits=limits).build()


NAME = f"{TENANT}/canonical/tickets/source_system=desk/part-00000.parquet"


def content(storage: Storage) -> bytes:
    """The bytes of the canonical file."""
    found = storage.read(NAME)
    assert found is not None
    return bytes(found.content.to_pybytes())


def table_in(storage: Storage) -> pa.Table:
    """The canonical file, read."""
    return pq.read_table(pa.BufferReader(content(storage)))


def rows_in(storage: Storage) -> list[Row]:
    """The rows of the canonical file, in its order."""
    rows: list[Row] = table_in(storage).to_pylist()
    return rows


def built(raw: Raw, root: Path) -> list[Row]:
    """The rows that these versions come to in a lake of their own."""
    storage = Folder(root)
    lake = lake_on(storage)
    store(lake, raw)
    build(lake)
    return rows_in(storage)


def expected(raw: Raw) -> list[Row]:
    """The rows that the reference makes of them."""
    return canonical_rows(TICKETS, TENANT, raw)


def short(rows: Sequence[Row]) -> list[tuple[Any, ...]]:
    """What tests look at most: id, minutes from and to, whether current, what happened, and the title."""
    return [
        (r["source_id"], _minutes(r["effective_from"]), _minutes(r["effective_to"]), r["is_current"], r["change_type"])
        for r in rows
    ]


def _minutes(moment: datetime | None) -> int | None:
    return None if moment is None else (moment - START) // timedelta(minutes=1)
