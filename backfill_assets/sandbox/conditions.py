"""What a ConnectWise condition means: matched with a record, or split into ranges that a table can find at once.

How a condition is written belongs to `condition_syntax.py`; which records a table has, to `table.py`.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from backfill_assets.sandbox.dataset import as_moment

Record = Mapping[str, Any]
UPDATED = ("_info", "lastUpdated")
_ID = ("id",)


class Moment(float):
    """A datetime literal, in seconds since the epoch."""


Value = str | float | bool | Moment | None


class Node(Protocol):
    """A part of a condition."""

    def matches(self, record: Record) -> bool:
        """Whether the record meets it."""
        ...


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A field compared with one value."""

    path: tuple[str, ...]
    operator: str
    value: Value

    def matches(self, record: Record) -> bool:
        """See `Node.matches`; a comparison of different types is never met, except by `!=`."""
        return OPERATORS[self.operator](_comparable(lookup(record, self.path), self.value), _folded(self.value))


@dataclass(frozen=True, kw_only=True)
class Membership:
    """A field compared with several values."""

    path: tuple[str, ...]
    values: tuple[Value, ...]

    def matches(self, record: Record) -> bool:
        """See `Node.matches`."""
        found = lookup(record, self.path)
        return any(_equal(_comparable(found, value), _folded(value)) for value in self.values)


@dataclass(frozen=True, kw_only=True)
class And:
    """All of the parts."""

    parts: tuple[Node, ...]

    def matches(self, record: Record) -> bool:
        """See `Node.matches`."""
        return all(part.matches(record) for part in self.parts)


@dataclass(frozen=True, kw_only=True)
class Or:
    """Any of the parts."""

    parts: tuple[Node, ...]

    def matches(self, record: Record) -> bool:
        """See `Node.matches`."""
        return any(part.matches(record) for part in self.parts)


@dataclass(frozen=True, kw_only=True)
class Not:
    """The opposite of the part."""

    part: Node

    def matches(self, record: Record) -> bool:
        """See `Node.matches`."""
        return not self.part.matches(record)


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


class Bounds(NamedTuple):
    """What a condition says about id and update time, as half-open ranges of whole numbers, and the rest of it."""

    start: int | None
    end: int | None
    low: int
    high: int | None
    rest: Node | None


def bounds(node: Node | None) -> Bounds:
    """Split a condition into ranges that must hold and the rest; what is under `or` and `not` is left to the rest."""
    parts = list(_conjuncts(node))
    rest = tuple(part for part in parts if not _is_range(part))
    start, end = _intersection(_interval(part) for part in parts if _is_range(part, UPDATED))
    low, high = _intersection(_interval(part) for part in parts if _is_range(part, _ID))
    return Bounds(start=start, end=end, low=max(0, low or 0), high=high, rest=And(parts=rest) if rest else None)


def _conjuncts(node: Node | None) -> Iterator[Node]:
    if isinstance(node, And):
        for part in node.parts:
            yield from _conjuncts(part)
    elif node is not None:
        yield node


def _is_range(node: Node, *paths: tuple[str, ...]) -> bool:
    if not isinstance(node, Comparison) or node.path not in (paths or (UPDATED, _ID)):
        return False
    fits = isinstance(node.value, Moment) if node.path == UPDATED else type(node.value) is float
    return fits and node.operator in _INTERVALS


_INTERVALS: dict[str, Callable[[float], tuple[float, float]]] = {
    ">=": lambda value: (math.ceil(value), math.inf),
    ">": lambda value: (math.floor(value) + 1, math.inf),
    "<": lambda value: (-math.inf, math.ceil(value)),
    "<=": lambda value: (-math.inf, math.floor(value) + 1),
    "=": lambda value: (math.ceil(value), math.floor(value) + 1),
}
"""The whole numbers that compare so with a value, as a half-open range; empty where it starts at its end."""


def _interval(node: Node) -> tuple[float, float]:
    if not isinstance(node, Comparison) or not isinstance(node.value, float):
        raise TypeError(f"{node!r} is no range")
    return _INTERVALS[node.operator](node.value)


def _intersection(intervals: Iterator[tuple[float, float]]) -> tuple[int | None, int | None]:
    pairs = list(intervals)
    low = max((low for low, _ in pairs), default=-math.inf)
    high = min((high for _, high in pairs), default=math.inf)
    return (None if low == -math.inf else int(low)), (None if high == math.inf else int(high))
