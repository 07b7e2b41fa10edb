"""The raw layer of the lake: one Parquet file for each day of a tenant's table.

Here belongs how rows become a file and how a file gains rows. A file only ever gains knowledge: what it holds is
merged with what was read, keyed by (id, version). What a row means belongs to the domain, the care for the disk to
`files.py`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from backfill_assets.adapters.lake.files import Draft, make_folder, refusal, signature, sweep, sync_folder, write_draft
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

    def schema(self, names: Sequence[str]) -> pa.Schema:
        """Declared columns first and typed, then the others by name as strings, ours last."""
        declared = [name for name in self.types if name in names]
        others = sorted(name for name in names if name not in self.types)
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

    def merge(self, table: RawTable, days: Mapping[date, Sequence[Mapping[str, Any]]]) -> Mapping[date, Merged]:
        """Add rows to the files of their days; a file that already holds all of them is not touched.

        A version that a file holds keeps the `_backfill_*` values of the run that stored it.
        """
        folder = self.folder(table)
        with self._lock(f"lake:{folder.relative_to(self._root)}"):
            try:
                return self._merge(table, days) if days else {}
            except OSError as error:
                raise refusal(folder, error) from error

    def _merge(self, table: RawTable, days: Mapping[date, Sequence[Mapping[str, Any]]]) -> Mapping[date, Merged]:
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

    def _merge_day(self, table: RawTable, day: date, rows: Sequence[Mapping[str, Any]]) -> tuple[Merged, Draft | None]:
        path = self.path(table, day)
        names = {name for row in rows for name in row}
        # A version that comes twice is one row, as it is when it comes in two merges.
        once = {(row[table.id_column], row[table.version_column]): dict(row) for row in rows}
        content = pa.Table.from_pylist(list(once.values()), schema=table.schema(sorted(names)))
        added, changed = len(content), 0
        if seen := signature(path):
            content, added, changed = _merge(table, _read(path), content, path)
            if not added and not changed:
                return Merged(rows_added=0, rows_changed=0, bytes=seen[2]), None
        content = _sorted(table, content)
        draft = write_draft(path, lambda file: pq.write_table(content, file, compression="zstd"), seen=seen)
        return Merged(rows_added=added, rows_changed=changed, bytes=draft.size), draft

    def versions(self, table: RawTable) -> Iterator[tuple[Any, datetime]]:
        """Every (id, version) that the table's files hold, day by day."""
        for path in sorted(self.folder(table).glob("*.parquet")):
            file = _read(path, [table.id_column, table.version_column])
            yield from zip(*(column.to_pylist() for column in file.columns), strict=True)


def _read(path: Path, columns: list[str] | None = None) -> pa.Table:
    try:
        with pq.ParquetFile(path) as file:
            return file.read(columns=columns)
    except (OSError, pa.ArrowInvalid) as error:
        raise PermanentError(
            f"{path} cannot be read ({error}); restore it or move it away, then rerun its partition"
        ) from error


def _merge(table: RawTable, stored: pa.Table, fetched: pa.Table, path: Path) -> tuple[pa.Table, int, int]:
    schema = table.schema(sorted({*stored.column_names, *fetched.column_names}))
    old, new = _conform(stored, schema, path), _conform(fetched, schema, path)
    positions = {key: index for index, key in enumerate(_keys(table, old))}
    pairs = [(positions.get(key), index) for index, key in enumerate(_keys(table, new))]
    changed = _changed(old, new, [(i, j) for i, j in pairs if i is not None], set(fetched.column_names))
    added = [j for i, j in pairs if i is None]
    both = pa.concat_tables([old, new])
    kept = list(range(len(old))) + [len(old) + j for j in added]
    known = [changed.get(i, -1) for i in range(len(old))]
    current = [len(old) + j if j >= 0 else i for i, j in enumerate(known)] + kept[len(old) :]
    # A column that was not read this time keeps its stored values, and ours stay those of the first run.
    fresh = {name for name in fetched.column_names if not name.startswith(OURS)}
    columns = [both[name].take(pa.array(current if name in fresh else kept, pa.int64())) for name in schema.names]
    return pa.table(columns, schema=schema), len(added), len(changed)


def _changed(old: pa.Table, new: pa.Table, pairs: list[tuple[int, int]], names: set[str]) -> dict[int, int]:
    """Rows known by (id, version) whose content differs: stored index to fetched index."""
    if not pairs:
        return {}
    mine = old.take(pa.array([i for i, _ in pairs]))
    theirs = new.take(pa.array([j for _, j in pairs]))
    differs = pa.chunked_array([pa.nulls(len(pairs), pa.bool_()).fill_null(False)])
    for name in (n for n in new.column_names if n in names and not n.startswith(OURS)):
        differs = pc.or_(differs, _distinct(mine[name], theirs[name]))
    return {i: j for (i, j), different in zip(pairs, differs.to_pylist(), strict=True) if different}


def _distinct(left: pa.ChunkedArray, right: pa.ChunkedArray) -> pa.ChunkedArray:
    unequal = pc.fill_null(pc.not_equal(left, right), False)
    return pc.or_(unequal, pc.xor(pc.is_null(left), pc.is_null(right)))


def _keys(table: RawTable, content: pa.Table) -> Iterator[tuple[Any, Any]]:
    ids = content[table.id_column].to_pylist()
    versions = content[table.version_column].cast(pa.int64()).to_pylist()
    return zip(ids, versions, strict=True)


def _conform(content: pa.Table, schema: pa.Schema, path: Path) -> pa.Table:
    columns = []
    for field in schema:
        if field.name not in content.column_names:
            columns.append(pa.chunked_array([pa.nulls(len(content), field.type)]))
            continue
        try:
            columns.append(content[field.name].cast(field.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise PermanentError(
                f"{path} holds column {field.name!r} as {content[field.name].type}, which cannot become {field.type}; "
                "the services file declares another type for it than when the file was written: declare that one again"
            ) from error
    return pa.table(columns, schema=schema)


def _sorted(table: RawTable, content: pa.Table) -> pa.Table:
    order = [(table.id_column, "ascending"), (table.version_column, "ascending")]
    return content.take(pc.sort_indices(content, sort_keys=order)).combine_chunks()
