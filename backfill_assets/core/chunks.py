"""Chunks whose size follows what is found: the windows of one run, cut while it goes on.

Here belongs the arithmetic of the size. What a chunk is belongs to `windows.py`; what is read in it, to the domains.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from backfill_assets.core.windows import Chunk, Window, plan_chunks


@dataclass(frozen=True, kw_only=True)
class ChunkTarget:
    """How large a chunk should be: at most so many days, and about at most so many rows and seconds."""

    days: int
    rows: int = 50_000
    seconds: float = 300.0


class AdaptiveChunks:
    """Cuts windows into chunks, oldest first: of the target's days to begin with, of fewer where they hold too much.

    A chunk past the target's rows or seconds, or one that is given back, halves the size; each that is well below lets
    it grow by a window again, up to the target's days. A chunk is whole windows, and never less than one.
    """

    def __init__(self, windows: Iterable[Window], target: ChunkTarget) -> None:
        self._left = sorted(set(windows))
        self._target = target
        self._days = target.days

    def take(self) -> Chunk | None:
        """The next chunk; None when no window is left."""
        if not self._left:
            return None
        chunk = plan_chunks(self._left, self._days)[0]
        del self._left[: len(chunk.windows)]
        return chunk

    def give_back(self, chunk: Chunk) -> None:
        """Put the windows of a chunk of several back, to be cut smaller."""
        self._left[:0] = chunk.windows
        self._halve(chunk)

    def finished(self, chunk: Chunk, *, rows: int, seconds: float) -> None:
        """Learn from a chunk that was committed."""
        if rows > self._target.rows or seconds > self._target.seconds:
            self._halve(chunk)
        elif 2 * rows <= self._target.rows and 2 * seconds <= self._target.seconds:
            window = chunk.windows[-1]
            self._days = min(self._target.days, self._days + (window.end - window.start).days)

    @property
    def left(self) -> Sequence[Window]:
        """The windows that have not been taken."""
        return tuple(self._left)

    def _halve(self, chunk: Chunk) -> None:
        self._days = max(1, min(self._days, chunk.days) // 2)
