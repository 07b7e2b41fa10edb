"""Hours of a day in a time zone: whether a moment lies within them, and when they begin next.

Here belongs the arithmetic with local time, also on days when clocks change. Hours go by what a clock on the wall
shows: a time that is shown twice counts both times, and what begins at a time that is skipped begins with the skip.
Whose hours they are and what stops outside of them belongs to the domains.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

_DAY = timedelta(days=1)
_LOOK = timedelta(hours=1)
"""The steps in which a change of the clocks is looked for: no zone changes them twice within one."""


@dataclass(frozen=True, kw_only=True)
class Hours:
    """From `start` to just before `end` of every day, over midnight where `end` is not after `start`.

    Raises `ValueError` where both are the same, which could mean always or never.
    """

    start: time
    end: time

    def __post_init__(self) -> None:
        if self.start == self.end:
            raise ValueError("hours that begin when they end could mean always or never")

    def __str__(self) -> str:
        return f"{self.start:%H:%M}-{self.end:%H:%M}"

    def hold(self, shown: time) -> bool:
        """Whether a clock that shows this is within the hours."""
        if self.start < self.end:
            return self.start <= shown < self.end
        return shown >= self.start or shown < self.end


@dataclass(frozen=True, kw_only=True)
class Opening:
    """Hours in a time zone."""

    hours: Hours
    zone: ZoneInfo

    def is_open(self, moment: datetime) -> bool:
        """Whether the moment lies within the hours."""
        return self.hours.hold(moment.astimezone(self.zone).time())

    def next_opening(self, moment: datetime) -> datetime:
        """The first moment from this one on that lies within the hours, in UTC; this one itself while it does."""
        found = moment.astimezone(UTC)
        while not self.is_open(found):
            # Up to the next change of the clocks all days are alike.
            opens = found + self._until_start(found)
            found = min(opens, self._next_change(found, opens))
        return found

    def _until_start(self, moment: datetime) -> timedelta:
        shown = moment.astimezone(self.zone).time()
        any_day = date(2000, 1, 1)
        return (datetime.combine(any_day, self.hours.start) - datetime.combine(any_day, shown)) % _DAY

    def _next_change(self, start: datetime, end: datetime) -> datetime:
        """The first moment in `(start, end]` at which the clocks are changed; `end` where there is none."""
        before = start
        while before < end:
            after = min(before + _LOOK, end)
            if self._offset(after) != self._offset(before):
                return self._change_between(before, after)
            before = after
        return end

    def _change_between(self, before: datetime, after: datetime) -> datetime:
        # Clocks are changed at whole seconds.
        low, high = int(before.timestamp()), int(after.timestamp())
        old = self._offset(before)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._offset(_at(middle)) == old else (low, middle)
        return _at(high)

    def _offset(self, moment: datetime) -> timedelta | None:
        return moment.astimezone(self.zone).utcoffset()


def _at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
