"""Records in an order that no table keeps: any fields, each up or down.

Here belongs sorting with little memory. Orders by id or time are the tables' own; which fields there are belongs to
each service.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import total_ordering
from typing import Any

from backfill_assets.sandbox.selection import Json, Selection
from backfill_assets.sandbox.table import Table


@dataclass(frozen=True, kw_only=True)
class Order:
    """One field to order by; what is missing is less than anything."""

    field: str
    descending: bool = False


def own_order(orders: Sequence[Order], *, time_fields: Sequence[str], id_field: str) -> tuple[bool, bool] | None:
    """Whether a table's own order is asked for: (by time, descending); None where it has to be sorted."""
    match orders:
        case []:
            return False, False
        case [first, *_] if first.field == id_field:
            return False, first.descending
        case [first] if first.field in time_fields:
            return True, first.descending
        case [first, second, *_] if first.field in time_fields and second == Order(
            field=id_field, descending=first.descending
        ):
            return True, first.descending
    return None


def sorted_ids(
    table: Table, selection: Selection, orders: Sequence[Order], value: Callable[[Json, str], Any], *, most: int
) -> list[int]:
    """The ids of the first `most` of the selected records; ties are in the order of ids."""

    def key(record: Json) -> tuple[Any, ...]:
        return tuple(_Place(value(record, order.field), order.descending) for order in orders)

    everything = replace(selection, by_time=False, descending=False)
    pairs = ((key(record), number) for number, record in table.numbered(everything))
    return [number for _, number in heapq.nsmallest(most, pairs)]


@total_ordering
class _Place:
    __slots__ = ("_descending", "_value")

    def __init__(self, value: Any, descending: bool) -> None:
        is_there = value not in (None, "")
        self._value = (is_there, value if is_there else None)
        self._descending = descending

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Place) and self._value == other._value

    def __lt__(self, other: "_Place") -> bool:
        return self._value != other._value and (self._value < other._value) != self._descending
