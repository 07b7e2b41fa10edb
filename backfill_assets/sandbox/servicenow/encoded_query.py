"""ServiceNow's encoded queries: from text to a condition and an order.

    active=true^priority<=2^ORpriority=4^sys_updated_on>=2024-01-01 00:00:00^ORDERBYsys_updated_on^NQstate=7

`^OR` binds to the condition before it, `^NQ` begins another whole query, any of which may be met. As in ServiceNow, a
condition on a field that does not exist, or with no operator, is not there at all.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from backfill_assets.sandbox.ids import Texts
from backfill_assets.sandbox.logic import RANGES, UNKNOWN, And, Cover, Node, Or, id_cover, moment_cover
from backfill_assets.sandbox.ordering import Order
from backfill_assets.sandbox.servicenow.records import as_time

UPDATED, ID = "sys_updated_on", "sys_id"

_CARET = re.compile(r"(?<!\^)\^(?!\^)")
_TERM = re.compile(
    r"(?P<field>[a-z][a-z0-9_.]*)"
    r"(?P<operator>NOT IN|NOT LIKE|ISNOTEMPTY|ISEMPTY|STARTSWITH|ENDSWITH|LIKE|IN|!=|>=|<=|=|>|<)"
    r"(?P<value>.*)",
    re.DOTALL,
)

_NUMBER = re.compile(r"-?\d{1,15}(\.\d{1,15})?")

Read = Callable[[Mapping[str, Any], str], str | None]
"""The text in a field of a record, which may be in another table (`caller_id.name`); None where there is none such."""


@dataclass(frozen=True, kw_only=True)
class EncodedQuery:
    """What an encoded query asks for."""

    condition: Node
    orders: tuple[Order, ...]


def parse(text: str, *, ids: Texts, read: Read, knows: Callable[[str], bool]) -> EncodedQuery:
    """Read an encoded query; `knows` tells the fields that exist."""
    queries: list[list[Node]] = [[]]
    orders: list[Order] = []
    for part in _CARET.split(text):
        if part.startswith("ORDERBY"):
            orders += [order for order in [_order(part)] if knows(order.field)]
            continue
        if part.startswith("NQ"):
            queries.append([])
            part = part.removeprefix("NQ")
        is_other = part.startswith("OR")
        condition = _condition(part.removeprefix("OR"), ids, read, knows)
        if condition is not None:
            _add(queries[-1], condition, is_other=is_other)
    parts = tuple(And(parts=tuple(conditions)) for conditions in queries)
    return EncodedQuery(condition=parts[0] if len(parts) == 1 else Or(parts=parts), orders=tuple(orders))


def _add(conditions: list[Node], condition: Node, *, is_other: bool) -> None:
    conditions.append(Or(parts=(conditions.pop(), condition)) if is_other and conditions else condition)


def _order(part: str) -> Order:
    descending = part.startswith("ORDERBYDESC")
    return Order(field=part.removeprefix("ORDERBYDESC").removeprefix("ORDERBY"), descending=descending)


def _condition(text: str, ids: Texts, read: Read, knows: Callable[[str], bool]) -> Node | None:
    match = _TERM.fullmatch(text)
    if match is None or not knows(match["field"]):
        return None
    value = match["value"].replace("^^", "^")
    if match["field"] == UPDATED and match["operator"] in RANGES:
        if (moment := _moment(value)) is None:
            return None
        value = as_time(moment)
    return Comparison(field=match["field"], operator=match["operator"], value=value, ids=ids, read=read)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A field compared with a text."""

    field: str
    operator: str
    value: str
    ids: Texts
    read: Read

    def matches(self, record: Mapping[str, Any]) -> bool:
        """See `Node.matches`."""
        return _OPERATORS[self.operator]((self.read(record, self.field) or "").casefold(), self.value.casefold())

    def cover(self) -> Cover:
        """See `Node.cover`; several ids are several boxes."""
        if self.field == UPDATED and self.operator in RANGES and (moment := _moment(self.value)) is not None:
            return moment_cover(self.operator, moment)
        if self.field == ID and self.operator == "IN":
            named = (replace(self, operator="=", value=each) for each in _listed(self.value))
            return Or(parts=tuple(named)).cover()
        if self.field == ID and self.operator in RANGES:
            return self._ids()
        return UNKNOWN

    def _ids(self) -> Cover:
        text = self.value.casefold()
        number = self.ids.number(text)
        if number is not None:
            return id_cover(self.operator, number)
        # Between two ids: nothing equals it, and whatever is less than the next id is less than it.
        return id_cover(self.operator, self.ids.first_from(text) - 0.5)


def _moment(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _number(text: str) -> float | None:
    return float(text) if _NUMBER.fullmatch(text) else None


def _equal(found: str, value: str) -> bool:
    return found == value or (_number(found) is not None and _number(found) == _number(value))


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[str, str], bool]:
    def met(found: str, value: str) -> bool:
        if not found:
            return False
        numbers = _number(found), _number(value)
        return compare(*(numbers if None not in numbers else (found, value)))

    return met


_OPERATORS: Mapping[str, Callable[[str, str], bool]] = {
    "=": _equal,
    "!=": lambda found, value: not _equal(found, value),
    "<": _ordered(lambda found, value: found < value),
    "<=": _ordered(lambda found, value: found <= value),
    ">": _ordered(lambda found, value: found > value),
    ">=": _ordered(lambda found, value: found >= value),
    "IN": lambda found, value: any(_equal(found, each) for each in _listed(value)),
    "NOT IN": lambda found, value: not any(_equal(found, each) for each in _listed(value)),
    "ISEMPTY": lambda found, value: not found,
    "ISNOTEMPTY": lambda found, value: bool(found),
    "LIKE": lambda found, value: value in found,
    "NOT LIKE": lambda found, value: value not in found,
    "STARTSWITH": lambda found, value: found.startswith(value),
    "ENDSWITH": lambda found, value: found.endswith(value),
}
