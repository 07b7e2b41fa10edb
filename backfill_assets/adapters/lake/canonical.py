"""The canonical layer of the lake: for each tenant, entity and service one Parquet file, made anew from raw files.

Here belongs how the raw files are held still while they are read, how DuckDB makes a file of them, and how that takes
its place. What a row means, and the SQL that says it, belong to the domain.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from backfill_assets.adapters.lake.engine import MODEST, Limits, engine, told
from backfill_assets.adapters.lake.raw import RawLake, RawTable
from backfill_assets.errors import PermanentError, TransientError

if TYPE_CHECKING:
    import duckdb

FETCHERS = 8
"""Raw files that are fetched at once: from S3 most of the time goes to waiting."""

ROW_GROUP = 122_880
"""Rows in a row group: a multiple of DuckDB's vectors, so that the number of threads moves no bound."""

FILE, ROW = "file_index", "file_row_number"
"""DuckDB's own columns that say which row of a table's files one is; no order of the files is implied."""

Select = Callable[[Sequence[frozenset[str]]], str]
"""Makes the SELECT from the columns that each source has; source number n is read as the view `source_n`."""


@dataclass(frozen=True, kw_only=True)
class CanonicalFile:
    """Where one tenant's rows of an entity from one service lie, below the root of the lake."""

    tenant: str
    entity: str
    service: str

    @property
    def folder(self) -> str:
        """The file's folder, named as Hive names a partition."""
        return f"{self.tenant}/canonical/{self.entity}/source_system={self.service}"

    @property
    def name(self) -> str:
        """The file."""
        return f"{self.folder}/part-00000.parquet"


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """What a file came to: the versions that were read, and the rows, distinct ids and current rows that are in it."""

    versions: int
    rows: int
    ids: int
    current: int
    bytes: int


@dataclass(frozen=True, kw_only=True)
class CanonicalLake:
    """Makes canonical files beside the raw ones.

    A lock serialises the processes that make the same file, from reading to publishing, so that what was read earlier
    never replaces what was read later; should the lock be lost, the storage refuses it.
    """

    raw: RawLake
    limits: Limits = MODEST

    def place(self, file: CanonicalFile) -> str:
        """The path or URL of a file."""
        return self.raw.storage.place(file.name)

    def rebuild(
        self, file: CanonicalFile, sources: Sequence[RawTable], select: Select, *, at_least: int = 0
    ) -> Rebuilt:
        """Replace the file by what the statement says of the sources' files as they are now.

        Raises `PermanentError` where these hold fewer than `at_least` versions.
        """
        storage = self.raw.storage
        with self.raw.lock(f"canonical:{file.folder}"), storage.scratch(file.folder) as scratch:
            seen = storage.mark(file.name)
            copies = [self._fetched(table, scratch / f"source_{number}") for number, table in enumerate(sources)]
            draft = scratch / "draft"
            with self._told(file, sources), engine(scratch / "spill", self.limits) as duck:
                columns = [_view(duck, f"source_{number}", paths) for number, paths in enumerate(copies)]
                _require_readable_names(columns, sources)
                versions = sum(_count(duck, f"source_{number}") for number, paths in enumerate(copies) if paths)
                self._require(versions, at_least, sources)
                rebuilt = _write(duck, select(columns), draft, versions)
            if not storage.publish(file.name, draft, seen=seen):
                raise TransientError(f"another writer was at work while {self.place(file)} was being made; try again")
            return rebuilt

    def _fetched(self, table: RawTable, into: Path) -> list[str]:
        """Files that hold what the table's files hold now, while others go on merging."""
        into.mkdir()
        names = self.raw.storage.names(table.folder)
        paths = [into / str(number) for number in range(len(names))]
        with ThreadPoolExecutor(FETCHERS) as fetchers:
            fetched = list(fetchers.map(self.raw.storage.fetch, names, paths))
        if not all(fetched):
            place = self.raw.storage.place(table.folder)
            raise TransientError(f"files of {place} went away while they were read; try again")
        return [*map(str, paths)]

    def _require(self, versions: int, at_least: int, sources: Sequence[RawTable]) -> None:
        if versions < at_least:
            places = ", ".join(self.raw.storage.place(table.folder) for table in sources)
            raise PermanentError(
                f"{places} hold {versions} versions, and the certificates of their windows tell of {at_least}; put "
                "back the files that are gone, or read the history again, then rerun this partition"
            )

    @contextmanager
    def _told(self, file: CanonicalFile, sources: Sequence[RawTable]) -> Iterator[None]:
        try:
            with told(f"{self.place(file)} could not be made", self.limits):
                yield
        except PermanentError:
            # A damaged file is told by its name, which DuckDB knows only by its copy.
            for table in sources:
                self.raw.require_readable(table)
            raise


def _view(duck: "duckdb.DuckDBPyConnection", name: str, paths: Sequence[str]) -> frozenset[str]:
    """Let a view be all rows of these files; return their columns, none where there are no files."""
    if not paths:
        return frozenset()
    duck.execute(f"SET VARIABLE {name} = ?", [paths])
    scan = f"read_parquet(getvariable('{name}'), union_by_name = true, hive_partitioning = false)"
    duck.execute(f"CREATE TEMP VIEW {name} AS SELECT *, {FILE}, {ROW} FROM {scan}")  # noqa: S608 - our own names
    described = duck.execute(f"DESCRIBE SELECT * FROM {scan}").fetchall()  # noqa: S608
    return frozenset(column for column, *_ in described)


def _require_readable_names(columns: Sequence[frozenset[str]], sources: Sequence[RawTable]) -> None:
    for found, table in zip(columns, sources, strict=True):
        if taken := {FILE, ROW} & {name.lower() for name in found}:
            raise PermanentError(
                f"the raw files of {table.folder} hold a column {min(taken)!r}, a name that DuckDB needs for itself; "
                "no canonical table can be made of them"
            )


def _count(duck: "duckdb.DuckDBPyConnection", view: str) -> int:
    [[count]] = duck.execute(f"SELECT count(*) FROM {view}").fetchall()  # noqa: S608
    return int(count)


def _write(duck: "duckdb.DuckDBPyConnection", select: str, draft: Path, versions: int) -> Rebuilt:
    duck.execute("SET VARIABLE draft = ?", [str(draft)])
    duck.execute(
        f"COPY ({select}) TO (getvariable('draft')) (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROW_GROUP})"
    )
    counts = "count(*), count(DISTINCT source_id), count(*) FILTER (is_current)"
    [row] = duck.execute(f"SELECT {counts} FROM read_parquet(getvariable('draft'))").fetchall()  # noqa: S608
    rows, ids, current = row
    return Rebuilt(versions=versions, rows=rows, ids=ids, current=current, bytes=draft.stat().st_size)
