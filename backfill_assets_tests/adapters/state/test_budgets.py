"""Budgets in the state database: what is reserved, what is settled, and what happens at the cap."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfill_assets.adapters.state.budgets import SharedBudget
from backfill_assets.adapters.state.database import StateDatabase
from backfill_assets.adapters.state.spending import MINUTE, NANO, BudgetState, nanodollars, reserve, settle
from backfill_assets.adapters.state.turns import SECOND
from backfill_assets.core.enrichment import Budget, Limits, MemoryBudget, Reservation, Spent
from backfill_assets.errors import BudgetExhausted

T = TypeVar("T")

CALL = Spent(requests=1, tokens_in=100, tokens_out=50, dollars=0.01)
LESS = Spent(requests=1, tokens_in=80, tokens_out=10, dollars=0.004)
CAP = Limits(dollars=0.05)


def using(state: StateDatabase | None, limits: Limits, use: Callable[[Budget], Awaitable[T]]) -> T:
    """What comes of using a budget in an event loop of its own."""

    async def used() -> T:
        if state is None:
            return await use(MemoryBudget(limits=limits))
        budget = state.budgets.open(limits, gather=0)
        try:
            return await use(budget)
        finally:
            await budget.close()

    return asyncio.run(used())


def test_a_call_counts_as_the_most_that_it_may_cost_until_it_is_settled(state_or_none: StateDatabase | None) -> None:
    async def use(budget: Budget) -> tuple[Spent, Spent]:
        reservation = await budget.reserve(CALL)
        before = await budget.spent()
        budget.settle(reservation, LESS)
        await budget.reserve(Spent())  # in the same row, so that the settlement is written by now
        return before, await budget.spent()

    before, after = using(state_or_none, CAP, use)
    assert [before.requests, before.tokens_in, before.tokens_out] == [1, 100, 50]
    assert [after.requests, after.tokens_in, after.tokens_out] == [1, 80, 10]
    assert [before.dollars, after.dollars] == [pytest.approx(0.01), pytest.approx(0.004)]


def test_the_cap_stops_with_what_was_spent_and_the_setting_to_raise(state_or_none: StateDatabase | None) -> None:
    async def use(budget: Budget) -> None:
        for _ in range(5):
            budget.settle(await budget.reserve(CALL), None)
        await budget.reserve(CALL)

    with pytest.raises(BudgetExhausted, match=r"0\.0500 of 0\.05 US dollars are spent.*raise BACKFILL_AI_BUDGET_USD"):
        using(state_or_none, CAP, use)


def test_a_call_of_which_nobody_knows_stays_spent(state_or_none: StateDatabase | None) -> None:
    async def use(budget: Budget) -> Spent:
        budget.settle(await budget.reserve(CALL), None)
        return await budget.spent()

    assert using(state_or_none, CAP, use).dollars == pytest.approx(0.01)


def test_what_one_process_spent_counts_for_the_next(state: StateDatabase) -> None:
    async def use(budget: Budget) -> None:
        await budget.reserve(CALL)  # and dies with it

    for _ in range(5):
        using(state, CAP, use)
    with pytest.raises(BudgetExhausted):
        using(state, CAP, use)
    assert state.budgets.spent().dollars == pytest.approx(0.05)


def test_a_raised_cap_goes_on(state: StateDatabase) -> None:
    async def use(budget: Budget) -> None:
        await budget.reserve(CALL)

    for _ in range(5):
        using(state, CAP, use)
    using(state, Limits(dollars=0.06), use)


def test_what_is_under_way_is_waited_for_before_the_cap_is_called_reached(state: StateDatabase) -> None:
    async def use(budget: Budget) -> float:
        async def call() -> None:
            reservation = await budget.reserve(CALL)
            await asyncio.sleep(0.01)
            budget.settle(reservation, LESS)

        await asyncio.gather(*(call() for _ in range(10)))  # 0.04 in the end, but ten reservations are 0.10
        return (await budget.spent()).dollars

    assert using(state, CAP, use) <= 0.05
    assert state.budgets.spent().dollars == pytest.approx(0.04)


def test_everybody_who_waits_is_told_when_the_cap_is_reached(state: StateDatabase) -> None:
    async def use(budget: Budget) -> list[object]:
        async def call() -> None:
            reservation = await budget.reserve(CALL)
            await asyncio.sleep(0.01)
            budget.settle(reservation, CALL)

        return await asyncio.gather(*(call() for _ in range(20)), return_exceptions=True)

    outcomes = using(state, CAP, use)
    assert [type(each) for each in outcomes].count(BudgetExhausted) == 15


def test_one_who_is_cancelled_while_waiting_gives_everything_back(state: StateDatabase) -> None:
    async def use() -> None:
        entered = asyncio.Event()

        async def for_ever(seconds: float) -> None:
            entered.set()
            await asyncio.Event().wait()

        budget = SharedBudget(state.budgets, "ai", CAP, gather=0, rest=for_ever)
        waiting = asyncio.create_task(budget.reserve(CALL))
        await entered.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await budget.close()

    asyncio.run(use())
    assert state.budgets.spent() == Spent()


def test_many_at_once_share_transactions(state: StateDatabase) -> None:
    async def use() -> int:
        times = 0
        change = state.budgets.change

        def counted(name: str, become: object) -> object:
            nonlocal times
            times += 1
            return change(name, become)  # type: ignore[arg-type]

        state.budgets.change = counted  # type: ignore[method-assign,assignment]
        budget = state.budgets.open(Limits())
        for reservation in await asyncio.gather(*(budget.reserve(CALL) for _ in range(100))):
            budget.settle(reservation, LESS)
        await budget.close()
        return times

    assert asyncio.run(use()) == 2
    assert state.budgets.spent().requests == 100


NOW = int(datetime(2024, 5, 1, tzinfo=UTC).timestamp()) * SECOND


def wanting(tokens: int, dollars: float = 0.0) -> Reservation:
    return Reservation(at_most=Spent(requests=1, tokens_in=tokens, dollars=dollars), expected_tokens=tokens)


@given(sizes=st.lists(st.integers(min_value=1, max_value=5000), min_size=2, max_size=60))
def test_no_minute_gives_out_more_tokens_than_allowed(sizes: list[int]) -> None:
    limits, state, due = Limits(tokens_per_minute=20_000), BudgetState(), []
    for size in sizes:
        state, grant = reserve(state, NOW, limits, wanting(size))
        due.append((NOW + round(grant.seconds * SECOND), size))
    for start, _ in due:
        # The last of a minute begins in it and its tokens belong to the time after.
        within = [size for at, size in due if start <= at < start + MINUTE]
        assert sum(within[:-1]) <= 20_000


def test_tokens_that_were_not_used_are_given_to_the_next() -> None:
    limits = Limits(tokens_per_minute=6000)
    state, first = reserve(BudgetState(), NOW, limits, wanting(3000))
    _, waiting = reserve(state, NOW, limits, wanting(10))
    given_back = settle(state, limits, wanting(3000), Spent(requests=1, tokens_in=1000))
    _, sooner = reserve(given_back, NOW, limits, wanting(10))
    assert [first.seconds, waiting.seconds, sooner.seconds] == [0, pytest.approx(30.9), pytest.approx(10.3)]


@given(calls=st.lists(st.tuples(st.floats(min_value=0, max_value=1), st.floats(min_value=0, max_value=1)), max_size=50))
def test_the_cap_holds_for_any_calls_that_cost_no_more_than_they_reserved(calls: list[tuple[float, float]]) -> None:
    limits, state, paid = Limits(dollars=5), BudgetState(), 0
    for most, share in calls:
        wanted = wanting(10, most)
        after, grant = reserve(state, NOW, limits, wanted)
        if not grant.is_granted:
            assert state.nanodollars + nanodollars(most) > 5 * NANO
            continue
        actual = Spent(requests=1, tokens_in=10, dollars=most * share)
        state = settle(after, limits, wanted, actual)
        paid += nanodollars(actual.dollars)
        assert after.nanodollars <= 5 * NANO
    assert state.nanodollars == paid <= 5 * NANO


def test_fractions_of_a_billionth_are_never_lost() -> None:
    assert [nanodollars(each) for each in (0.0, 1e-10, 2e-8, 0.1 + 0.2)] == [0, 1, 20, 300_000_000]
