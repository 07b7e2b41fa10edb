"""How often something runs: words and cron expressions, and that Dagster takes all that is taken here."""

from datetime import UTC, datetime

import pytest
from dagster._utils.schedules import cron_string_iterator, is_valid_cron_schedule
from hypothesis import given
from hypothesis import strategies as st

from backfill_assets.core.frequency import cron_of

NONSENSE = "^must be hourly, daily, minutes or hours like 15min or 2h, or a cron expression like 5 "


@pytest.mark.parametrize(
    ("words", "cron"),
    [
        ("hourly", "0 * * * *"),
        ("daily", "0 0 * * *"),
        (" Hourly ", "0 * * * *"),
        ("1min", "*/1 * * * *"),
        ("15min", "*/15 * * * *"),
        ("15 MIN", "*/15 * * * *"),
        ("15m", "*/15 * * * *"),
        ("60min", "0 * * * *"),
        ("1h", "0 */1 * * *"),
        ("2h", "0 */2 * * *"),
        ("24h", "0 0 * * *"),
        ("5 * * * *", "5 * * * *"),
        ("  5   *  * * * ", "5 * * * *"),
        ("*/10 0-5,22,23 1,15 1-12/2 1-5", "*/10 0-5,22,23 1,15 1-12/2 1-5"),
        ("59 23 31 12 7", "59 23 31 12 7"),
    ],
)
def test_words_and_expressions_become_cron_expressions(words: str, cron: str) -> None:
    assert cron_of(words) == cron


@pytest.mark.parametrize(
    "words",
    [
        "nonsense",
        "",
        "min",
        "15",
        "15s",
        "-15min",
        "1.5h",
        "15min 2h",
        "@hourly",
        "* * * *",
        "* * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "* * * * 8",
        "30-10 * * * *",
        "*/0 * * * *",
        "1-5/0 * * * *",
        "1, * * * *",
        "a * * * *",
        "* * * jan *",
        "* * * * *; drop",
    ],
)
def test_what_is_no_frequency_is_refused_with_what_may_be_written(words: str) -> None:
    with pytest.raises(ValueError, match=NONSENSE):
        cron_of(words)


@pytest.mark.parametrize("words", ["0min", "7min", "61min", "120min", "9999m"])
def test_minutes_that_divide_no_hour_are_refused_with_those_that_do(words: str) -> None:
    divisors = "1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60"
    with pytest.raises(ValueError, match=f"^must be a number of minutes that an hour can be divided by: {divisors}$"):
        cron_of(words)


@pytest.mark.parametrize("words", ["0h", "5h", "48h"])
def test_hours_that_divide_no_day_are_refused_with_those_that_do(words: str) -> None:
    divisors = "1, 2, 3, 4, 6, 8, 12, 24"
    with pytest.raises(ValueError, match=f"^must be a number of hours that a day can be divided by: {divisors}$"):
        cron_of(words)


@pytest.mark.parametrize("words", ["0 0 31 2 *", "0 0 30-31 2 *", "0 0 31 4,6 *", "0 0 31 4/5 *", "0 0 31 2/12 *"])
def test_a_day_that_never_comes_is_refused(words: str) -> None:
    with pytest.raises(ValueError, match=r"^must name a day that one of its months has$"):
        cron_of(words)


@pytest.mark.parametrize("words", ["0 0 29 2 *", "0 0 31 2-3 *", "0 0 31 */2 *", "0 0 1,31 2 *", "0 0 31 * *"])
def test_a_day_that_comes_seldom_is_taken(words: str) -> None:
    assert cron_of(words) == words


def fields(low: int, high: int) -> st.SearchStrategy[str]:
    """What somebody may write for one field, some of it a little outside of its bounds."""
    number = st.integers(low - 1, high + 1).filter(lambda each: each >= 0).map(str)
    span = st.builds("{}-{}".format, number, number)
    stepped = st.builds("{}/{}".format, st.one_of(st.just("*"), number, span), st.integers(0, 99))
    listed = st.lists(st.one_of(number, span), min_size=2, max_size=3).map(",".join)
    return st.one_of(st.just("*"), number, span, stepped, listed)


EXPRESSIONS = st.tuples(fields(0, 59), fields(0, 23), fields(1, 31), fields(1, 12), fields(0, 7)).map(" ".join)
EACH = st.builds("{}{}".format, st.integers(0, 100), st.sampled_from(["min", "m", "h"]))


@given(st.one_of(EXPRESSIONS, EACH))
def test_dagster_takes_and_finds_a_next_time_for_all_that_is_taken_here(words: str) -> None:
    try:
        cron = cron_of(words)
    except ValueError:
        return
    assert is_valid_cron_schedule(cron)
    now = datetime(2025, 6, 18, tzinfo=UTC)
    assert next(cron_string_iterator(now.timestamp(), cron, "UTC")) >= now
