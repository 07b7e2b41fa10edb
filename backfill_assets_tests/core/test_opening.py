"""Hours of a day in a time zone, on days when clocks change too."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from backfill_assets.core.opening import Hours, Opening

ZONES = sorted(available_timezones() - {"localtime", "Factory"})
MINUTE = timedelta(minutes=1)
BERLIN = "Europe/Berlin"


def opening(start: str, end: str, zone: str = BERLIN) -> Opening:
    return Opening(hours=Hours(start=time.fromisoformat(start), end=time.fromisoformat(end)), zone=ZoneInfo(zone))


def local(text: str, zone: str = BERLIN, *, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold)


@pytest.mark.parametrize(
    ("shown", "by_day", "by_night"),
    [
        ("05:59:59.999999", False, True),
        ("06:00", True, False),
        ("12:00", True, False),
        ("21:59:59.999999", True, False),
        ("22:00", False, True),
        ("23:59:59.999999", False, True),
        ("00:00", False, True),
    ],
)
def test_hours_hold_their_start_and_not_their_end_over_midnight_too(shown: str, by_day: bool, by_night: bool) -> None:
    moment = local(f"2026-11-24T{shown}")
    assert opening("06:00", "22:00").is_open(moment) is by_day
    assert opening("22:00", "06:00").is_open(moment) is by_night


def test_hours_that_end_at_midnight_or_begin_there_are_hours_like_others() -> None:
    assert opening("22:00", "00:00").is_open(local("2026-11-24T23:59"))
    assert not opening("22:00", "00:00").is_open(local("2026-11-24T00:00"))
    assert opening("00:00", "06:00").is_open(local("2026-11-24T00:00"))
    assert not opening("00:00", "06:00").is_open(local("2026-11-24T23:59"))


def test_hours_that_begin_when_they_end_are_refused() -> None:
    with pytest.raises(ValueError, match="always or never"):
        opening("22:00", "22:00")


@pytest.mark.parametrize(
    ("hours", "asked", "opens"),
    [
        (("22:00", "06:00"), "2026-11-24T12:00:00.250", "2026-11-24T22:00"),
        (("22:00", "06:00"), "2026-11-24T06:00", "2026-11-24T22:00"),
        (("22:00", "06:00"), "2026-11-24T03:00", "2026-11-24T03:00"),
        (("09:00", "10:00"), "2026-11-24T10:00", "2026-11-25T09:00"),
        # On 2026-03-29 clocks skip from 02:00 to 03:00, on 2026-10-25 they go back from 03:00 to 02:00.
        (("22:00", "06:00"), "2026-03-29T06:00", "2026-03-29T22:00"),
        (("09:00", "10:00"), "2026-03-28T12:00", "2026-03-29T09:00"),
        (("09:00", "10:00"), "2026-10-24T12:00", "2026-10-25T09:00"),
        (("02:30", "05:00"), "2026-03-29T01:00", "2026-03-29T03:00"),
        (("02:15", "02:45"), "2026-03-29T01:00", "2026-03-30T02:15"),
        (("02:15", "02:45"), "2026-10-25T01:00", "2026-10-25T02:15"),
    ],
)
def test_hours_begin_next_when_the_clock_on_the_wall_says_so(hours: tuple[str, str], asked: str, opens: str) -> None:
    assert opening(*hours).next_opening(local(asked)) == local(opens).astimezone(UTC)


def test_a_time_that_is_shown_twice_counts_both_times() -> None:
    once, twice = local("2026-10-25T02:15"), local("2026-10-25T02:15", fold=1)
    short = opening("02:15", "02:45")
    assert short.is_open(once)
    assert short.is_open(twice)
    assert twice.astimezone(UTC) - once.astimezone(UTC) == timedelta(hours=1)
    assert short.next_opening(local("2026-10-25T02:45")) == twice.astimezone(UTC)


def test_a_day_that_a_zone_leaves_out_is_left_out() -> None:
    """Samoa went from 29 December 2011 right to the 31st."""
    apia = opening("09:00", "10:00", "Pacific/Apia")
    asked = local("2011-12-29T12:00", "Pacific/Apia")
    assert apia.next_opening(asked) == local("2011-12-31T09:00", "Pacific/Apia").astimezone(UTC)


def _times() -> st.SearchStrategy[time]:
    return st.builds(time, st.integers(0, 23), st.integers(0, 59))


@settings(max_examples=300)
@example(zone=BERLIN, start=time(2, 30), end=time(2, 45), moment=datetime(2026, 3, 28, 12, tzinfo=UTC), step=7)
@example(zone=BERLIN, start=time(2, 30), end=time(2, 45), moment=datetime(2026, 10, 25, 0, 50, tzinfo=UTC), step=1)
@given(
    zone=st.sampled_from(ZONES),
    start=_times(),
    end=_times(),
    moment=st.integers(0, 68 * 365 * 86_400 * 10).map(lambda tenths: datetime.fromtimestamp(tenths / 10, UTC)),
    step=st.integers(1, 59),
)
def test_the_next_opening_is_within_hours_and_nothing_before_it_is(
    zone: str, start: time, end: time, moment: datetime, step: int
) -> None:
    if start == end:
        return
    _check(Opening(hours=Hours(start=start, end=end), zone=ZoneInfo(zone)), moment, timedelta(minutes=step))


@pytest.mark.parametrize("zone", ZONES)
def test_that_holds_around_every_change_of_the_clocks_of_every_zone(zone: str) -> None:
    for change in _changes(ZoneInfo(zone), 2026):
        shown = (change - MINUTE).astimezone(ZoneInfo(zone)).time().replace(microsecond=0)
        for first in (-90, -30, 1, 31):
            start = (datetime.combine(change, shown) + timedelta(minutes=first)).time()
            end = (datetime.combine(change, start) + timedelta(minutes=20)).time()
            within = Opening(hours=Hours(start=start, end=end), zone=ZoneInfo(zone))
            for before in (timedelta(hours=3), timedelta(hours=1), timedelta(minutes=5), timedelta(0)):
                _check(within, change - before, timedelta(minutes=3))


def _check(within: Opening, moment: datetime, step: timedelta) -> None:
    opens = within.next_opening(moment)
    assert opens >= moment
    assert within.is_open(opens)
    assert opens - moment <= timedelta(days=2)
    if opens > moment:
        assert not within.is_open(opens - timedelta(microseconds=1))
    while moment < opens:
        assert not within.is_open(moment)
        moment += step


def _changes(zone: ZoneInfo, year: int) -> list[datetime]:
    """When the zone's clocks are changed in the year, to the minute."""
    days = [datetime(year, 1, 1, tzinfo=UTC) + timedelta(days=day) for day in range(366)]
    changed = [day for day in days if _offset(zone, day) != _offset(zone, day + timedelta(days=1))]
    return [
        next(m for n in range(1441) if _offset(zone, m := day + n * MINUTE) != _offset(zone, day)) for day in changed
    ]


def _offset(zone: ZoneInfo, moment: datetime) -> timedelta | None:
    return moment.astimezone(zone).utcoffset()
