"""What a single ConnectWise condition means: matched with a record, or as ranges that a table can find at once.

How a condition is written belongs to `condition_syntax.py`; which records a table has, to `table.py`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from backfill_assets.sandbox.dataset import as_moment
from backfill_assets.sandbox.logic import RANGES, UNKNOWN, Cover, Or, id_cover, moment_cover

Record = Mapping[str, Any]
UPDATED = ("_info", "lastUpdated")
_ID = ("id",)


class Moment(float):
    """A datetime literal, in seconds since the epoch."""


Value = str | float | bool | Moment | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A field compared with one value."""

    path: tuple[str, ...]
    operator: str
    value: Value

    def matches(self, record: Record) -> bool:
        """See `Node.matches`; a comparison of different types is never met, except by `!=`."""
        return OPERATORS[self.operator](_comparable(lookup(record, self.path), self.value), _folded(self.value))

    def cover(self) -> Cover:
        """See `Node.cover`."""
        if self.operator in RANGES and self.path == UPDATED and isinstance(self.value, Moment):
            return moment_cover(self.operator, self.value)
        if self.operator in RANGES and self.path == _ID and type(self.value) is float:
            return id_cover(self.operator, self.value)
        return UNKNOWN


@dataclass(frozen=True, kw_only=True)
class Membership:
    """A field compared with several values."""

    path: tuple[str, ...]
    values: tuple[Value, ...]

    def matches(self, record: Record) -> bool:
        """See `Node.matches`."""
        found = lookup(record, self.path)
        return any(_equal(_comparable(found, value), _folded(value)) for value in self.values)

    def cover(self) -> Cover:
        """See `Node.cover`; several ids are several boxes."""
        if self.path == _ID and all(type(value) is float for value in self.values):
            return Or(parts=tuple(Comparison(path=_ID, operator="=", value=value) for value in self.values)).cover()
        return UNKNOWN


def lookup(record: Record, path: tuple[str, ...]) -> Any:
    """The value at a path, None where there is none."""
    value: Any = record
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _comparable(found: Any, value: Value) -> Any:
    """What was found, in the type of the value it is compared with, or None where the types differ."""
    match value:
        case None:
            return found
        case bool():
            return found if isinstance(found, bool) else None
        case Moment():
            return _text_as_moment(found)
        case str():
            return _folded(found) if isinstance(found, str) else None
        case _:
            return found if isinstance(found, int | float) and not isinstance(found, bool) else None


def _text_as_moment(found: Any) -> float | None:
    try:
        return as_moment(found) if isinstance(found, str) else None
    except ValueError:
        return None


def _folded(value: Any) -> Any:
    """Texts are compared without regard to case, as ConnectWise's database does."""
    return value.casefold() if isinstance(value, str) else value


def _equal(found: Any, value: Any) -> bool:
    return bool(found == value)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    return lambda found, value: found is not None and value is not None and compare(found, value)


def _like(found: Any, value: Any) -> bool:
    pattern = ".*".join(re.escape(part) for part in value.split("%"))
    return found is not None and re.fullmatch(pattern, found, re.DOTALL) is not None


OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": _equal,
    "!=": lambda found, value: not _equal(found, value),
    "<": _ordered(lambda found, value: found < value),
    "<=": _ordered(lambda found, value: found <= value),
    ">": _ordered(lambda found, value: found > value),
    ">=": _ordered(lambda found, value: found >= value),
    "like": _like,
    "contains": lambda found, value: found is not None and value in found,
}
