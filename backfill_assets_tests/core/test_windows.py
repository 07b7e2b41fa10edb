"""Windows tile time and chunks tile windows, whatever is asked for."""

import itertools
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from dagster import DailyPartitionsDefinition, MonthlyPartitionsDefinition, WeeklyPartitionsDefinition
from hypothesis import given
from hypothesis import strategies as st

from backfill_assets.core.source import Grain
from backfill_assets.core.windows import BEGINNING, Calendar, plan_chunks

GRAINS = st.sampled_from(Grain)
STARTS = st.dates(min_value=date(2018, 1, 1), max_value=date(2024, 1, 1))
ZONES = st.integers(min_value=-14 * 60, max_value=14 * 60).map(lambda m: timezone(timedelta(minutes=m)))
MOMENTS = st.datetimes(min_value=datetime(2019, 1, 1), max_value=datetime(2026, 12, 31), timezones=ZONES)  # noqa: DTZ001


@given(grain=GRAINS, history_start=STARTS, one=MOMENTS, other=MOMENTS, days=st.integers(min_value=1, max_value=400))
def test_chunks_tile_the_range_without_gap_or_overlap(
    grain: Grain, history_start: date, one: datetime, other: datetime, days: int
) -> None:
    start, end = min(one, other), max(one, other)
    calendar = Calendar(grain=grain, history_start=history_start)
    windows = calendar.windows(start, end)
    chunks = plan_chunks(windows, days)

    assert [w for chunk in chunks for w in chunk.windows] == windows
    for before, after in itertools.pairwise(windows):
        assert before.end == after.start
    for chunk in chunks:
        assert chunk.days <= days or len(chunk.windows) == 1
    if windows and start < end:
        assert windows[-1].start < end <= windows[-1].end
        assert windows[0].reads_from <= start or windows[0].is_first


@given(grain=GRAINS, history_start=STARTS, moment=MOMENTS)
def test_the_zone_in_which_a_range_is_written_does_not_matter(
    grain: Grain, history_start: date, moment: datetime
) -> None:
    calendar = Calendar(grain=grain, history_start=history_start)
    later = moment + timedelta(days=40)
    assert calendar.windows(moment, later) == calendar.windows(moment.astimezone(UTC), later.astimezone(UTC))


@given(grain=GRAINS, history_start=STARTS)
def test_windows_are_the_partitions_that_dagster_knows(grain: Grain, history_start: date) -> None:
    calendar = Calendar(grain=grain, history_start=history_start)
    kind = {
        Grain.DAILY: DailyPartitionsDefinition,
        Grain.WEEKLY: WeeklyPartitionsDefinition,
        Grain.MONTHLY: MonthlyPartitionsDefinition,
    }[grain]
    until = datetime(2024, 3, 9, tzinfo=UTC)
    dagster = kind(start_date=calendar.first_day.isoformat(), end_offset=1).get_partition_keys(until)
    ours = [w.key for w in calendar.windows(BEGINNING, until + timedelta(seconds=1))]
    assert ours == dagster


def test_what_is_older_than_the_history_counts_into_the_first_window() -> None:
    calendar = Calendar(grain=Grain.WEEKLY, history_start=date(2023, 1, 4))
    first, second = calendar.windows(BEGINNING, datetime(2023, 1, 10, tzinfo=UTC))
    assert (first.key, first.reads_from) == ("2023-01-01", BEGINNING)
    assert second.reads_from == second.start
    chunk = plan_chunks([first, second], 30)[0]
    assert chunk.window_of(datetime(2001, 1, 1, tzinfo=UTC)) == first


def test_thirty_days_are_four_weeks_under_weekly_and_exact_under_daily() -> None:
    start, end = datetime(2024, 1, 7, tzinfo=UTC), datetime(2024, 6, 1, tzinfo=UTC)
    for grain, days in ((Grain.WEEKLY, 28), (Grain.DAILY, 30), (Grain.MONTHLY, 31)):
        calendar = Calendar(grain=grain, history_start=date(2023, 1, 1))
        assert plan_chunks(calendar.windows(start, end), 30)[0].days == days


def test_a_gap_ends_a_chunk() -> None:
    calendar = Calendar(grain=Grain.DAILY, history_start=date(2023, 1, 1))
    days = calendar.windows(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 8, tzinfo=UTC))
    chunks = plan_chunks([days[0], days[1], days[4], days[5], days[1]], 30)
    assert [[w.key[-2:] for w in c.windows] for c in chunks] == [["01", "02"], ["05", "06"]]


@pytest.mark.parametrize("key", ["2024-01-08", "2022-12-25", "nonsense"])
def test_a_key_that_begins_no_window_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match=r"window|isoformat"):
        Calendar(grain=Grain.WEEKLY, history_start=date(2023, 1, 1)).window_from_key(key)
