"""The decision about turns, apart from any clock and database."""

import heapq
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backfill_assets.adapters.state.turns import (
    HOUR,
    LATE,
    LONGEST_BAN,
    LONGEST_TRIAL,
    SECOND,
    SLACK,
    PaceState,
    ask,
    failed,
    is_news,
    learned,
    succeeded,
)
from backfill_assets.core.pacing import Advice, Pace

NOW = 1_700_000_000 * SECOND
PACE = Pace(requests_per_minute=60, breaker_failures=3, breaker_pause_seconds=30)
APART = 1_030_000
"""Between two turns of `PACE`."""


def crowd(pace: Pace, *, askers: int, windows: int, seed: int, busy: float = 0, worst_delay: float = 1) -> list[int]:
    """When the requests of several askers reach the service; each is `busy` seconds with an answer, at random.

    Everybody wakes up late and every request takes its time, up to `worst_delay` of what is reckoned with.
    """
    chance, window = random.Random(seed), pace.interval_seconds * SECOND
    state, arrivals = PaceState(), list[int]()
    waiting: list[tuple[int, int, int | None]] = [(NOW, asker, None) for asker in range(askers)]
    while waiting[0][0] < NOW + windows * window:
        now, asker, reserved = heapq.heappop(waiting)
        turn = ask(state, now, pace, reserved)
        state = turn.state
        if turn.at > now:
            late = chance.random() * worst_delay * LATE * window
            heapq.heappush(waiting, (turn.at + int(late), asker, turn.reserved))
            continue
        arrivals.append(now + int(chance.random() * (SLACK - LATE) * window))
        heapq.heappush(waiting, (now + int(chance.random() * busy * SECOND), asker, None))
    return sorted(arrivals)


def most_in_any_window(arrivals: Sequence[int], pace: Pace) -> int:
    window, most, first = pace.interval_seconds * SECOND, 0, 0
    for last, arrival in enumerate(arrivals):
        while arrival - arrivals[first] >= window:
            first += 1
        most = max(most, last - first + 1)
    return most


paces = st.builds(
    Pace,
    requests_per_minute=st.one_of(st.integers(6, 50), st.integers(50, 300)),
    interval_seconds=st.sampled_from([10.0, 60.0, 3600.0]),
)


@settings(deadline=None, max_examples=40)
@given(pace=paces, askers=st.integers(1, 12), seed=st.integers(0, 2**32), busy=st.sampled_from([0, 0.5, 20]))
def test_no_window_of_the_service_ever_sees_more_than_it_allows(
    pace: Pace, askers: int, seed: int, busy: float
) -> None:
    pace = replace(pace, requests_per_minute=min(pace.requests_per_minute, int(18_000 / pace.interval_seconds)))
    arrivals = crowd(pace, askers=askers, windows=4, seed=seed, busy=busy, worst_delay=3)
    assert most_in_any_window(arrivals, pace) <= max(1, pace.requests_per_minute * pace.interval_seconds / 60)


@settings(deadline=None, max_examples=20)
@given(
    per_minute=st.one_of(st.integers(1, 50), st.integers(50, 300)),
    askers=st.integers(8, 12),
    seed=st.integers(0, 2**32),
)
def test_askers_who_never_rest_use_95_percent_of_the_allowance(per_minute: int, askers: int, seed: int) -> None:
    pace = Pace(requests_per_minute=per_minute)
    arrivals = crowd(pace, askers=askers, windows=11, seed=seed, worst_delay=0.1)
    later = [arrival for arrival in arrivals if NOW + 60 * SECOND <= arrival < NOW + 660 * SECOND]
    assert len(later) >= 0.95 * 10 * per_minute - 1  # one may fall just outside
    assert most_in_any_window(arrivals, pace) <= per_minute


@pytest.mark.parametrize(
    ("per_minute", "window", "apart"),
    [
        (60, 60, 1.03),
        (1, 60, 61.8),
        (60, 10, 1.03),
        (600, 10, 0.103),
        (17, 10, 5.15),  # of 2.8 a window the service lets 2 pass
        (3, 10, 20.6),  # less than one a window
    ],
)
def test_turns_are_spread_evenly_over_the_window(per_minute: int, window: float, apart: float) -> None:
    pace = Pace(requests_per_minute=per_minute, interval_seconds=window)
    turn = ask(ask(PaceState(), NOW, pace).state, NOW, pace)
    assert turn.seconds == pytest.approx(apart if apart <= 30 else apart - 30)


