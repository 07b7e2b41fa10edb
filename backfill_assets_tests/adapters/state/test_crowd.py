"""The pace of an account at which many coroutines ask at once."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest

from backfill_assets.adapters.state.crowd import CrowdPacer
from backfill_assets.adapters.state.grouping import Grouped
from backfill_assets.adapters.state.pacing import Account, Decide, MemoryPaces
from backfill_assets.core.pacing import Advice, Pace
from backfill_assets.errors import CircuitOpen, RateLimited, TransientError

T = TypeVar("T")

ACCOUNT = ("openai", "work_orders")
PACE = Pace(requests_per_minute=60, breaker_failures=3, breaker_pause_seconds=30)


class World:
    """A clock that only moves when somebody waits, and the paces of all processes."""

    def __init__(self) -> None:
        self.now = datetime(2024, 5, 1, tzinfo=UTC)
        self.paces = MemoryPaces(lambda: self.now)
        self.times = 0

    def change(self, account: Account, decide: Decide[T]) -> T:
        """See `PaceStore.change`; counts."""
        self.times += 1
        return self.paces.change(account, decide)

    def pacer(self) -> CrowdPacer:
        """As one process has it."""
        return CrowdPacer(self, ACCOUNT, PACE, longest_wait=100, gather=0, rest=self.rest)

    async def rest(self, seconds: float) -> None:
        """Move the clock."""
        self.now += timedelta(seconds=seconds)


def run(use: Callable[[CrowdPacer, CrowdPacer], Awaitable[T]], world: World) -> T:
    async def used() -> T:
        ours, theirs = world.pacer(), world.pacer()
        try:
            return await use(ours, theirs)
        finally:
            await ours.close()
            await theirs.close()

    return asyncio.run(used())


def test_many_are_admitted_at_even_distances_in_few_transactions() -> None:
    world, admitted = World(), list[float]()
    pace = Pace(requests_per_minute=3000)

    async def use() -> None:
        world.paces = MemoryPaces()  # with the real clock
        both = [CrowdPacer(world, ACCOUNT, pace, longest_wait=100) for _ in range(2)]

        async def ask(pacer: CrowdPacer) -> None:
            await pacer.admit()
            admitted.append(time.monotonic())

        await asyncio.gather(*(ask(pacer) for _ in range(15) for pacer in both))

    asyncio.run(use())
    assert admitted[-1] - admitted[0] >= 28 * 0.0206
    assert world.times <= 2 + 30


def test_what_a_provider_says_holds_for_all() -> None:
    world = World()
    began = world.now

    async def use(ours: CrowdPacer, theirs: CrowdPacer) -> None:
        ours.learn(Advice(reason="429", wait_seconds=20))
        await ours.close()
        await theirs.admit()

    run(use, world)
    assert world.now - began == timedelta(seconds=20)


def test_nobody_waits_longer_than_anybody_should() -> None:
    async def use(ours: CrowdPacer, theirs: CrowdPacer) -> None:
        ours.learn(Advice(reason="come back tomorrow", wait_seconds=7200))
        await ours.admit()

    with pytest.raises(RateLimited, match=r"not asked for another 7200 s, since it said so: come back tomorrow"):
        run(use, World())


def test_the_breaker_opens_for_all_and_one_may_try_after_the_pause() -> None:
    world = World()

    async def use(ours: CrowdPacer, theirs: CrowdPacer) -> None:
        for _ in range(3):
            ours.failed("it answered 503.")
        await ours.close()
        assert [each.reason for each in world.paces.breakers()] == ["it answered 503."]
        with pytest.raises(CircuitOpen, match=r"openai of tenant work_orders failed 3 times in a row"):
            await theirs.admit()
        world.now += timedelta(seconds=30)
        await theirs.admit()
        with pytest.raises(CircuitOpen):
            await ours.admit()
        theirs.succeeded()
        await theirs.close()
        assert world.paces.breakers() == []

    run(use, world)


def test_a_success_costs_nothing_when_nothing_failed() -> None:
    world = World()

    async def use(ours: CrowdPacer, theirs: CrowdPacer) -> None:
        await ours.admit()
        ours.succeeded()

    run(use, world)
    assert world.times == 1


def test_a_store_that_fails_is_told_to_everyone_and_the_next_change_is_made(caplog: pytest.LogCaptureFixture) -> None:
    fails = [True, False]

    def change(become: Callable[[int, int], tuple[int, list[object]]]) -> list[object]:
        if fails.pop(0):
            raise TransientError("the database is away")
        return become(0, 0)[1]

    async def use() -> list[object]:
        row: Grouped[int] = Grouped(change, gather=0)
        row.change_later(lambda state, now: state + 1)
        asked = (row.change(lambda state, now: (state, "done")) for _ in range(3))
        first = await asyncio.gather(*asked, return_exceptions=True)
        second = await row.change(lambda state, now: (state, "done"))
        await row.close()
        return [*map(str, first), second]

    assert asyncio.run(use()) == ["the database is away"] * 3 + ["done"]
    assert "a change was lost: the database is away" in caplog.text


def test_one_who_is_cancelled_holds_nobody_up() -> None:
    async def use() -> str:
        row: Grouped[int] = Grouped(lambda become: become(0, 0)[1], gather=0.01)
        waiting = asyncio.create_task(row.change(lambda state, now: (state, "never told")))
        await asyncio.sleep(0)
        waiting.cancel()
        return await row.change(lambda state, now: (state, "told"))

    assert asyncio.run(use()) == "told"
