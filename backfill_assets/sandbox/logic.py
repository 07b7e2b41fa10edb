"""Conditions put together by and, or and not, and the ranges of time and id that follow from them.

Here belongs what is the same in every service's language. What a single comparison means belongs to the service.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from backfill_assets.sandbox.selection import EVERYTHING, Box, Selection

MOST_BOXES = 200
"""More alternatives than this are not kept apart: one box around them all is cheaper to look through."""

RANGES = frozenset((">=", ">", "<", "<=", "="))
"""The operators that `interval` knows."""


@dataclass(frozen=True, kw_only=True)
class Cover:
    """Boxes that hold all that a condition lets through, and nothing else where it `is_exact`."""

    boxes: tuple[Box, ...] = (EVERYTHING,)
    is_exact: bool = False

    def meet(self, other: "Cover") -> "Cover":
        """What both cover."""
        pairs = (one.meet(two) for one in self.boxes for two in other.boxes)
        return _bounded(tuple(box for box in pairs if not box.is_empty), self, other)

    def join(self, other: "Cover") -> "Cover":
        """What either covers."""
        return _bounded(self.boxes + other.boxes, self, other)


UNKNOWN = Cover()
"""The cover of a condition that says nothing of time and id."""
ALL = Cover(is_exact=True)
NONE = Cover(boxes=(), is_exact=True)


def _bounded(boxes: tuple[Box, ...], *parts: Cover) -> Cover:
    if len(boxes) > MOST_BOXES:
        return Cover(boxes=(Selection(boxes=boxes).hull,))
    return Cover(boxes=boxes, is_exact=all(part.is_exact for part in parts))


class Node(Protocol):
    """A part of a condition."""

    def matches(self, record: Mapping[str, Any]) -> bool:
        """Whether the record meets it."""
        ...

    def cover(self) -> Cover:
        """Where the records are that meet it."""
        ...


@dataclass(frozen=True, kw_only=True)
class And:
    """All of the parts."""

    parts: tuple[Node, ...]

    def matches(self, record: Mapping[str, Any]) -> bool:
        """See `Node.matches`."""
        return all(part.matches(record) for part in self.parts)

    def cover(self) -> Cover:
        """See `Node.cover`."""
        covered = ALL
        for part in self.parts:
            covered = covered.meet(part.cover())
        return covered


@dataclass(frozen=True, kw_only=True)
class Or:
    """Any of the parts."""

    parts: tuple[Node, ...]

    def matches(self, record: Mapping[str, Any]) -> bool:
        """See `Node.matches`."""
        return any(part.matches(record) for part in self.parts)

    def cover(self) -> Cover:
        """See `Node.cover`."""
        covered = NONE
        for part in self.parts:
            covered = covered.join(part.cover())
        return covered


@dataclass(frozen=True, kw_only=True)
class Not:
    """The opposite of the part."""

    part: Node

    def matches(self, record: Mapping[str, Any]) -> bool:
        """See `Node.matches`."""
        return not self.part.matches(record)

    def cover(self) -> Cover:
        """See `Node.cover`."""
        return UNKNOWN


WHATEVER = And(parts=())
"""The condition that every record meets."""


def interval(operator: str, value: float) -> tuple[int | None, int | None]:
    """The whole numbers that compare so with a value, as a half-open range; empty where it starts at its end."""
    match operator:
        case ">=":
            return math.ceil(value), None
        case ">":
            return math.floor(value) + 1, None
        case "<":
            return None, math.ceil(value)
        case "<=":
            return None, math.floor(value) + 1
        case _:
            return math.ceil(value), math.floor(value) + 1


def moment_cover(operator: str, value: float) -> Cover:
    """The cover of a comparison of the moment."""
    start, end = interval(operator, value)
    return Cover(boxes=(Box(start=start, end=end),), is_exact=True)


def id_cover(operator: str, value: float) -> Cover:
    """The cover of a comparison of the id's number."""
    low, high = interval(operator, value)
    return Cover(boxes=(Box(low=max(0, low or 0), high=high),), is_exact=True)
