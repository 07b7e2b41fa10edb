"""What a SOQL query asks for: a tree of conditions on typed fields, and an order.

Here belongs meaning. How a query is written belongs to `soql_syntax.py`; which fields there are to `schema.py`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from backfill_assets.errors import UsageError
from backfill_assets.sandbox.dataset import as_moment
from backfill_assets.sandbox.logic import RANGES, UNKNOWN, Cover, Node, Or, id_cover, moment_cover
from backfill_assets.sandbox.ordering import Order
from backfill_assets.sandbox.salesforce.schema import Field, SObject, whole_id

UPDATED = ("SystemModstamp", "LastModifiedDate")
LARGEST_OFFSET = 2000


class SoqlError(UsageError):
    """A query that Salesforce refuses, with the code that it gives."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Moment(float):
    """A datetime literal, in seconds since the epoch."""


Value = str | float | bool | Moment | date | None


@dataclass(frozen=True, kw_only=True)
class Soql:
    """A whole query; without `fields` it is a count."""

    sobject: SObject
    fields: tuple[Field, ...]
    condition: Node
    orders: tuple[Order, ...]
    limit: int | None
    offset: int


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A field compared with one value."""

    sobject: SObject
    field: Field
    operator: str
    value: Value

    def matches(self, record: Mapping[str, Any]) -> bool:
        """See `Node.matches`; whatever is missing is only equal to null."""
        return _OPERATORS[self.operator](comparable(record[self.field.name], self.field), _folded(self))

    def cover(self) -> Cover:
        """See `Node.cover`."""
        if self.operator in RANGES and self.field.name in UPDATED and isinstance(self.value, Moment):
            return moment_cover(self.operator, self.value)
        if self.operator in RANGES and self.field.name == "Id" and isinstance(self.value, str):
            return self._ids(whole_id(self.value))
        return UNKNOWN

    def _ids(self, text: str) -> Cover:
        number = self.sobject.ids.number(text)
        # Between two ids: nothing equals it, and whatever is less than the next id is less than it.
        return id_cover(self.operator, self.sobject.ids.first_from(text) - 0.5 if number is None else number)


def any_of(sobject: SObject, field: Field, values: tuple[Value, ...]) -> Node:
    """A field that equals any of the values."""
    return Or(parts=tuple(Comparison(sobject=sobject, field=field, operator="=", value=value) for value in values))


def require_fit(field: Field, operator: str, value: Value) -> None:
    """Refuse a value of another type than the field's, and an operator that its type does not have."""
    wanted = _VALUES.get(field.type, str)
    is_of_type = value is None or (isinstance(value, wanted) and isinstance(value, bool) == (wanted is bool))
    has_operator = operator in ("=", "!=") or (wanted is not bool and (operator != "LIKE" or wanted is str))
    if not is_of_type or not has_operator:
        raise SoqlError(
            "INVALID_FIELD",
            f"value of filter criterion for field '{field.name}' must be of type {field.type}, and {operator} be "
            "something that it can be asked",
        )


_VALUES: Mapping[str, Any] = {
    "boolean": bool,
    "datetime": Moment,
    "date": date,
    "int": float,
    "currency": float,
    "percent": float,
}


def comparable(found: Any, field: Field) -> Any:
    """What was found in a field, as it is compared and ordered: texts, but for ids, without regard to case."""
    if found is None:
        return None
    match field.type:
        case "datetime":
            return as_moment(found)
        case "date":
            return date.fromisoformat(found)
        case "id" | "reference":
            return found
    return found.casefold() if isinstance(found, str) else found


def _folded(comparison: Comparison) -> Any:
    """Texts are compared without regard to case, but for ids, whose last 3 characters may be missing."""
    value = comparison.value
    if not isinstance(value, str):
        return value
    return whole_id(value) if comparison.field.type in ("id", "reference") else value.casefold()


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    return lambda found, value: found is not None and value is not None and compare(found, value)


def _like(found: Any, value: Any) -> bool:
    pattern = "".join({"%": ".*", "_": "."}.get(letter, re.escape(letter)) for letter in value)
    return found is not None and re.fullmatch(pattern, found, re.DOTALL) is not None


_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": lambda found, value: bool(found == value),
    "!=": lambda found, value: bool(found != value),
    "<": _ordered(lambda found, value: found < value),
    "<=": _ordered(lambda found, value: found <= value),
    ">": _ordered(lambda found, value: found > value),
    ">=": _ordered(lambda found, value: found >= value),
    "LIKE": _like,
}
