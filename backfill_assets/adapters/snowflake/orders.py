"""Work orders in Snowflake.

Here belongs reading them page by page in Arrow. What is asked belongs to `statements.py`, signing in to
`connecting.py`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from backfill_assets.adapters.snowflake.connecting import Account, told
from backfill_assets.adapters.snowflake.statements import EPOCH, Statements
from backfill_assets.core.orders import (
    DATES,
    Position,
    Span,
    Standing,
    order_schema,
    position_of,
)
from backfill_assets.errors import ConditionIgnored

if TYPE_CHECKING:
    import pyarrow as pa
    from snowflake.connector import SnowflakeConnection

FETCHED_AT_ONCE = 1000
"""The most ids that one statement asks for."""


class SnowflakeOrders:
    """An `OrderSource`; signs in when it is first asked. Threads may share an instance, one at a time."""

    def __init__(
        self, account: Account, statements: Statements, *, connect: Callable[[Account], "SnowflakeConnection"]
    ) -> None:
        self._account = account
        self._statements = statements
        self._connect = connect
        self._connection: SnowflakeConnection | None = None

    def check(self) -> str:
        """See `OrderSource.check`."""
        self._rows(self._statements.probe(), [])
        return f"{self._account.location}, table {self._statements.table}"

    def standing(self, span: Span) -> Standing:
        """See `OrderSource.standing`."""
        [(records, digest)] = self._rows(*self._statements.standing(span))
        return Standing(records=int(records), digest=int(digest))

    def duplicates(self) -> Mapping[str, datetime | None]:
        """See `OrderSource.duplicates`."""
        found = self._rows(self._statements.duplicates(), [])
        return {record_id: None if at is None else moment_of(int(at)) for record_id, at in found}

    def pages(self, span: Span, after: Position | None, limit: int) -> "Iterator[pa.Table]":
        """See `OrderSource.pages`."""
        wanted = limit
        while True:
            page = self._table(*self._statements.page(span, after, wanted))
            is_last = page.num_rows < wanted
            # The last position may go on in the next page, so it is left to it.
            whole = page if is_last else page.slice(0, _start_of_the_last(page))
            if whole.num_rows:
                if after is not None and position_of(whole, 0) <= after:
                    raise ConditionIgnored(
                        f"{self._account.location} sent a record from before where it was asked to go on; nothing can "
                        "be built on that order. Check that the id column is compared by its bytes."
                    )
                after = position_of(whole, whole.num_rows - 1)
                yield whole
            if is_last:
                return
            # All of it had one position: only a larger page can show where that ends.
            wanted = limit if whole.num_rows else wanted * 2

    def fetch(self, ids: Sequence[str]) -> "pa.Table":
        """See `OrderSource.fetch`."""
        import pyarrow as pa

        parts = [ids[start : start + FETCHED_AT_ONCE] for start in range(0, len(ids), FETCHED_AT_ONCE)]
        tables = [self._table(*self._statements.fetch(part)) for part in parts]
        return pa.concat_tables([order_schema().empty_table(), *tables])

    def close(self) -> None:
        """See `OrderSource.close`."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _rows(self, statement: str, values: Sequence[Any]) -> Sequence[tuple[Any, ...]]:
        with told(self._account), self._opened().cursor() as cursor:
            return [tuple(row) for row in cursor.execute(statement, values or None).fetchall()]  # type: ignore[union-attr]

    def _table(self, statement: str, values: Sequence[Any]) -> "pa.Table":
        import pyarrow as pa

        with told(self._account), self._opened().cursor() as cursor:
            cursor.execute(statement, values)
            # Not `fetch_arrow_all`, which needs pandas to put the parts together.
            parts = [self._in_our_schema(part) for part in cursor.fetch_arrow_batches()]
        return pa.concat_tables([order_schema().empty_table(), *parts])

    def _in_our_schema(self, part: "pa.Table") -> "pa.Table":
        import pyarrow as pa

        schema = order_schema()
        named = part.rename_columns([name.lower() for name in part.column_names])
        columns = []
        for column in schema:
            if column.name not in self._statements.columns:
                columns.append(pa.nulls(part.num_rows, column.type))
            elif column.name in DATES:
                columns.append(named[column.name].cast(pa.int64()).cast(column.type))
            else:
                columns.append(named[column.name].cast(column.type))
        return pa.table(columns, schema=schema)

    def _opened(self) -> "SnowflakeConnection":
        if self._connection is None:
            self._connection = self._connect(self._account)
        return self._connection


def moment_of(microseconds: int) -> datetime:
    """A moment from microseconds since 1970."""
    return EPOCH + timedelta(microseconds=microseconds)


def _start_of_the_last(records: "pa.Table") -> int:
    """The first row of those that share the last one's position."""
    row: int = records.num_rows - 1
    last = position_of(records, row)
    while row > 0 and position_of(records, row - 1) == last:
        row -= 1
    return row
