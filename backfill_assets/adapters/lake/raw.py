"""The raw layer of the lake: one Parquet file for each day of a tenant's table.

Here belongs how rows become a file and how a file gains rows. A file only ever gains knowledge: what it holds is
merged with what was read, keyed by (id, version), by the arithmetic of `merging.py`. What a row means belongs to the
domain, the care for the disk to `files.py`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from backfill_assets.adapters.lake.files import Draft, make_folder, refusal, signature, sweep, sync_folder, write_draft
from backfill_assets.adapters.lake.merging import Key, conform, merge_day, once_each
from backfill_assets.core.source import ColumnType
from backfill_assets.core.windows import midnight, utc_text
from backfill_assets.errors import PermanentError

OURS = "_backfill_"
"""Columns with this prefix are added by us; no record may bring one."""

WRITERS = 4

ARROW_TYPES: Mapping[ColumnType, pa.DataType] = {
    ColumnType.INTEGER: pa.int64(),
    ColumnType.NUMBER: pa.float64(),
    ColumnType.BOOLEAN: pa.bool_(),
    ColumnType.TIMESTAMP: pa.timestamp("us", tz="UTC"),
    ColumnType.DATE: pa.date32(),
    ColumnType.STRING: pa.string(),
}


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


class RawLake:
    """Raw files below a local folder.

    `lock` serialises the processes that merge into one table's files. A file is replaced atomically, and reaches the
    disk before the replacement does, so that no moment exists in which it is missing or half written.
    """

    def __init__(self, root: Path, *, lock: Callable[[str], AbstractContextManager[None]]) -> None:
        self._root = root
        self._lock = lock

    def folder(self, table: RawTable) -> Path:
        """The folder that holds the table's files."""
        return self._root / table.tenant / "raw" / table.service / table.table

    def path(self, table: RawTable, day: date) -> Path:
        """The file of one day, named by the moment at which the day begins."""
        return self.folder(table) / f"{utc_text(midnight(day))}.parquet"

    def oldest_write(self, tenant: str, service: str) -> datetime | None:
        """When the oldest file of a tenant's service was written; None where there is none."""
        folder = self._root / tenant / "raw" / service
        try:
            oldest = min((file.stat().st_mtime for file in folder.glob("*/*.parquet")), default=None)
        except OSError as error:
            raise PermanentError(f"{folder} cannot be read ({error.strerror}); give the right to read it") from error
        return None if oldest is None else datetime.fromtimestamp(oldest, UTC)

    def merge(self, table: RawTable, days: Mapping[date, pa.Table]) -> Mapping[date, Merged]:
        """Add rows to the files of their days; a file that already holds all of them is not touched.

        A table's columns are those of `table.schema(names)`; of rows that repeat a key (id, version) the last counts.
        A version that a file holds keeps the `_backfill_*` values of the run that stored it.
        """
        folder = self.folder(table)
        with self._lock(f"lake:{folder.relative_to(self._root)}"):
            try:
                return self._merge(table, days) if days else {}
            except OSError as error:
                raise refusal(folder, error) from error

    def _merge(self, table: RawTable, days: Mapping[date, pa.Table]) -> Mapping[date, Merged]:
        folder = self.folder(table)
        make_folder(folder)
        sweep(folder)
        # Drafts are written side by side, since most of the time goes to waiting for the disk. Only this thread puts
        # them in place: an interrupt can give the lock back while the others still write.
        with ThreadPoolExecutor(WRITERS) as writers:
            merged = list(writers.map(lambda day: self._merge_day(table, day, days[day]), days))
        drafts = [draft for _, draft in merged if draft is not None]
        try:
            for draft in drafts:
                draft.publish()
        finally:
            for draft in drafts:
                draft.discard()
        sync_folder(folder)
        return {day: result for day, (result, _) in zip(days, merged, strict=True)}

    def _merge_day(self, table: RawTable, day: date, rows: pa.Table) -> tuple[Merged, Draft | None]:
        path = self.path(table, day)
        content = once_each(conform(rows, table.schema(rows.column_names), where="what was read"), table.key)
        added, changed = len(content), 0
        if seen := signature(path):
            content, added, changed = _merge(table, _read(path), content, path)
        if not added and not changed:
            return Merged(rows_added=0, rows_changed=0, bytes=seen[2] if seen else 0), None
        draft = write_draft(path, lambda file: pq.write_table(content, file, compression="zstd"), seen=seen)
        return Merged(rows_added=added, rows_changed=changed, bytes=draft.size), draft

    def versions(self, table: RawTable) -> Iterator[tuple[Any, datetime]]:
        """Every (id, version) that the table's files hold, day by day."""
        for path in sorted(self.folder(table).glob("*.parquet")):
            file = _read(path, list(table.key))
            yield from zip(*(column.to_pylist() for column in file.columns), strict=True)


def _read(path: Path, columns: list[str] | None = None) -> pa.Table:
    try:
        with pq.ParquetFile(path) as file:
            return file.read(columns=columns)
    except (OSError, pa.ArrowInvalid) as error:
        raise PermanentError(
            f"{path} cannot be read ({error}); restore it or move it away, then rerun its partition"
        ) from error


def _merge(table: RawTable, stored: pa.Table, fetched: pa.Table, path: Path) -> tuple[pa.Table | None, int, int]:
    schema = table.schema(sorted({*stored.column_names, *fetched.column_names}))
    # A column that was not read this time keeps its stored values, and ours stay those of the first run.
    fresh = {name for name in fetched.column_names if not name.startswith(OURS)}
    old, new = conform(stored, schema, where=str(path)), conform(fetched, schema, where="what was read")
    done = merge_day(old, new, table.key, fresh=fresh)
    return done.content, done.rows_added, done.rows_changed
