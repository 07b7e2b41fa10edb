"""A provider as runs open it: with the budget, the pace and the breaker of the state database."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from backfill_assets.adapters.ai.http import Wire
from backfill_assets.adapters.ai.opening import Opened, Provider, opened
from backfill_assets.adapters.state.database import StateDatabase
from backfill_assets.adapters.state.schema import initialise
from backfill_assets.core.enrichment import Limits
from backfill_assets.core.retries import RetryPolicy
from backfill_assets.errors import BudgetExhausted, CircuitOpen, ConfigurationError
from backfill_assets.sandbox.ai.server import AiServer, endpoints

T = TypeVar("T")
TEXT = "Replaced the noisy gantry fan, tested."


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateDatabase]:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    initialise(url)
    with StateDatabase.open(url) as database:
        yield database


def provider(server: AiServer, *, limits: Limits | None = None, chat_model: str = "gpt-4o", tries: int = 4) -> Provider:
    return Provider(
        endpoint=endpoints(server.url)["azure_openai"],
        chat_model=chat_model,
        embedding_model="text-embedding-3-small",
        limits=limits or Limits(),
        wire=Wire(random=lambda: 0.0, policy=RetryPolicy(tries=tries)),
    )


def using(provider: Provider, state: StateDatabase, use: Callable[[Opened], Awaitable[T]]) -> T:
    async def used() -> T:
        async with opened(provider, state) as found:
            return await use(found)

    return asyncio.run(used())


def test_what_was_settled_is_written_when_it_is_left(state: StateDatabase, server: AiServer) -> None:
    async def use(found: Opened) -> None:
        await asyncio.gather(*(found.extractor.extract(f"{TEXT} {number}") for number in range(10)))
        await found.embedder.embed([TEXT] * 100)

    using(provider(server, limits=Limits(dollars=1)), state, use)
    charged, counted = server.charges(), state.budgets.spent()
    assert counted.requests == 12
    assert counted.dollars == pytest.approx(charged["dollars"])


def test_the_cap_stops_and_nothing_is_asked_beyond_it(state: StateDatabase, server: AiServer) -> None:
    async def use(found: Opened) -> None:
        await found.extractor.extract(TEXT)

    with pytest.raises(BudgetExhausted, match=r"raise BACKFILL_AI_BUDGET_USD"):
        using(provider(server, limits=Limits(dollars=0.001)), state, use)
    assert server.received() == b""


def test_a_provider_that_fails_again_and_again_is_left_alone_by_all(state: StateDatabase, server: AiServer) -> None:
    server.fault(kind="status", status=500)

    async def use(found: Opened) -> None:
        await found.extractor.extract(TEXT)

    with pytest.raises(CircuitOpen, match=r"azure_openai of tenant work_orders failed 5 times in a row"):
        using(provider(server, tries=9), state, use)
    assert [each.service for each in state.breakers()] == ["azure_openai"]
    asked = server.received()
    with pytest.raises(CircuitOpen):
        using(provider(server, tries=9), state, use)
    assert server.received() == asked


def test_requests_keep_their_distance(state: StateDatabase, server: AiServer) -> None:
    async def use(found: Opened) -> float:
        began = asyncio.get_running_loop().time()
        await asyncio.gather(*(found.extractor.extract(TEXT) for _ in range(6)))
        return asyncio.get_running_loop().time() - began

    assert using(provider(server, limits=Limits(requests_per_minute=600)), state, use) >= 5 * 0.1


def test_tokens_keep_their_distance(state: StateDatabase, server: AiServer) -> None:
    async def use(found: Opened) -> float:
        began = asyncio.get_running_loop().time()
        await asyncio.gather(*(found.extractor.extract(f"{TEXT} {number}") for number in range(6)))
        return asyncio.get_running_loop().time() - began

    # Some 1,400 tokens are expected of each.
    assert using(provider(server, limits=Limits(tokens_per_minute=600_000)), state, use) >= 5 * 0.1


def test_a_model_without_a_price_is_not_asked(state: StateDatabase, server: AiServer) -> None:
    async def use(found: Opened) -> None:
        await found.extractor.extract(TEXT)

    with pytest.raises(ConfigurationError, match=r"set BACKFILL_AI_PRICES"):
        using(provider(server, chat_model="nobody-knows"), state, use)


def test_the_offline_provider_opens_without_an_address(state: StateDatabase) -> None:
    async def use(found: Opened) -> str:
        return (await found.extractor.extract(TEXT)).origin.method

    assert using(Provider(), state, use) == "offline"
    assert state.budgets.spent().requests == 0


def test_the_offline_provider_refuses_another_length_of_vectors(state: StateDatabase) -> None:
    async def use(found: Opened) -> None:
        raise AssertionError("opened")

    with pytest.raises(ConfigurationError, match=r"expected 1536, got 384"):
        using(Provider(dimensions=1536), state, use)
