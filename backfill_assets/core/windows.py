"""Windows and chunks: how the time of a history is cut.

A window is the unit whose state Dagster shows; a chunk is a run of adjacent windows that is read and committed at
once. Here belongs the arithmetic, in UTC and half-open; what is read in a chunk belongs to the domains.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from backfill_assets.core.source import Grain

BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
"""Where the first window begins to read: what is older than the history counts into it, null dates of .NET too."""


@dataclass(frozen=True, kw_only=True, order=True)
class Window:
    """One span `[start, end)` of UTC time; `key` is its start as Dagster writes it (`2024-01-07`)."""

    start: datetime
    end: datetime
    is_first: bool = False

    @property
    def key(self) -> str:
        """The window's partition key."""
        return self.start.strftime("%Y-%m-%d")

    @property
    def reads_from(self) -> datetime:
        """Where reading begins: at `start`, but at the beginning of time for the first window of all."""
        return BEGINNING if self.is_first else self.start


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Adjacent windows, oldest first, that are read and committed at once."""

    windows: tuple[Window, ...]

    @property
    def start(self) -> datetime:
        """Where reading begins."""
        return self.windows[0].reads_from

    @property
    def end(self) -> datetime:
        """Where reading ends, exclusive."""
        return self.windows[-1].end

    @property
    def days(self) -> int:
        """Nominal length in days."""
        return (self.end - self.windows[0].start).days

    def halves(self) -> tuple["Chunk", ...]:
        """This chunk as two smaller ones, or itself when it is one window."""
        middle = len(self.windows) // 2
        parts = (self.windows[:middle], self.windows[middle:])
        return tuple(Chunk(windows=part) for part in parts if part)

    def window_of(self, moment: datetime) -> Window:
        """The window that holds `moment`; raises LookupError outside of the chunk."""
        for window in self.windows:
            if window.reads_from <= moment < window.end:
                return window
        raise LookupError(moment)


def midnight(day: date) -> datetime:
    """The first moment of a day, in UTC."""
    return datetime.combine(day, time(), tzinfo=UTC)


def utc_text(moment: datetime) -> str:
    """A moment as text: UTC with microseconds, `2024-01-07T00:00:00.000000Z`."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def floor_to_grain(grain: Grain, day: date) -> date:
    """The first day of the window that holds `day`; weeks begin on Sunday, as Dagster's do."""
    match grain:
        case Grain.DAILY:
            return day
        case Grain.WEEKLY:
            return day - timedelta(days=(day.weekday() + 1) % 7)
        case Grain.MONTHLY:
            return day.replace(day=1)


def _next_start(grain: Grain, start: date) -> date:
    match grain:
        case Grain.DAILY:
            return start + timedelta(days=1)
        case Grain.WEEKLY:
            return start + timedelta(days=7)
        case Grain.MONTHLY:
            return (start + timedelta(days=31)).replace(day=1)


@dataclass(frozen=True, kw_only=True)
class Calendar:
    """The windows of one service: from the start of history to the window that holds now."""

    grain: Grain
    history_start: date

    @property
    def first_day(self) -> date:
        """The first day of the first window, at or before `history_start`."""
        return floor_to_grain(self.grain, self.history_start)

    def window(self, start: date) -> Window:
        """The window that begins on this day."""
        end = _next_start(self.grain, start)
        return Window(start=midnight(start), end=midnight(end), is_first=start == self.first_day)

    def window_from_key(self, key: str) -> Window:
        """The window with this partition key; raises ValueError for a key that is none."""
        start = date.fromisoformat(key)
        if start < self.first_day or floor_to_grain(self.grain, start) != start:
            raise ValueError(f"{key} does not begin a {self.grain} window")
        return self.window(start)

    def windows(self, start: datetime, end: datetime) -> list[Window]:
        """Every window that overlaps `[start, end)`, oldest first; the bounds may be in any time zone."""
        begin = max(start.astimezone(UTC).date(), self.first_day)
        return list(self._from(floor_to_grain(self.grain, begin), end)) if start < end else []

    def _from(self, day: date, end: datetime) -> Iterator[Window]:
        while midnight(day) < end:
            yield self.window(day)
            day = _next_start(self.grain, day)


def plan_chunks(windows: Iterable[Window], chunk_size_days: int) -> list[Chunk]:
    """Group windows into chunks of at most `chunk_size_days`, but never of less than one window.

    Windows are sorted and repeats dropped; a gap between two windows always ends a chunk, so that the chunks cover
    exactly the windows given.
    """
    chunks: list[list[Window]] = []
    for window in sorted(set(windows)):
        if chunks and _fits(chunks[-1], window, chunk_size_days):
            chunks[-1].append(window)
        else:
            chunks.append([window])
    return [Chunk(windows=tuple(group)) for group in chunks]


def _fits(group: Sequence[Window], window: Window, chunk_size_days: int) -> bool:
    return group[-1].end == window.start and (window.end - group[0].start).days <= chunk_size_days


Clock = Callable[[], datetime]
"""Tells the time as an aware datetime."""


def utc_now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)
