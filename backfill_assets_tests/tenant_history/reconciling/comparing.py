"""A table that the lake and its source hold, put together by hand, and the comparison of the two."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from backfill_assets.adapters.rest.memory import MemorySource
from backfill_assets.tenant_history.plan import calendar_of
from backfill_assets.tenant_history.reconciling.comparing import Compared, Comparison
from backfill_assets.tenant_history.reconciling.standing import table_of, version_of
from backfill_assets.tenant_history.single_records import SingleRecords
from backfill_assets_tests.tenant_history.worlds import DESK, FIRST, NOW, TICKETS, World, ticket

TAIL = NOW - timedelta(hours=1)

Stored = Iterable[tuple[Any, datetime] | tuple[Any, datetime, bool]]


@dataclass(frozen=True, kw_only=True)
class Sides:
    """Both sides: what the lake holds, with a mark where a version is that of a deleted record, and the source."""

    stored: Stored
    source: MemorySource
    world: World

    def compare(self, *, few: int = 1, **more: Any) -> Compared:
        """Compare from the start of history to the tail."""
        records = SingleRecords(backfill=self.world.backfill(), calendar=calendar_of(DESK))
        rows = [(str(key), version_of(moment), bool(mark)) for key, moment, *mark in self.stored]
        span = {"start": FIRST, "end": TAIL, "tail_from": TAIL, **more}
        return Comparison(records=records, stored=table_of(rows), few=few, **span).run()

    @property
    def counts(self) -> int:
        """How many count requests the source has seen."""
        return sum(request.kind == "count" for request in self.source.requests)


def sides(root: Path, *, stored: Stored, held: Iterable[tuple[Any, datetime]]) -> Sides:
    """The lake holds the versions `stored`, the source the records `held`."""
    world = World(root=root)
    source = world.add("acme", {TICKETS.name: [ticket(key, moment) for key, moment in held]})
    source._page_size = 1000
    return Sides(stored=list(stored), source=source, world=world)
