"""The query string of a ServiceNow request, read and turned into a selection of records.

Here belongs what `sysparm_query`, `sysparm_limit` and `sysparm_offset` mean. The grammar of queries belongs to
`encoded_query.py`, the fields shown to `rendering.py`.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice

from starlette.datastructures import QueryParams

from backfill_assets.sandbox.ids import Texts
from backfill_assets.sandbox.ordering import Order, own_order, sorted_ids
from backfill_assets.sandbox.selection import Json, Selection
from backfill_assets.sandbox.servicenow.encoded_query import ID, UPDATED, parse
from backfill_assets.sandbox.servicenow.rendering import Database
from backfill_assets.sandbox.table import Table

DEFAULT_LIMIT = 10_000


@dataclass(frozen=True, kw_only=True)
class Query:
    """What a list request asks for; `orders` are those that the table does not keep itself."""

    selection: Selection
    orders: tuple[Order, ...]
    limit: int
    offset: int

    @property
    def window(self) -> tuple[float, float]:
        """The range of update times asked for, open ends as infinity."""
        hull = self.selection.hull
        return (-math.inf if hull.start is None else hull.start, math.inf if hull.end is None else hull.end)

    def page(self, table: Table, read: Callable[[Json, str], str | None]) -> Iterator[tuple[int, Json]]:
        """The records of the page and one more, where there is one, each with its number."""
        end = self.offset + self.limit + 1
        if not self.orders:
            return islice(table.numbered(self.selection), self.offset, end)
        ordered = sorted_ids(
            table, self.selection, self.orders, lambda record, field: (read(record, field) or "").casefold(), most=end
        )
        found = ((number, table.get(number)) for number in ordered[self.offset :])
        return ((number, record) for number, record in found if record is not None)


def parse_query(parameters: QueryParams, database: Database, name: str, ids: Texts) -> Query:
    """Read a list request; what makes no sense is left out, as ServiceNow does."""
    asked = parse(
        parameters.get("sysparm_query", ""),
        ids=ids,
        read=partial(database.read, name),
        knows=partial(database.knows, name),
    )
    own = own_order(asked.orders, time_fields=(UPDATED,), id_field=ID)
    by_time, descending = own or (False, False)
    covered = asked.condition.cover()
    return Query(
        selection=Selection(
            boxes=tuple(box for box in covered.boxes if not box.is_empty),
            where=None if covered.is_exact else asked.condition.matches,
            by_time=by_time,
            descending=descending,
        ),
        orders=() if own else asked.orders,
        limit=_whole(parameters.get("sysparm_limit", ""), DEFAULT_LIMIT),
        offset=_whole(parameters.get("sysparm_offset", ""), 0),
    )


def _whole(text: str, default: int) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else default