def queue(number: int, *, at: int = NOW, pace: Pace = PACE, state: PaceState | None = None) -> tuple[PaceState, int]:
    """So many ask at once; what is remembered then, and the last one's turn."""
    state, last = state or PaceState(), at
    for _ in range(number):
        turn = ask(state, at, pace)
        state, last = turn.state, turn.at
    return state, last


def test_each_who_asks_gets_the_next_turn_and_keeps_it_until_it_is_due() -> None:
    state, _ = queue(2)
    turn = ask(state, NOW, PACE)
    assert (turn.at, turn.reserved) == (NOW + 2 * APART, NOW + 2 * APART)
    early = ask(turn.state, NOW + APART, PACE, turn.reserved)
    assert (early.at, early.reserved, early.state) == (turn.at, turn.reserved, turn.state)
    due = ask(turn.state, turn.at, PACE, turn.reserved)
    assert (due.seconds, due.reserved, due.state) == (0, None, turn.state)


def test_a_turn_taken_much_too_late_is_lost() -> None:
    turn = ask(queue(1)[0], NOW, PACE)
    assert turn.reserved
    state, _ = queue(5, state=turn.state, at=turn.reserved)
    just = ask(state, turn.reserved + int(LATE * 60 * SECOND), PACE, turn.reserved)
    late = ask(state, turn.reserved + int(LATE * 60 * SECOND) + 1, PACE, turn.reserved)
    assert just.seconds == 0
    assert late.seconds == pytest.approx(5 * 1.03, abs=1.3)


def test_no_turn_is_given_out_far_ahead() -> None:
    state, last = queue(30)
    assert last <= NOW + 30 * SECOND
    turn = ask(state, NOW, PACE)
    assert (turn.reserved, turn.state) == (None, state)
    assert turn.seconds == pytest.approx(30 * 1.03 - 30)
    # Asked again then, it is near enough.
    assert ask(state, turn.at, PACE).reserved == NOW + 30 * APART


def test_a_ban_holds_for_those_who_have_a_turn_too_and_spreads_them_afterwards() -> None:
    waiter = ask(queue(1)[0], NOW, PACE)
    state = learned(waiter.state, NOW, Advice(reason="busy", wait_seconds=20))
    assert state.told == "busy"
    again = ask(state, waiter.at, PACE, waiter.reserved)
    assert (again.at, again.reserved) == (NOW + 20 * SECOND, NOW + 20 * SECOND)
    assert ask(again.state, waiter.at, PACE).at == NOW + 20 * SECOND + APART


def test_a_long_ban_is_waited_for_without_a_turn() -> None:
    state = learned(PaceState(), NOW, Advice(reason="busy", wait_seconds=300))
    turn = ask(state, NOW, PACE)
    assert (turn.seconds, turn.reserved, turn.state) == (300, None, state)


@pytest.mark.parametrize(("seconds", "ban"), [(5, 20), (30, 30), (0, 20), (-1, 20), (1e9, LONGEST_BAN / SECOND)])
def test_a_ban_only_grows_and_not_beyond_a_day(seconds: float, ban: float) -> None:
    state = learned(PaceState(), NOW, Advice(reason="first", wait_seconds=20))
    state = learned(state, NOW, Advice(reason="second", wait_seconds=seconds))
    assert state.not_before == NOW + ban * SECOND
    assert state.told == ("first" if ban == 20 else "second")


def distance(state: PaceState, now: int) -> float:
    return ask(ask(state, now, PACE).state, now, PACE).seconds


@pytest.mark.parametrize(("advised", "apart"), [(30, 2.06), (600, 1.03), (60, 1.03), (0, 1.03), (-3, 1.03)])
def test_advice_slows_and_never_makes_faster_than_the_settings(advised: float, apart: float) -> None:
    state = learned(PaceState(), NOW, Advice(reason="", requests_per_minute=advised))
    assert distance(state, NOW) == pytest.approx(apart)


