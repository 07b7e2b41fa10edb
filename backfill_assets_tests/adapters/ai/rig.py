"""A provider under test: opened, asked and closed within one event loop.

Here belongs what all tests of providers need; what is expected belongs to them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

import httpx

from backfill_assets.adapters.ai.chat import ChatExtractor
from backfill_assets.adapters.ai.embedding import ProviderEmbedder
from backfill_assets.adapters.ai.endpoint import Endpoint
from backfill_assets.adapters.ai.http import AiSession, Unpaced, Wire
from backfill_assets.adapters.ai.offline import OfflineEmbedder, OfflineExtractor
from backfill_assets.adapters.ai.opening import Opened
from backfill_assets.adapters.ai.prices import PRICES
from backfill_assets.core.enrichment import Budget, MemoryBudget
from backfill_assets.core.retries import RetryPolicy

T = TypeVar("T")

CHAT_PRICE, EMBEDDING_PRICE = PRICES["gpt-4o"], PRICES["text-embedding-3-small"]


@dataclass
class Rig:
    """How to open a provider; `pauses` are those it would have made."""

    endpoint: Endpoint | None
    budget: Budget = field(default_factory=MemoryBudget)
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    timeout: httpx.Timeout = field(default_factory=lambda: httpx.Timeout(5))
    at_once: int = 16
    dimensions: int = 1536
    pauses: list[float] = field(default_factory=list)

    def run(self, use: Callable[[Opened], Awaitable[T]]) -> T:
        """What comes of using the provider."""

        async def used() -> T:
            if self.endpoint is None:
                return await use(Opened(extractor=OfflineExtractor(), embedder=OfflineEmbedder()))
            session = AiSession(endpoint=self.endpoint, budget=self.budget, pacer=Unpaced(), wire=self._wire())
            try:
                return await use(self._opened(session))
            finally:
                await session.close()

        return asyncio.run(used())

    def but(self, **other: object) -> "Rig":
        """The same with another endpoint."""
        assert self.endpoint
        return replace(self, endpoint=replace(self.endpoint, **other))  # type: ignore[arg-type]

    def _wire(self) -> Wire:
        async def note(seconds: float) -> None:
            self.pauses.append(seconds)

        return Wire(at_once=self.at_once, timeout=self.timeout, policy=self.policy, sleep=note, random=lambda: 0.5)

    def _opened(self, session: AiSession) -> Opened:
        return Opened(
            extractor=ChatExtractor(session, price=CHAT_PRICE),
            embedder=ProviderEmbedder(
                session,
                price=EMBEDDING_PRICE,
                model="text-embedding-3-small",
                dimensions=self.dimensions,
                batch_size=8,
            ),
        )
