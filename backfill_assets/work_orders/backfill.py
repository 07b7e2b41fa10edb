"""The use case of a run: the stages of each month, one month after another.

Here belongs the order, and what a failure keeps from being tried. What a stage does belongs to its own module.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Protocol

from backfill_assets.core.dead_letters import DeadLetterLedger
from backfill_assets.core.enriched import OrderTarget
from backfill_assets.core.enrichment import Embedder, InsightExtractor
from backfill_assets.core.orders import (
    OrderSource,
    Span,
)
from backfill_assets.core.scrubbing import Scrubber
from backfill_assets.core.windows import Clock, utc_now
from backfill_assets.errors import BackfillError
from backfill_assets.work_orders.embedding import Embedding
from backfill_assets.work_orders.enrichment import Enrichment
from backfill_assets.work_orders.extraction import Extraction
from backfill_assets.work_orders.outcomes import (
    EMBEDDING,
    ENRICHMENT,
    EXTRACTION,
    Outcome,
    StageDone,
    StageFailed,
    failed,
)


class Provider(Protocol):
    """Both halves of a provider, opened for one event loop."""

    @property
    def extractor(self) -> InsightExtractor:
        """The half that finds insights."""
        ...

    @property
    def embedder(self) -> Embedder:
        """The half that makes embeddings."""
        ...


@dataclass(frozen=True, kw_only=True)
class OrderBackfill:
    """Runs stages; `scrubber` is called when text is about to leave, `provider` when the first stage needs it."""

    source: OrderSource
    target: OrderTarget
    dead_letters: DeadLetterLedger
    scrubber: Callable[[], Scrubber]
    provider: Callable[[], AbstractAsyncContextManager[Provider]]
    run_id: str
    batch_size: int
    at_once: int
    log: Callable[[str], None]
    clock: Clock = utc_now

    def run(
        self, spans: Sequence[Span], stages: Sequence[str], *, most_records: int | None = None
    ) -> Iterator[Outcome]:
        """Do the stages of each span; a stage that fails keeps the later ones of its span from being tried."""
        with asyncio.Runner() as runner:
            asking = self.provider() if {ENRICHMENT, EMBEDDING} & set(stages) else None
            provider: Provider | None = None
            extraction: Extraction | None = None
            try:
                for number, span in enumerate(spans):
                    is_part = False
                    for place, stage in enumerate(stages):
                        try:
                            if stage == EXTRACTION:
                                extraction = extraction or self._extraction()
                                outcome: Outcome = extraction.extract(span, most_records=most_records)
                            else:
                                if provider is None and asking is not None:
                                    provider = runner.run(asking.__aenter__())
                                outcome = runner.run(self._asked(stage, span, provider, most_records))
                        except BackfillError as error:
                            outcome = failed(stage, span, error)
                        if isinstance(outcome, StageDone):
                            # What was done of a part of the records is a part, however much of that it is.
                            is_part = is_part or outcome.is_part
                            outcome = replace(outcome, is_part=is_part)
                        yield outcome
                        if isinstance(outcome, StageFailed):
                            left = spans[number + 1 :] if outcome.ends_all else ()
                            yield from _untried(outcome, stages[place + 1 :], left, stages)
                            if outcome.ends_all:
                                return
                            break
            finally:
                if asking is not None and provider is not None:
                    runner.run(asking.__aexit__(None, None, None))

    def _extraction(self) -> Extraction:
        return Extraction(
            source=self.source,
            target=self.target,
            dead_letters=self.dead_letters,
            run_id=self.run_id,
            batch_size=self.batch_size,
            duplicates=self.source.duplicates(),
            log=self.log,
            clock=self.clock,
        )

    async def _asked(self, stage: str, span: Span, provider: Provider | None, most_records: int | None) -> Outcome:
        if provider is None:
            raise RuntimeError(f"{stage} was begun without a provider")
        if stage == ENRICHMENT:
            enrichment = Enrichment(
                target=self.target,
                scrubber=self.scrubber(),
                extractor=provider.extractor,
                dead_letters=self.dead_letters,
                run_id=self.run_id,
                at_once=self.at_once,
                log=self.log,
                clock=self.clock,
            )
            return await enrichment.enrich(span, most_records=most_records)
        embedding = Embedding(
            target=self.target,
            scrubber=self.scrubber(),
            embedder=provider.embedder,
            dead_letters=self.dead_letters,
            run_id=self.run_id,
            at_once=self.at_once,
            log=self.log,
            clock=self.clock,
        )
        return await embedding.embed(span, most_records=most_records)


def _untried(
    lost: StageFailed, later: Sequence[str], spans: Sequence[Span], stages: Sequence[str]
) -> Iterator[StageFailed]:
    """What is not tried any more, for the same reason."""
    for stage in later:
        yield StageFailed(stage=stage, span=lost.span, reason=lost.reason)
    for span in spans:
        for stage in stages:
            yield StageFailed(stage=stage, span=span, reason=lost.reason)
