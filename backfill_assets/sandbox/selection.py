"""Which records are asked for, as far as a table can find them without looking at each: ranges of time and of ids.

Here belongs the arithmetic of such ranges. What a condition means belongs to `logic.py` and to each service, how
records are found to `table.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from itertools import combinations
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Box:
    """Moments in `[start, end)`, in seconds since the epoch, and ids from `low` up to but not `high`."""

    start: int | None = None
    end: int | None = None
    low: int = 0
    high: int | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing can be in it."""
        return _is_after(self.start, self.end) or _is_after(self.low, self.high)

    @property
    def is_any_id(self) -> bool:
        """Whether it says nothing about ids."""
        return self.low <= 1 and self.high is None

    def covers(self, record_id: int, moment: int) -> bool:
        """Whether a record with this id and moment is in it."""
        return (
            self.low <= record_id
            and (self.high is None or record_id < self.high)
            and (self.start is None or self.start <= moment)
            and (self.end is None or moment < self.end)
        )

    def meet(self, other: "Box") -> "Box":
        """What is in both."""
        return Box(
            start=max(_given(self.start, other.start), default=None),
            end=min(_given(self.end, other.end), default=None),
            low=max(self.low, other.low),
            high=min(_given(self.high, other.high), default=None),
        )

    def around(self, other: "Box") -> "Box":
        """The smallest box that has both in it."""
        return Box(
            start=None if self.start is None or other.start is None else min(self.start, other.start),
            end=None if self.end is None or other.end is None else max(self.end, other.end),
            low=min(self.low, other.low),
            high=None if self.high is None or other.high is None else max(self.high, other.high),
        )


EVERYTHING = Box()
NOTHING = Box(high=0)


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Records in any of the boxes that pass `where`, which sees the whole record; None lets all through.

    In the order of ids, or `by_time` and then id. Unless `with_gone`, without those that are marked as deleted.
    """

    boxes: tuple[Box, ...] = (EVERYTHING,)
    where: Callable[[Json], bool] | None = None
    by_time: bool = False
    descending: bool = False
    with_gone: bool = True

    @property
    def hull(self) -> Box:
        """The smallest box that has all of them in it."""
        return reduce(Box.around, self.boxes) if self.boxes else NOTHING

    @property
    def names_few(self) -> bool:
        """Whether the ids themselves are named, so that there is no need to look through a range of time."""
        return all(box.high is not None and box.high - box.low <= 1 for box in self.boxes)

    @property
    def are_disjoint(self) -> bool:
        """Whether no record can be in two boxes."""
        return all(one.meet(two).is_empty for one, two in combinations(self.boxes, 2))

    def covers(self, record_id: int, moment: int) -> bool:
        """Whether a record with this id and moment is in one of the boxes."""
        return any(box.covers(record_id, moment) for box in self.boxes)


def _is_after(start: int | None, end: int | None) -> bool:
    return start is not None and end is not None and start >= end


def _given(*values: int | None) -> list[int]:
    return [value for value in values if value is not None]
