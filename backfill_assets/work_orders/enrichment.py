"""The use case: give each stored record its insight, records of history and new ones alike.

Here belongs what is asked for, and when a record has it already: by record, text, model and prompt.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from backfill_assets.core.dead_letters import DeadLetterLedger
from backfill_assets.core.enriched import InsightVersion, OrderTarget, OrderWork, StoredInsight
from backfill_assets.core.enrichment import InsightExtractor
from backfill_assets.core.orders import Span
from backfill_assets.core.scrubbing import Scrubber
from backfill_assets.core.windows import Clock, utc_now
from backfill_assets.work_orders.outcomes import ENRICHMENT, StageDone
from backfill_assets.work_orders.pipeline import Answer, Clean, Pipeline


@dataclass(frozen=True, kw_only=True)
class Enrichment:
    """Enriches records, `at_once` requests at a time."""

    target: OrderTarget
    scrubber: Scrubber
    extractor: InsightExtractor
    dead_letters: DeadLetterLedger
    run_id: str
    at_once: int
    log: Callable[[str], None]
    clock: Clock = utc_now

    @property
    def version(self) -> InsightVersion:
        """Which insights are up to date."""
        origin = self.extractor.origin
        return InsightVersion(model=origin.model_version, prompt=origin.prompt_version)

    @property
    def pipeline(self) -> Pipeline[StoredInsight]:
        """The flow of records to the provider and back."""
        return Pipeline(
            target=self.target,
            scrubber=self.scrubber,
            dead_letters=self.dead_letters,
            stage=ENRICHMENT,
            run_id=self.run_id,
            version=self.version,
            unit=1,
            at_once=self.at_once,
            ask=self._ask,
            put=_put,
            clock=self.clock,
            log=self.log,
        )

    async def enrich(self, span: Span, *, most_records: int | None = None) -> StageDone:
        """Enrich what is behind in a span, and count anew; `BackfillError` where it cannot be finished."""
        done = await self.pipeline.finish(span, most_records)
        return replace(done, qualities=self.target.qualities(span, self.version))

    async def _ask(self, unit: Sequence[Clean]) -> Answer[StoredInsight]:
        [one] = unit
        extraction = await self.extractor.extract(one.text)
        insight = StoredInsight(order=one.order, extraction=extraction, at=self.clock())
        return Answer(rows=[insight], spent=extraction.spent)


def _put(work: OrderWork, rows: Sequence[StoredInsight]) -> None:
    work.put_insights(rows)
