"""The raw layer of the lake: one Parquet file for each day of a tenant's table.

Here belongs how rows become a file and how a file gains rows. A file only ever gains knowledge: what it holds is
merged with what was read, keyed by (id, version), by the arithmetic of `merging.py`. What a row means belongs to the
domain, how a file is kept and replaced to the storage.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from itertools import islice
from random import random
from time import sleep
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from backfill_assets.adapters.lake.digests import Holding, holding_of
from backfill_assets.adapters.lake.merging import DayMerge, Key, conform, merge_day, once_each
from backfill_assets.adapters.lake.storage import Batch, Storage, Stored
from backfill_assets.core.retries import Random, RetryPolicy
from backfill_assets.core.source import ColumnType
from backfill_assets.core.windows import midnight, utc_text
from backfill_assets.errors import PermanentError, TransientError

OURS = "_backfill_"
"""Columns with this prefix are added by us; no record may bring one."""

WRITERS = 4
RACES = RetryPolicy(tries=12, base=0.05, cap=2.0)
"""How often a day's merge is made again because another writer was faster, and the pauses before it."""

MANY_ROWS = 1_000
"""From which on a file is worth compressing well."""

ARROW_TYPES: Mapping[ColumnType, pa.DataType] = {
    ColumnType.INTEGER: pa.int64(),
    ColumnType.NUMBER: pa.float64(),
    ColumnType.BOOLEAN: pa.bool_(),
    ColumnType.TIMESTAMP: pa.timestamp("us", tz="UTC"),
    ColumnType.DATE: pa.date32(),
    ColumnType.STRING: pa.string(),
}


T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class RawTable:
    """Where one tenant's table lies, and what identifies a row in it (flattened column names)."""

    tenant: str
    service: str
    table: str
    id_column: str
    version_column: str
    types: Mapping[str, ColumnType]

    @property
    def key(self) -> Key:
        """The columns that identify a row."""
        return self.id_column, self.version_column

    @property
    def folder(self) -> str:
        """Where the table's files lie, below the root of the lake."""
        return f"{self.tenant}/raw/{self.service}/{self.table}"

    def file(self, day: date) -> str:
        """The file of one day, named by the moment at which the day begins."""
        return f"{self.folder}/{utc_text(midnight(day))}.parquet"

    def day_of(self, file: str) -> date | None:
        """The day whose file this is; None for a file that is no day's."""
        try:
            return datetime.fromisoformat(file.rpartition("/")[2].removesuffix(".parquet")).date()
        except ValueError:
            return None

    def schema(self, names: Iterable[str]) -> pa.Schema:
        """Declared columns first and typed, then the others by name as strings, ours last."""
        wanted = set(names)
        declared = [name for name in self.types if name in wanted]
        others = sorted(wanted - self.types.keys())
        others.sort(key=lambda name: name.startswith(OURS))
        kinds = [(name, self.types.get(name, ColumnType.STRING)) for name in (*declared, *others)]
        return pa.schema([(name, ARROW_TYPES[kind]) for name, kind in kinds])


@dataclass(frozen=True, kw_only=True)
class Merged:
    """What merging rows into a day's file came to; `bytes` is the size of the file afterwards."""

    rows_added: int
    rows_changed: int
    bytes: int


Merge = Callable[[Mapping[date, pa.Table]], Mapping[date, Merged]]


