"""Plans: what a backfill will cover, and what is refused with a sentence."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from backfill_assets.core.source import Grain
from backfill_assets.errors import UsageError
from backfill_assets.tenant_history.plan import HistoryPlan, parse_moment, plan_history, windows_per_run
from backfill_assets_tests.tenant_history.worlds import DESK, FIRST, NOTES, NOW, TICKETS, WEEK, week, weeks


def plan(**asked: Any) -> HistoryPlan:
    return plan_history(asked.pop("spec", DESK), NOW, windows_per_run=6, **asked)


def refusal(**asked: Any) -> str:
    with pytest.raises(UsageError) as refused:
        plan(**asked)
    return str(refused.value)


def test_without_a_range_the_lookback_up_to_now_is_the_whole_history() -> None:
    found = plan()
    assert found.windows == tuple(weeks(4, 11))
    assert (found.tables, found.is_whole, found.chunk_size_days) == (DESK.tables, True, 14)
    assert (found.partitions, found.runs, len(found.chunks)) == (16, 2, 4)


def test_a_lookback_longer_than_history_begins_where_history_does() -> None:
    assert plan(spec=replace(DESK, lookback_days=3650)).windows == tuple(weeks(0, 11))


def test_a_range_is_whole_windows_and_ends_now_at_the_latest() -> None:
    asked = plan(start=week(2).start + timedelta(days=3), end=NOW + timedelta(days=100))
    assert asked.windows == tuple(weeks(2, 11))
    assert not asked.is_whole
    assert plan(start=week(2).start, end=week(3).start).windows == (week(2),)


@pytest.mark.parametrize("part", [{"tables": [TICKETS]}, {"start": week(2).start}, {"end": week(9).start}])
def test_what_leaves_something_out_is_not_the_whole_history(part: dict[str, Any]) -> None:
    assert not plan(**part).is_whole


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"start": NOW}, "--start-date 2024-03-20T12:00:00+00:00 lies in the future; history ends now (2024-03-20)"),
        (
            {"start": FIRST},
            (
                "--start-date 2023-12-31T00:00:00+00:00 lies before 2024-01-01, where the history of desk begins; ask "
                "for a later day, or set history_start of desk in the services file to an earlier one"
            ),
        ),
        (
            {"start": week(3).start, "end": week(2).start},
            "--end-date 2024-01-14T00:00:00+00:00 is not after the start 2024-01-21T00:00:00+00:00",
        ),
        (
            {"start": week(3).start, "end": week(3).start},
            "--end-date 2024-01-21T00:00:00+00:00 is not after the start 2024-01-21T00:00:00+00:00",
        ),
        ({"chunk_size_days": 0}, "--chunk-size-days must be 1 or more, not 0"),
        ({"chunk_size_days": -3}, "--chunk-size-days must be 1 or more, not -3"),
    ],
)
def test_what_makes_no_sense_is_refused(asked: dict[str, Any], sentence: str) -> None:
    assert refusal(**asked) == sentence


@pytest.mark.parametrize("text", ["", "soon", "2024-13-01", "31.01.2024", "0001-01-01T00:00:00+14:00"])
def test_a_malformed_date_is_refused_naming_the_option(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_moment(text, "--end-date")
    assert str(refused.value) == (
        f"--end-date {text!r} is no ISO 8601 date; write 2024-01-31 or 2024-01-31T08:00:00+01:00"
    )


@pytest.mark.parametrize("text", ["2024-01-31", "2024-01-31T00:00:00Z", "2024-01-31T01:00:00+01:00"])
def test_a_date_without_a_zone_is_in_utc(text: str) -> None:
    assert parse_moment(text, "--end-date") == datetime(2024, 1, 31, tzinfo=UTC)
    assert parse_moment(text, "--end-date").tzinfo is UTC


@pytest.mark.parametrize(
    ("grain", "days", "windows"),
    [
        (Grain.DAILY, 30, 90),
        (Grain.WEEKLY, 30, 12),
        (Grain.WEEKLY, 14, 6),
        (Grain.WEEKLY, 3, 3),
        (Grain.MONTHLY, 30, 3),
        (Grain.MONTHLY, 62, 6),
    ],
)
def test_a_run_covers_so_many_chunks_of_the_services_size(grain: Grain, days: int, windows: int) -> None:
    assert windows_per_run(replace(DESK, grain=grain, chunk_size_days=days, history_start=date(2024, 1, 1))) == windows


def test_equal_targets_have_equal_words() -> None:
    part = {"start": week(4).start}
    assert plan(**part).target == "all/2024-01-28..2024-03-17"
    assert plan(tables=[TICKETS, NOTES]).target == plan(tables=[NOTES, TICKETS]).target == plan(**part).target
    assert plan(tables=[TICKETS]).target == "service_tickets/2024-01-28..2024-03-17"
    three = replace(DESK, tables=(*DESK.tables, replace(NOTES, name="More")))
    pair = plan(spec=three, tables=[TICKETS, NOTES]).target
    assert pair == plan(spec=three, tables=[NOTES, TICKETS]).target == "notes,service_tickets/2024-01-28..2024-03-17"


@pytest.mark.parametrize("weeks_later", [0, 1, 5])
def test_the_whole_history_is_one_target_whenever_it_ends(weeks_later: int) -> None:
    whole = plan_history(DESK, NOW + weeks_later * WEEK, windows_per_run=6)
    assert (whole.windows[-1], whole.target) == (week(11 + weeks_later), "whole")
