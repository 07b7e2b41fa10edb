"""The provider that the settings name, ready to be asked.

Here belongs putting the parts together; what each does belongs to it.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from backfill_assets.adapters.ai.chat import ChatExtractor
from backfill_assets.adapters.ai.embedding import ProviderEmbedder, wrong_dimensions
from backfill_assets.adapters.ai.endpoint import Endpoint
from backfill_assets.adapters.ai.http import AiSession, Wire
from backfill_assets.adapters.ai.offline import OfflineEmbedder, OfflineExtractor
from backfill_assets.adapters.ai.prices import Price, price_of
from backfill_assets.adapters.state.crowd import CrowdPacer
from backfill_assets.adapters.state.database import StateDatabase
from backfill_assets.core.enrichment import Embedder, InsightExtractor, Limits
from backfill_assets.core.pacing import Pace

UNLIMITED = 10_000_000
"""Requests a minute where nothing is said."""
PURPOSE = "work_orders"
"""Stands where other services have their tenant, in paces and messages."""

_DIMENSIONS = {"text-embedding-3-large": 3072}
USUAL_DIMENSIONS = 1536


@dataclass(frozen=True, kw_only=True)
class Provider:
    """Which provider is asked, as the settings say; `endpoint` None is the offline one.

    `chat_model` and `embedding_model` are the models by which prices are known, whatever a deployment is called.
    """

    endpoint: Endpoint | None = None
    chat_model: str = ""
    embedding_model: str = ""
    dimensions: int | None = None
    limits: Limits = field(default_factory=Limits)
    prices: Mapping[str, Price] = field(default_factory=dict)
    wire: Wire = field(default_factory=Wire)

    @property
    def vector_dimensions(self) -> int:
        """How long vectors are: what is set, or what the model gives; `ConfigurationError` where it cannot."""
        if self.endpoint is None:
            given = OfflineEmbedder.dimensions
            if self.dimensions not in (None, given):
                raise wrong_dimensions(OfflineEmbedder.model, expected=self.dimensions or given, got=given)
            return given
        return self.dimensions or _DIMENSIONS.get(self.embedding_model, USUAL_DIMENSIONS)


@dataclass(frozen=True, kw_only=True)
class Opened:
    """Both halves of one provider."""

    extractor: InsightExtractor
    embedder: Embedder


@asynccontextmanager
async def opened(provider: Provider, state: StateDatabase) -> AsyncIterator[Opened]:
    """The provider, for the coroutines of this event loop; on leaving, all that was settled is written down."""
    if provider.endpoint is None:
        _ = provider.vector_dimensions  # refuses what does not fit
        yield Opened(extractor=OfflineExtractor(), embedder=OfflineEmbedder())
        return
    chat_price = price_of(provider.chat_model, provider.prices)
    embedding_price = price_of(provider.embedding_model, provider.prices)
    pace = Pace(requests_per_minute=provider.limits.requests_per_minute or UNLIMITED)
    pacer = CrowdPacer(
        state.paces,
        (provider.endpoint.provider, PURPOSE),
        pace,
        longest_wait=provider.wire.policy.longest_wait,
    )
    budget = state.budgets.open(provider.limits)
    session = AiSession(endpoint=provider.endpoint, budget=budget, pacer=pacer, wire=provider.wire)
    try:
        yield Opened(
            extractor=ChatExtractor(session, price=chat_price),
            embedder=ProviderEmbedder(
                session,
                price=embedding_price,
                model=provider.embedding_model,
                dimensions=provider.vector_dimensions,
            ),
        )
    finally:
        await session.close()
        await budget.close()
        await pacer.close()