class RawLake:
    """Raw files in a storage.

    `lock` serialises the processes that merge into one table's files. Behind it the storage itself refuses to replace
    a file that is not the one that was read: a lock can be lost without its holder knowing.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        lock: Callable[[str], AbstractContextManager[None]],
        sleep: Callable[[float], None] = sleep,
        random: Random = random,
    ) -> None:
        self._storage = storage
        self._lock = lock
        self._sleep = sleep
        self._random = random

    @property
    def storage(self) -> Storage:
        """What keeps the files."""
        return self._storage

    @property
    def lock(self) -> Callable[[str], AbstractContextManager[None]]:
        """What serialises processes."""
        return self._lock

    def place(self, table: RawTable, day: date) -> str:
        """The path or URL of the file of one day."""
        return self._storage.place(table.file(day))

    def oldest_write(self, tenant: str, service: str) -> datetime | None:
        """When the oldest file of a tenant's service was written; None where there is none."""
        return self._storage.oldest_write(f"{tenant}/raw/{service}")

    def merge(self, table: RawTable, days: Mapping[date, pa.Table]) -> Mapping[date, Merged]:
        """Add rows to the files of their days; a file that already holds all of them is not touched.

        A table's columns are those of `table.schema(names)`; of rows that repeat a key (id, version) the last counts.
        A version that a file holds keeps the `_backfill_*` values of the run that stored it.
        """
        with self.writing(table) as merge:
            return merge(days)

    @contextmanager
    def writing(self, table: RawTable) -> Iterator[Merge]:
        """Keep all others from writing to a table's files while the block lasts; yields what `merge` does."""
        with self._lock(f"lake:{table.folder}"):
            yield partial(self._merge, table)

    def _merge(self, table: RawTable, days: Mapping[date, pa.Table]) -> Mapping[date, Merged]:
        if not days:
            return {}
        # Days are merged side by side, since most of the time goes to waiting for the storage.
        with self._storage.batch(table.folder) as batch, ThreadPoolExecutor(WRITERS) as writers:
            merged = list(writers.map(lambda day: self._merge_day(table, day, days[day], batch), days))
        return dict(zip(days, merged, strict=True))

    def _merge_day(self, table: RawTable, day: date, rows: pa.Table, batch: Batch) -> Merged:
        fetched, name, failures = _fetched(table, rows), table.file(day), 0
        while True:
            stored = self._storage.read(name)
            done = self._merged(table, name, stored, fetched)
            size = stored.content.size if stored else 0
            if done.content is None:
                return Merged(rows_added=0, rows_changed=0, bytes=size)
            content = _encoded(done.content)
            if batch.put(name, content, seen=stored.mark if stored else None):
                return Merged(rows_added=done.rows_added, rows_changed=done.rows_changed, bytes=content.size)
            failures += 1
            if not RACES.may_try_again(failures):
                break
            self._sleep(RACES.delay(failures, self._random))
        raise TransientError(
            f"another writer was faster each of the {failures} times that {self._storage.place(name)} was merged; "
            "try again"
        )

    def _merged(self, table: RawTable, name: str, stored: Stored | None, fetched: pa.Table) -> DayMerge:
        if stored is None:
            return DayMerge(content=fetched if len(fetched) else None, rows_added=len(fetched), rows_changed=0)
        place = self._storage.place(name)
        known = _decoded(stored, place)
        schema = table.schema([*known.column_names, *fetched.column_names])
        # A column that was not read this time keeps its stored values, and ours stay those of the first run.
        fresh = {name for name in fetched.column_names if not name.startswith(OURS)}
        known, fetched = conform(known, schema, where=place), conform(fetched, schema, where="what was read")
        return merge_day(known, fetched, table.key, fresh=fresh)

    def differing(self, table: RawTable, days: Mapping[date, pa.Table]) -> list[date]:
        """The days whose files `merge` would change, oldest first; nothing is written."""
        names = {day: table.file(day) for day in sorted(days)}
        return [
            day
            for day, name in names.items()
            if self._merged(table, name, self._storage.read(name), _fetched(table, days[day])).content is not None
        ]

    def days(self, table: RawTable, start: datetime, end: datetime) -> list[date]:
        """The days in `[start, end)` that have a file, oldest first."""
        found = (table.day_of(name) for name in self._storage.names(table.folder))
        return [day for day in found if day is not None and start <= midnight(day) < end]

    def rows(self, table: RawTable, days: Sequence[date]) -> Iterator[pa.Table]:
        """What the files of these days hold, day by day; a day without a file holds no table."""
        found = self._ahead(lambda day: self._read(table.file(day)), days)
        yield from (rows for rows in found if rows is not None)

    def holding(self, table: RawTable, days: Sequence[date]) -> Holding:
        """Read the files of these days back, and take stock of them."""
        return self.holdings(table, {None: days})[None]

    def holdings(self, table: RawTable, groups: Mapping[T, Sequence[date]]) -> dict[T, Holding]:
        """Read the files of several groups of days back, and take stock of each group."""
        read = self._ahead(lambda day: self._read(table.file(day)), [day for days in groups.values() for day in days])
        files = ((group, islice(read, len(days))) for group, days in groups.items())
        return {group: holding_of(filter(_exists, held), table.key, ours=OURS) for group, held in files}

    def versions(self, table: RawTable) -> Iterator[tuple[Any, datetime]]:
        """Every (id, version) that the table's files hold, day by day."""
        for keys in self.columns(table, list(table.key)):
            yield from zip(*(column.to_pylist() for column in keys.columns), strict=True)

    def columns(self, table: RawTable, names: Sequence[str]) -> Iterator[pa.Table]:
        """These columns of all of the table's files, day by day; a file without one of them is without it here."""
        found = self._ahead(lambda file: self._read(file, names), self._storage.names(table.folder))
        yield from (rows for rows in found if rows is not None)

    def _ahead(self, read: Callable[[T], pa.Table | None], names: Sequence[T]) -> Iterator[pa.Table | None]:
        with ThreadPoolExecutor(WRITERS) as readers:
            # A few files are read ahead, not all: a table may have thousands.
            for start in range(0, len(names), WRITERS):
                yield from readers.map(read, names[start : start + WRITERS])

    def require_readable(self, table: RawTable) -> None:
        """Read every file of the table whole; raises the `PermanentError` that names the first one that is damaged."""
        for name in self._storage.names(table.folder):
            if stored := self._storage.read(name):
                _decoded(stored, self._storage.place(name))

    def _read(self, name: str, columns: Sequence[str] | None = None) -> pa.Table | None:
        stored = self._storage.read(name)
        return None if stored is None else _decoded(stored, self._storage.place(name), columns)


def _fetched(table: RawTable, rows: pa.Table) -> pa.Table:
    return once_each(conform(rows, table.schema(rows.column_names), where="what was read"), table.key)


def _exists(rows: pa.Table | None) -> bool:
    return rows is not None


def _encoded(content: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    # Starting zstd for each of fifty columns costs more than reading and writing the few values of most days.
    pq.write_table(content, sink, compression="zstd" if len(content) >= MANY_ROWS else "snappy")
    return sink.getvalue()


def _decoded(stored: Stored, place: str, columns: Sequence[str] | None = None) -> pa.Table:
    try:
        with pq.ParquetFile(pa.BufferReader(stored.content)) as file:
            # Several files are read side by side as it is.
            return file.read(columns=columns and list(columns), use_threads=False)
    except (OSError, pa.ArrowInvalid) as error:
        raise PermanentError(
            f"{place} cannot be read ({error}); restore it or move it away, then rerun its partition"
        ) from error
