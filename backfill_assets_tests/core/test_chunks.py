"""Chunks that shrink and grow with what is found."""

from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from backfill_assets.core.chunks import AdaptiveChunks, ChunkTarget
from backfill_assets.core.source import Grain
from backfill_assets.core.windows import Calendar, Window

WEEKS = Calendar(grain=Grain.WEEKLY, history_start=date(2024, 1, 1))
TARGET = ChunkTarget(days=28, rows=1000, seconds=60)


def windows(number: int) -> list[Window]:
    start = datetime(2024, 1, 7, tzinfo=UTC)
    return WEEKS.windows(start, start + number * timedelta(days=7))


def sizes(chunks: AdaptiveChunks, rows: int, *, seconds: float = 1) -> list[int]:
    """How many windows each chunk has when a window holds so many rows and takes so many seconds."""
    found = []
    while (chunk := chunks.take()) is not None:
        found.append(len(chunk.windows))
        chunks.finished(chunk, rows=rows * len(chunk.windows), seconds=seconds * len(chunk.windows))
    return found


def test_chunks_of_little_have_the_size_that_is_set() -> None:
    assert sizes(AdaptiveChunks(windows(10), TARGET), 10) == [4, 4, 2]


def test_past_the_rows_the_next_chunk_is_half_as_long() -> None:
    assert sizes(AdaptiveChunks(windows(10), TARGET), 400) == [4, 2, 2, 2]


def test_past_the_seconds_the_next_chunk_is_half_as_long() -> None:
    assert sizes(AdaptiveChunks(windows(10), TARGET), 0, seconds=25) == [4, 2, 2, 2]


def test_a_chunk_is_never_less_than_a_window() -> None:
    assert sizes(AdaptiveChunks(windows(8), TARGET), 5000) == [4, 2, 1, 1]


def test_it_grows_back_by_a_window_at_a_time_and_not_beyond_what_is_set() -> None:
    chunks = AdaptiveChunks(windows(30), TARGET)
    chunk = chunks.take()
    assert chunk is not None
    chunks.finished(chunk, rows=5000, seconds=1)
    assert sizes(chunks, 10) == [2, 3, 4, 4, 4, 4, 4, 1]


def test_a_chunk_that_is_given_back_comes_again_in_halves() -> None:
    chunks = AdaptiveChunks(windows(4), TARGET)
    chunk = chunks.take()
    assert chunk is not None
    chunks.give_back(chunk)
    halves = [chunks.take(), chunks.take()]
    assert [half.windows for half in halves if half] == [chunk.windows[:2], chunk.windows[2:]]
    assert chunks.take() is None


@given(
    number=st.integers(0, 40),
    days=st.integers(1, 60),
    rows=st.lists(st.integers(0, 3000), min_size=1),
    refused=st.lists(st.booleans(), min_size=1),
)
def test_whatever_is_found_each_window_comes_once_and_in_order(
    number: int, days: int, rows: list[int], refused: list[bool]
) -> None:
    wanted = windows(number)
    chunks = AdaptiveChunks(reversed(wanted), ChunkTarget(days=days, rows=1000, seconds=60))
    done: list[Window] = []
    step = 0
    while (chunk := chunks.take()) is not None:
        step += 1
        assert len(chunk.windows) == 1 or chunk.days <= days
        if refused[step % len(refused)] and len(chunk.windows) > 1:
            chunks.give_back(chunk)
            continue
        chunks.finished(chunk, rows=rows[step % len(rows)], seconds=1)
        done.extend(chunk.windows)
        assert list(chunks.left) == wanted[len(done) :]
    assert done == wanted