def test_the_newest_advice_counts_for_an_hour() -> None:
    state = learned(PaceState(), NOW, Advice(reason="", requests_per_minute=10))
    state = learned(state, NOW, Advice(reason="", requests_per_minute=30))
    assert distance(state, NOW + HOUR - 1) == pytest.approx(2.06)
    assert distance(state, NOW + HOUR) == pytest.approx(1.03)


@pytest.mark.parametrize(
    ("advice", "minutes", "news"),
    [
        (Advice(reason="", wait_seconds=1), 0, True),
        (Advice(reason=""), 0, False),
        (Advice(reason="", requests_per_minute=0), 0, False),
        (Advice(reason="", requests_per_minute=30.1), 0, False),
        (Advice(reason="", requests_per_minute=20), 0, True),
        (Advice(reason="", requests_per_minute=90), 0, True),
        (Advice(reason="", requests_per_minute=30), 11, True),
        (Advice(reason="", requests_per_minute=90), 61, False),
    ],
)
def test_what_a_service_repeats_in_each_answer_is_no_news(advice: Advice, minutes: int, news: bool) -> None:
    state = learned(PaceState(), NOW, Advice(reason="", requests_per_minute=30))
    assert is_news(advice, state, NOW + minutes * 60 * SECOND, PACE) is news


def broken(times: int = 3, at: int = NOW, state: PaceState | None = None) -> PaceState:
    state = state or PaceState()
    for number in range(times):
        state = failed(state, at, PACE, f"reason {number + 1}")
    return state


def test_opens_after_failures_in_a_row_with_the_last_reason() -> None:
    assert not ask(broken(2), NOW, PACE).is_refused
    assert not ask(broken(2, state=succeeded(broken(2))), NOW, PACE).is_refused
    turn = ask(broken(3), NOW + SECOND, PACE)
    assert (turn.is_refused, turn.seconds, turn.state.reason) == (True, 29, "reason 3")


def test_failures_of_requests_under_way_do_not_make_the_pause_longer() -> None:
    state = failed(broken(3), NOW + 10 * SECOND, PACE, "late")
    assert (state.open_until, state.reason, state.failures) == (NOW + 30 * SECOND, "reason 3", 4)


def test_one_request_tries_after_the_pause_and_the_others_look_again() -> None:
    state, now = broken(3), NOW + 30 * SECOND
    trial = ask(state, now, PACE)
    assert (trial.is_refused, trial.seconds) == (False, 0)
    other = ask(trial.state, now, PACE)
    assert (other.is_refused, other.seconds) == (True, 30)
    assert ask(trial.state, now + LONGEST_TRIAL - SECOND, PACE).seconds == 1
    assert not ask(trial.state, now + LONGEST_TRIAL, PACE).is_refused


def test_a_trial_that_fails_opens_anew_and_one_that_succeeds_closes() -> None:
    now = NOW + 30 * SECOND
    trial = ask(broken(3), now, PACE).state
    again = failed(trial, now + SECOND, PACE, "still away")
    assert (again.opened_at, again.open_until, again.reason) == (NOW, now + 31 * SECOND, "still away")
    assert again.failures == 4
    assert ask(again, now + 2 * SECOND, PACE).is_refused
    assert not ask(succeeded(trial), now, PACE).is_refused


def test_who_waited_with_a_turn_while_the_breaker_opened_does_not_slip_through_beside_the_trial() -> None:
    waiter = ask(queue(1)[0], NOW, PACE)
    now = NOW + APART
    state = replace(broken(3, at=NOW - 60 * SECOND), next_turn=0)
    trial = ask(state, now, PACE, waiter.reserved)
    assert trial.state.trial_until
    assert ask(trial.state, now, PACE, waiter.reserved).is_refused


def test_nobody_tries_before_a_ban_is_over() -> None:
    state = learned(broken(3), NOW, Advice(reason="", wait_seconds=40))
    turn = ask(state, NOW + 30 * SECOND, PACE)
    assert (turn.is_refused, turn.seconds, turn.state, turn.reserved) == (False, 10, state, None)
    assert ask(state, NOW + 40 * SECOND, PACE).state.trial_until
