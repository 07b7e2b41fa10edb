"""Repeating requests: what counts as a try, what is a wait, and when it stops."""

from collections.abc import Callable, Iterable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfill_assets.adapters.rest.http import PROBE_WIRE
from backfill_assets.adapters.rest.retries import with_retries
from backfill_assets.core.retries import RetryPolicy
from backfill_assets.errors import (
    CredentialRefused,
    RateLimited,
    SourceUnreachable,
    TransientError,
    UnexpectedResponse,
)


class Play:
    """Raises or returns one outcome after the other, and counts the calls."""

    def __init__(self, outcomes: Iterable[Exception | str]) -> None:
        self.calls = 0
        self.pauses: list[float] = []
        self._outcomes = iter(outcomes)

    def request(self) -> str:
        self.calls += 1
        outcome = next(self._outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def run(self, policy: RetryPolicy | None = None, random: Callable[[], float] = lambda: 0.5) -> str:
        return with_retries(self.request, policy=policy or RetryPolicy(), sleep=self.pauses.append, random=random)


class Away:
    """A service that cannot be reached until this many seconds of pauses have passed."""

    def __init__(self, seconds: float) -> None:
        self.passed = 0.0
        self._seconds = seconds

    def request(self) -> str:
        if self.passed < self._seconds:
            raise SourceUnreachable("away.")
        return "done"

    def pause(self, seconds: float) -> None:
        self.passed += seconds

    def run(self, random: Callable[[], float]) -> str:
        return with_retries(self.request, policy=RetryPolicy(), sleep=self.pause, random=random)


def limit(seconds: float = 5) -> RateLimited:
    return RateLimited("too many requests.", retry_after=seconds)


def test_a_request_that_succeeds_is_made_once_and_without_a_pause() -> None:
    play = Play(["done"])
    assert (play.run(), play.calls, play.pauses) == ("done", 1, [])


def test_three_failures_and_a_success_are_a_success() -> None:
    play = Play([TransientError("no.")] * 3 + ["done"])
    assert play.run() == "done"
    assert play.pauses == [0.5, 1.0, 2.0]


def test_the_fourth_failure_is_raised_and_says_how_many_tries_there_were() -> None:
    play = Play([TransientError("first."), TransientError("a."), TransientError("b."), TransientError("last.")])
    with pytest.raises(TransientError, match=r"^last\. Gave up after 4 tries\.$"):
        play.run()
    assert (play.calls, len(play.pauses)) == (4, 3)


@pytest.mark.parametrize("error", [TransientError("no."), SourceUnreachable("no."), limit(5)])
def test_a_single_try_is_not_counted_to_the_reader(error: TransientError) -> None:
    play = Play([error])
    with pytest.raises(TransientError, match=f"^{error}$"):
        play.run(PROBE_WIRE.policy)
    assert (play.calls, play.pauses) == (1, [])


@given(st.randoms(use_true_random=False), st.floats(0, 59))
def test_a_service_that_is_away_for_less_than_a_minute_fails_nothing(chance: Random, seconds: float) -> None:
    away = Away(seconds)
    assert away.run(chance.random) == "done"


@pytest.mark.parametrize("fraction", [0, 0.001, 0.5, 0.999])
def test_a_service_that_stays_away_is_given_up_after_a_minute_or_a_little_more(fraction: float) -> None:
    away = Away(float("inf"))
    with pytest.raises(SourceUnreachable, match=r"^away\. Gave up after \d+ tries\.$"):
        away.run(lambda: fraction)
    assert 59.99 <= away.passed <= 90


def test_an_outage_uses_up_no_tries_of_what_comes_after_it() -> None:
    play = Play([SourceUnreachable("away.")] * 6 + [TransientError("starting.")] * 3 + ["done"])
    assert play.run() == "done"


def test_without_a_longest_outage_being_away_is_a_failure_like_others() -> None:
    play = Play([SourceUnreachable("away.")] * 9)
    with pytest.raises(SourceUnreachable, match="Gave up after 4 tries"):
        play.run(RetryPolicy(longest_outage=0))


@pytest.mark.parametrize("final", [CredentialRefused("no."), UnexpectedResponse("what?"), KeyError("a bug")])
def test_what_trying_again_cannot_help_stops_at_once(final: Exception) -> None:
    play = Play([final])
    with pytest.raises(type(final)):
        play.run()
    assert (play.calls, play.pauses) == (1, [])


def test_a_rate_limit_is_a_wait_and_not_a_try() -> None:
    play = Play([limit(5)] * 10 + [TransientError("no.")] * 3 + [limit(5)] * 10 + ["done"])
    assert play.run() == "done"
    assert play.pauses == [5.5] * 10 + [0.5, 1.0, 2.0] + [5.5] * 10


def test_waiting_for_rate_limits_is_bounded_in_all() -> None:
    play = Play(limit(60) for _ in range(1000))
    with pytest.raises(RateLimited, match=r"Gave up after 3600 s of waiting") as caught:
        play.run(RetryPolicy(wait_jitter=0, longest_wait=3600))
    assert caught.value.retry_after == 60
    assert sum(play.pauses) == 3600


def test_a_rate_limit_that_says_now_still_waits_so_that_it_is_no_busy_loop() -> None:
    play = Play(limit(0) for _ in range(5000))
    with pytest.raises(RateLimited):
        play.run(random=lambda: 0)
    assert play.calls == 3601
    assert set(play.pauses) == {1.0}
