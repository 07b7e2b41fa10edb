"""History, sync and canonical table of one tenant, run as a program that stops at every step; see `killable.py`.

Here belong the story and what must come of it.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from backfill_assets.adapters.lake.folder import Folder
from backfill_assets.adapters.lake.raw import RawLake
from backfill_assets.adapters.rest.connectwise_tables import TICKETS
from backfill_assets.adapters.rest.memory import MemorySource
from backfill_assets.adapters.state.database import StateDatabase
from backfill_assets.core.chunks import ChunkTarget
from backfill_assets.core.windows import Window
from backfill_assets.tenant_history.backfill import TableBackfill, WindowDone
from backfill_assets.tenant_history.canonical.building import CanonicalBuild
from backfill_assets.tenant_history.canonical.mapping import canonical_tables
from backfill_assets.tenant_history.completeness import reads_again_from
from backfill_assets.tenant_history.handing_over import HandingOver
from backfill_assets.tenant_history.plan import calendar_of
from backfill_assets_tests.tenant_history.killable import wait_for_the_parent, watch
from backfill_assets_tests.tenant_history.shops import SHOP
from backfill_assets_tests.tenant_history.worlds import NOW, in_week, ticket, weeks

WINDOWS = weeks(8, 11)
CHANGED = range(1, 20, 3)
LATER = NOW + timedelta(hours=3)
"""When sync begins."""

Step = Callable[[str], None]


def before() -> list[dict[str, Any]]:
    """What the source holds while its history is read."""
    return [ticket(number, in_week(8, 1 + 24 * number)) for number in range(1, 25)]


def after() -> list[dict[str, Any]]:
    """What it holds when sync comes: some have changed since the history's first request."""
    changed = {n: ticket(n, NOW + timedelta(minutes=5 * n), summary="changed") for n in CHANGED}
    return [changed.get(record["id"], record) for record in before()]


@dataclass(frozen=True, kw_only=True)
class Story:
    """One tenant's table, from the first request to the canonical file."""

    state: StateDatabase
    lake: RawLake
    step: Step

    def tell(self) -> None:
        """Read the history, then what is new, then build the canonical table."""
        hand_over = self._hand_over
        hand_over.asked_for(WINDOWS)
        self.step("asked for")
        self._read(before(), WINDOWS, NOW)
        [handoff] = self.state.handoffs.handoffs()
        start = reads_again_from(handoff, SHOP)
        assert start is not None
        self._read(after(), calendar_of(SHOP).windows(start, LATER), LATER)
        [table] = canonical_tables(SHOP)
        CanonicalBuild(tenant="acme", service=SHOP.name, table=table, lake=self.lake).build()
        self.step("built")

    @property
    def _hand_over(self) -> HandingOver:
        return HandingOver(
            tenant="acme",
            spec=SHOP,
            table=TICKETS,
            handoffs=self.state.handoffs,
            certificates=self.state.certificates,
            publish=lambda _tenant, _table, _moment: self.step("published"),
        )

    def _read(self, records: list[dict[str, Any]], windows: list[Window], now: datetime) -> None:
        backfill = TableBackfill(
            tenant="acme",
            service=SHOP.name,
            table=TICKETS,
            source=MemorySource({TICKETS.name: records}, page_size=7),
            lake=self.lake,
            certificates=self.state.certificates,
            dead_letters=self.state.dead_letters,
            job_id="job",
            run_id="run",
            clock=lambda: now,
        )
        for outcome in self._hand_over.fill(backfill, windows, ChunkTarget(days=14)):
            assert isinstance(outcome, WindowDone)
            self.step(f"told of {outcome.window.key}")


def tell(url: str, root: Path, *, step: Step = lambda _done: None) -> None:
    """Tell the whole story over this state and this lake."""
    with StateDatabase.open(url) as state:
        Story(state=state, lake=RawLake(Folder(root), lock=state.lock), step=step).tell()


if __name__ == "__main__":
    sys.addaudithook(watch)
    tell(sys.argv[1], Path(sys.argv[2]), step=wait_for_the_parent)
