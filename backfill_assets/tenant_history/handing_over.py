"""What a reading of a tenant's table means for the next one: noted before its first request and after its last.

Here belongs when the hand-off moves. Its arithmetic belongs to `completeness.py` and `core/handoff.py`, what is read to
`backfill.py`.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from backfill_assets.core.certificates import CertificateLedger
from backfill_assets.core.chunks import ChunkTarget
from backfill_assets.core.handoff import HandoffLedger
from backfill_assets.core.source import ServiceSpec, TableSpec
from backfill_assets.core.windows import Window
from backfill_assets.errors import BackfillError
from backfill_assets.tenant_history.backfill import Outcome, TableBackfill, WindowDone
from backfill_assets.tenant_history.completeness import covered_from, overlap_of, watermark_of
from backfill_assets.tenant_history.plan import calendar_of

_log = logging.getLogger(__name__)

Publish = Callable[[str, str, datetime], None]
"""Tells other programs the watermark of a (tenant, table)."""


@dataclass(frozen=True, kw_only=True)
class HandingOver:
    """The hand-off of one tenant's table; `spec` is the service's own, whose windows all tenants share."""

    tenant: str
    spec: ServiceSpec
    table: TableSpec
    handoffs: HandoffLedger
    certificates: CertificateLedger
    publish: Publish

    @property
    def history_from(self) -> datetime | None:
        """Where the history begins as far as it is known; None for a table that nobody has asked for yet."""
        found = self.handoffs.handoffs(service=self.spec.name, tenant=self.tenant)
        return next((handoff.history_from for handoff in found if handoff.table == self.table.name), None)

    def asked_for(self, windows: Sequence[Window]) -> None:
        """Note that these windows were asked for."""
        self.handoffs.plan(*self._place, start=min(windows).start)

    def fill(
        self,
        backfill: TableBackfill,
        windows: Sequence[Window],
        target: ChunkTarget,
        *,
        before_chunk: Callable[[], None] = lambda: None,
    ) -> Iterator[Outcome]:
        """Fill windows of the table, and note from when on the next reading of it has to begin."""
        began = backfill.clock()
        self.handoffs.begin(*self._place, began)
        done = []
        for outcome in backfill.fill(windows, target, before_chunk=before_chunk):
            if isinstance(outcome, WindowDone):
                done.append(outcome.window)
            yield outcome
        self._end(done, began)

    def _end(self, done: Iterable[Window], began: datetime) -> None:
        if (covered := covered_from(done, began)) is None:
            return
        # What the reading before this one may have seen too early must be within what this one covered.
        if self.handoffs.advance(*self._place, covered_from=covered + overlap_of(self.spec), began=began):
            self._publish()

    def _publish(self) -> None:
        found = self.handoffs.handoffs(service=self.spec.name, tenant=self.tenant)
        [handoff] = [handoff for handoff in found if handoff.table == self.table.name]
        service, table = self.spec.name, self.table.name
        held = self.certificates.certificates(tenant=self.tenant, service=service, table=table)
        if (moment := watermark_of(handoff, self.spec, calendar_of(self.spec), held)) is None:
            return
        try:
            self.publish(self.tenant, table, moment)
        except BackfillError as error:
            # Whoever starts from an older watermark reads more than needed, and loses nothing.
            _log.warning("the watermark of %s %s was not told: %s", self.tenant, table, error)

    @property
    def _place(self) -> tuple[str, str, str]:
        return self.tenant, self.spec.name, self.table.name
