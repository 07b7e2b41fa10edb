"""Work orders in memory: the twin of `SnowflakeOrders`, for tests and dry runs.

Here belongs what a table holds, as plain rows in any order, and reading them by the same rules.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any

from backfill_assets.core.orders import (
    DATE,
    ID,
    Position,
    Span,
    Standing,
    order_schema,
    standing_of,
)
from backfill_assets.core.windows import BEGINNING

if TYPE_CHECKING:
    import pyarrow as pa

Row = Mapping[str, Any]


class MemorySource:
    """An `OrderSource` over rows by our names; change them between two readings."""

    def __init__(self, rows: Sequence[Row] = ()) -> None:
        self.rows = list(rows)

    def check(self) -> str:
        """See `OrderSource.check`."""
        return f"{len(self.rows)} records in memory"

    def standing(self, span: Span) -> Standing:
        """See `OrderSource.standing`."""
        return standing_of(row[ID] or "" for row in self._in(span))

    def duplicates(self) -> Mapping[str, datetime | None]:
        """See `OrderSource.duplicates`."""
        dates: dict[str, list[datetime | None]] = {}
        for row in self.rows:
            if row[ID]:
                dates.setdefault(row[ID], []).append(row[DATE])
        several = {record_id: found for record_id, found in dates.items() if len(found) > 1}
        return {record_id: max((at for at in found if at), default=None) for record_id, found in several.items()}

    def pages(self, span: Span, after: Position | None, limit: int) -> "Iterator[pa.Table]":
        """See `OrderSource.pages`."""
        page: list[Row] = []
        for position, group in groupby(self._in(span), _position):
            if after is not None and position <= after:
                continue
            rows = list(group)
            if page and len(page) + len(rows) > limit:
                yield _table(page)
                page = []
            page += rows
        if page:
            yield _table(page)

    def fetch(self, ids: Sequence[str]) -> "pa.Table":
        """See `OrderSource.fetch`."""
        wanted = set(ids)
        return _table(sorted((row for row in self.rows if row[ID] in wanted), key=_position))

    def close(self) -> None:
        """See `OrderSource.close`."""

    def _in(self, span: Span) -> Sequence[Row]:
        return sorted((row for row in self.rows if _is_in(row, span)), key=_position)


def _is_in(row: Row, span: Span) -> bool:
    at = row[DATE]
    return span.holds_undated if at is None else span.reads_from <= at < span.end


def _position(row: Row) -> Position:
    return Position(at=row[DATE] or BEGINNING, id=row[ID] or "")


def _table(rows: Sequence[Row]) -> "pa.Table":
    import pyarrow as pa

    return pa.Table.from_pylist(list(rows), schema=order_schema())
