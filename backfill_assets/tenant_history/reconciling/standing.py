"""What the lake holds of a table, seen as its source would show it: each id once, at its newest version.

Here belongs the counting in a stretch of time and where such a stretch is cut in halves; pure, on Arrow's columns,
because a table may have millions of ids. What the source says belongs to `comparing.py`.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOMENT = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema([("id", pa.string()), ("version", pa.int64()), ("is_deleted", pa.bool_())])
"""Ids are texts here, as services do not agree on their type; versions are microseconds, to be counted fast."""

Version = int
"""Microseconds since 1970."""


def version_of(moment: datetime) -> Version:
    """A moment as a number."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def moment_of(version: Version) -> datetime:
    """A number as a moment."""
    return EPOCH + timedelta(microseconds=version)


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Rows of `SCHEMA`, each id once, in the order of their versions."""

    rows: pa.Table

    @classmethod
    def of(cls, rows: pa.Table) -> "Standing":
        """The newest of all versions of each id."""
        rows = rows.sort_by([("id", "ascending"), ("version", "ascending")]).combine_chunks()
        ids = rows["id"]
        last = pc.not_equal(ids.slice(0, max(len(ids) - 1, 0)), ids.slice(1)).to_pylist() + [True] * min(len(ids), 1)
        return cls(rows=rows.filter(pa.array(last, pa.bool_())).sort_by("version").combine_chunks())

    def at(self, versions: Mapping[str, Version | None]) -> "Standing":
        """The standing in which these ids are at these versions; an id at None is not in it."""
        left = self.rows.filter(pc.invert(pc.is_in(self.rows["id"], pa.array(list(versions), pa.string()))))
        known = [(record_id, version, False) for record_id, version in versions.items() if version is not None]
        both = pa.concat_tables([left, table_of(known)])
        return Standing(rows=both.sort_by("version").combine_chunks())

    def count(self, start: Version, end: Version) -> int:
        """How many ids there are in `[start, end)`."""
        return bisect_left(self._versions, end) - bisect_left(self._versions, start)

    def identities(self, start: Version, end: Version) -> dict[str, Version]:
        """The ids in `[start, end)` with their versions."""
        first, last = bisect_left(self._versions, start), bisect_left(self._versions, end)
        ids = self.rows["id"].slice(first, last - first).to_pylist()
        return dict(zip(ids, self._versions[first:last], strict=True))

    def middle(self, start: Version, end: Version) -> Version | None:
        """Where to cut `[start, end)` so that half of its ids lie on either side, as nearly as equal versions allow.

        None where all are at one version, or there are none.
        """
        first, last = bisect_left(self._versions, start), bisect_left(self._versions, end)
        if first == last:
            return None
        version = self._versions[(first + last) // 2]
        if bisect_left(self._versions, version) > first:
            return version
        after = bisect_right(self._versions, version)
        return self._versions[after] if after < last else None

    def holds(self, ids: Set[str], start: Version, end: Version) -> bool:
        """Whether any of these ids is in `[start, end)`."""
        found = self.rows.filter(pc.is_in(self.rows["id"], pa.array(list(ids), pa.string())))["version"].to_pylist()
        return any(start <= version < end for version in found)

    def cuts(self, start: Version, end: Version, size: int) -> list[Version]:
        """Versions inside of `[start, end)` that cut it in stretches of about so many ids."""
        first, last = bisect_left(self._versions, start), bisect_left(self._versions, end)
        found = {self._versions[place] for place in range(first + size, last, size)}
        return sorted(found - {start})

    @cached_property
    def _versions(self) -> Sequence[Version]:
        column = self.rows["version"].combine_chunks()
        array = (
            column if isinstance(column, pa.Array) else pa.concat_arrays(column.chunks or [pa.array([], pa.int64())])
        )
        return memoryview(array.buffers()[1] or b"").cast("q")[array.offset : array.offset + len(array)]


def table_of(rows: Iterable[tuple[str, Version, bool]]) -> pa.Table:
    """Rows of `SCHEMA`."""
    columns: Sequence[Sequence[Any]] = list(zip(*rows, strict=True)) or [[], [], []]
    return pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)], schema=SCHEMA
    )


def stored_versions(keys: Iterable[pa.Table], *, id_column: str, version_column: str, deleted: str) -> pa.Table:
    """Every version that the lake's files hold, as rows of `SCHEMA`, from their columns of these names."""
    tables = []
    for rows in keys:
        is_deleted = rows[deleted] if deleted in rows.column_names else pa.chunked_array([pa.nulls(len(rows))])
        columns = [rows[id_column].cast(pa.string()), rows[version_column].cast(MOMENT).cast(pa.int64())]
        columns.append(pc.fill_null(is_deleted.cast(pa.bool_()), False))
        tables.append(pa.table(columns, schema=SCHEMA))
    return pa.concat_tables(tables) if tables else SCHEMA.empty_table()


def versions_among(rows: pa.Table, ids: Set[str]) -> Mapping[str, Mapping[Version, bool]]:
    """All versions of these ids, and whether each is one of a deleted record."""
    found: dict[str, dict[Version, bool]] = {}
    for row in rows.filter(pc.is_in(rows["id"], pa.array(list(ids), pa.string()))).to_pylist():
        found.setdefault(row["id"], {})[row["version"]] = row["is_deleted"]
    return found
