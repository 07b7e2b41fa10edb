"""The use case: give each stored record its embedding, records of history and new ones alike.

Here belongs what is embedded (the scrubbed text, several in one request), and when a record has it already: by record,
text, model and dimensions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from backfill_assets.core.dead_letters import DeadLetterLedger
from backfill_assets.core.enriched import Hit, OrderTarget, OrderWork, StoredVector, VectorVersion
from backfill_assets.core.enrichment import Embedder
from backfill_assets.core.orders import Span
from backfill_assets.core.scrubbing import Scrubber
from backfill_assets.core.windows import Clock, utc_now
from backfill_assets.errors import ConfigurationError, UsageError
from backfill_assets.work_orders.outcomes import EMBEDDING, StageDone
from backfill_assets.work_orders.pipeline import Answer, Clean, Pipeline


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """Embeds records, `at_once` requests at a time."""

    target: OrderTarget
    scrubber: Scrubber
    embedder: Embedder
    dead_letters: DeadLetterLedger
    run_id: str
    at_once: int
    log: Callable[[str], None]
    clock: Clock = utc_now

    @property
    def version(self) -> VectorVersion:
        """Which embeddings are up to date."""
        return VectorVersion(model=self.embedder.model, dimensions=self.embedder.dimensions)

    @property
    def pipeline(self) -> Pipeline[StoredVector]:
        """The flow of records to the provider and back."""
        return Pipeline(
            target=self.target,
            scrubber=self.scrubber,
            dead_letters=self.dead_letters,
            stage=EMBEDDING,
            run_id=self.run_id,
            version=self.version,
            unit=self.embedder.batch_size,
            at_once=self.at_once,
            ask=self._ask,
            put=_put,
            clock=self.clock,
            log=self.log,
        )

    async def embed(self, span: Span, *, most_records: int | None = None) -> StageDone:
        """Embed what is behind in a span, and count anew; `BackfillError` where it cannot be finished."""
        require_dimensions(self.target, self.embedder)
        done = await self.pipeline.finish(span, most_records)
        return replace(done, bytes=done.written * self.embedder.dimensions * 4)

    async def _ask(self, unit: Sequence[Clean]) -> Answer[StoredVector]:
        found = await self.embedder.embed([one.text for one in unit])
        version = VectorVersion(model=found.model, dimensions=found.dimensions)
        now = self.clock()
        return Answer(
            rows=[
                StoredVector(order=one.order, version=version, values=values, method=found.method, at=now)
                for one, values in zip(unit, found.vectors, strict=True)
            ],
            spent=found.spent,
        )


def require_dimensions(target: OrderTarget, embedder: Embedder) -> None:
    """Raise where embeddings of this model do not fit into their column."""
    if target.dimensions != embedder.dimensions:
        raise ConfigurationError(
            f"Embeddings of {embedder.model} have {embedder.dimensions} dimensions and the column holds "
            f"{target.dimensions}, as `backfill init` made it. Set BACKFILL_AI_EMBEDDING_DIMENSIONS to "
            f"{target.dimensions}, or choose a model that has as many."
        )


async def search(
    target: OrderTarget, scrubber: Scrubber, embedder: Embedder, text: str, *, limit: int
) -> Sequence[Hit]:
    """The records nearest to a text, which is scrubbed before it leaves."""
    if not text.strip():
        raise UsageError("there is nothing to search for; give some words")
    require_dimensions(target, embedder)
    [scrubbed] = scrubber.scrub([text])
    found = await embedder.embed([scrubbed.text])
    version = VectorVersion(model=found.model, dimensions=found.dimensions)
    return target.nearest(found.vectors[0], version, limit)


def _put(work: OrderWork, rows: Sequence[StoredVector]) -> None:
    work.put_vectors(rows)
