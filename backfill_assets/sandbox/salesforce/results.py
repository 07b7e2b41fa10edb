"""What a query found: the records as they were when it was asked, page by page, however they change meanwhile.

Here belongs going on with a result, and how long it is known. How a page looks belongs to `api.py` and `bulk.py`.
"""

import math
from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice
from typing import Any

from backfill_assets.sandbox.ordering import own_order, sorted_ids
from backfill_assets.sandbox.salesforce.soql import UPDATED, Soql, comparable
from backfill_assets.sandbox.selection import Json, Selection
from backfill_assets.sandbox.table import Table

MOST_RESULTS = 100
"""So many results of a tenant are known; the one that was not asked for the longest is forgotten first."""

Numbered = tuple[int, Json]


def selection_of(soql: Soql, *, with_gone: bool) -> Selection:
    """The records that a query asks for, in its order where a table has that."""
    by_time, descending = own_order(soql.orders, time_fields=UPDATED, id_field="Id") or (False, False)
    covered = soql.condition.cover()
    return Selection(
        boxes=tuple(box for box in covered.boxes if not box.is_empty),
        where=None if covered.is_exact else soql.condition.matches,
        by_time=by_time,
        descending=descending,
        with_gone=with_gone,
    )


def window_of(selection: Selection) -> tuple[float, float]:
    """The range of update times asked for, open ends as infinity."""
    start, end = selection.hull.start, selection.hull.end
    return (-math.inf if start is None else start, math.inf if end is None else end)


class Result:
    """The records that a query found; it keeps the place where it was left, so that going on is cheap."""

    def __init__(self, table: Table, soql: Soql, *, with_gone: bool) -> None:
        self.soql = soql
        self.table = table.as_it_is()
        self.with_gone = with_gone
        self._selection = selection_of(soql, with_gone=with_gone)
        self._place, self._rest = 0, self._from_start()
        found = max(0, self.table.count(self._selection) - soql.offset)
        self.total = found if soql.limit is None else min(found, soql.limit)

    @property
    def window(self) -> tuple[float, float]:
        """The range of update times asked for."""
        return window_of(self._selection)

    def page(self, start: int, size: int) -> list[Numbered]:
        """Records from a place on, each with its number."""
        if start != self._place:
            self._place, self._rest = start, self._from_start()
            next(islice(self._rest, start, start), None)
        found = list(islice(self._rest, min(size, max(0, self.total - start))))
        self._place += len(found)
        return found

    def _from_start(self) -> Iterator[Numbered]:
        return islice(self._ordered(), self.soql.offset, None)

    def _ordered(self) -> Iterator[Numbered]:
        if own_order(self.soql.orders, time_fields=UPDATED, id_field="Id"):
            return self.table.numbered(self._selection)
        return self._sorted()

    def _sorted(self) -> Iterator[Numbered]:
        fields, most = self.soql.sobject.fields, self.soql.offset + self.total

        def value(record: Json, name: str) -> Any:
            return comparable(record[name], fields[name.casefold()])

        for number in sorted_ids(self.table, self._selection, self.soql.orders, value, most=most):
            if (record := self.table.get(number)) is not None:
                yield number, record


class Results:
    """The results that are known, by tenant."""

    def __init__(self) -> None:
        self._known: dict[str, OrderedDict[str, Result]] = {}
        self._given = 0

    def keep(self, tenant: str, result: Result) -> str:
        """Keep a result; return the name under which it is known."""
        known = self._known.setdefault(tenant, OrderedDict())
        if len(known) >= MOST_RESULTS:
            known.popitem(last=False)
        self._given += 1
        name = f"01g5f0000{self._given:06d}AAA"
        known[name] = result
        return name

    def find(self, tenant: str, name: str) -> Result | None:
        """The result with this name, or None."""
        known = self._known.get(tenant, OrderedDict())
        if name in known:
            known.move_to_end(name)
        return known.get(name)
