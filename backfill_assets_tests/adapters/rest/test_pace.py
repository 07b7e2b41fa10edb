"""Requests at a pace: what a session asks of its pacer, and tells it, over a scripted transport."""

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest

from backfill_assets.adapters.rest.account import Account
from backfill_assets.adapters.rest.http import HttpSession
from backfill_assets.adapters.state.pacing import MemoryPaces
from backfill_assets.core.pacing import Advice, Pace, Pacer
from backfill_assets.core.retries import RetryPolicy
from backfill_assets.errors import BackfillError, CircuitOpen, PermanentError, RateLimited, TransientError
from backfill_assets_tests.adapters.rest.scripted import NOW, Answer, Script

DONE = httpx.Response(200, json={"done": True})
DOWN = httpx.Response(503)
PACE = Pace(requests_per_minute=60, breaker_failures=5, breaker_pause_seconds=30)


class World:
    """A ledger, whose time passes while a session sleeps, and sessions of several processes over it."""

    def __init__(self) -> None:
        self.now = NOW
        self.paces = MemoryPaces(lambda: self.now)
        self.other: Pacer = self.paces.pacer("connectwise", "acme", PACE)

    def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def play(self, *answers: Answer, requests: int = 1) -> Script:
        """Make requests in a process of their own, that are answered so."""
        script = Script(answers)
        pacer = self.paces.pacer("connectwise", "acme", PACE)
        policy = RetryPolicy(tries=4, longest_outage=0)
        session = HttpSession(
            account=Account(service="connectwise", tenant="acme"),
            base_url="https://api-na.example.com",
            headers={},
            wire=replace(script.wire(policy=policy), pacer=pacer, sleep=self.sleep),
        )
        try:
            for _ in range(requests):
                session.get("things")
        finally:
            session.close()
        return script


@pytest.fixture
def world() -> World:
    return World()


def test_requests_come_at_their_pace(world: World) -> None:
    world.play(DONE, requests=11)
    assert (world.now - NOW).total_seconds() == pytest.approx(10.3)


def test_what_a_429_says_holds_for_every_process(world: World) -> None:
    script = world.play(httpx.Response(429, headers={"Retry-After": "20"}), DONE)
    assert len(script.requests) == 2
    assert (world.now - NOW).total_seconds() >= 20
    world.now = NOW + timedelta(seconds=5)
    assert world.other.admit() >= 15


def test_whoever_would_wait_too_long_for_a_ban_says_so(world: World) -> None:
    with pytest.raises(RateLimited):
        world.play(httpx.Response(429, headers={"Retry-After": "100000"}))
    world.other.learn(Advice(reason="the day's requests are used up", wait_seconds=7200))
    with pytest.raises(RateLimited, match=r"is not asked for another 72\d\d s"):
        world.play(DONE)


def test_failures_in_a_row_open_the_breaker_and_nobody_asks_any_more(world: World) -> None:
    with pytest.raises(TransientError, match="Gave up after 4 tries"):
        world.play(DOWN)
    with pytest.raises(
        CircuitOpen, match=r"failed 5 times in a row, last: .*answered 503.*; it is asked again in 30 s"
    ):
        world.play(DOWN)
    began = world.now
    with pytest.raises(CircuitOpen) as caught:
        world.play(DONE)
    assert world.now == began  # neither waited for nor tried again
    assert caught.value.retry_in == 29.5


@pytest.mark.parametrize("trial", [DONE, httpx.Response(404), httpx.Response(429, headers={"Retry-After": "1"})])
def test_any_answer_to_the_trial_closes_the_breaker(world: World, trial: httpx.Response) -> None:
    for _ in range(5):
        world.other.failed("503")
    world.sleep(30)
    with suppress(PermanentError):
        assert len(world.play(trial, DONE).requests) <= 2
    assert world.paces.breakers() == []


@pytest.mark.parametrize("status", [401, 403, 404, 400, 429])
def test_a_refusal_is_an_answer_of_a_service_that_is_well(world: World, status: int) -> None:
    for _ in range(4):
        world.other.failed("503")
    with suppress(PermanentError):
        world.play(httpx.Response(status), DONE)
    world.other.failed("503")
    assert world.paces.breakers() == []


@pytest.mark.parametrize(
    "failure", [httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), httpx.Response(200, html="<html>")]
)
def test_no_answer_and_a_senseless_one_are_failures(world: World, failure: Answer) -> None:
    world.other.failed("503")
    with pytest.raises(BackfillError):
        world.play(failure)
    assert len(world.paces.breakers()) == 1
