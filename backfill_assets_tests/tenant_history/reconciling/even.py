"""A big table whose records follow from their number, and a lake that holds all of it, made without reading it.

Here belongs what the tests of size work on: a source that computes its answers, and the commit of rows made by column.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from backfill_assets.core.source import Identity, Record, RecordId, TableSpec
from backfill_assets.core.windows import Chunk, Window
from backfill_assets.tenant_history.backfill import TableBackfill
from backfill_assets.tenant_history.reading import ChunkRead
from backfill_assets_tests.tenant_history.worlds import FIRST, NOW, ticket

PAGE = 1000


@dataclass(kw_only=True)
class Even:
    """Tickets 0 to `number`, evenly from the start of history to an hour ago; see `RecordSource`."""

    number: int
    asked: Counter[str] = field(default_factory=Counter)

    @property
    def step(self) -> timedelta:
        """The time between two tickets."""
        return (NOW - timedelta(hours=1) - FIRST) / self.number

    def moment(self, record_id: int) -> datetime:
        """When a ticket was last updated."""
        return FIRST + record_id * self.step

    def check(self) -> str:
        """See `RecordSource.check`."""
        return "tickets by number"

    def records(self, table: TableSpec, start: datetime, end: datetime) -> Iterator[Sequence[Record]]:
        """See `RecordSource.records`."""
        self.asked["records"] += 1
        for page in self._pages(start, end):
            yield [ticket(record_id, self.moment(record_id)) for record_id in page]

    def identities(self, table: TableSpec, start: datetime, end: datetime) -> Iterator[Sequence[Identity]]:
        """See `RecordSource.identities`."""
        for page in self._pages(start, end):
            self.asked["identities"] += 1
            yield [(record_id, self.moment(record_id)) for record_id in page]

    def fetch(self, table: TableSpec, ids: Sequence[RecordId]) -> Sequence[Record]:
        """See `RecordSource.fetch`."""
        return [ticket(one, self.moment(one)) for one in map(int, ids) if 0 <= one < self.number]

    def count(self, table: TableSpec, start: datetime, end: datetime) -> int:
        """See `RecordSource.count`."""
        self.asked["count"] += 1
        return len(self._within(start, end))

    def close(self) -> None:
        """See `RecordSource.close`."""

    def _within(self, start: datetime, end: datetime) -> range:
        first, last = (min(max(-(-(moment - FIRST) // self.step), 0), self.number) for moment in (start, end))
        return range(first, last)

    def _pages(self, start: datetime, end: datetime) -> Iterator[range]:
        found = self._within(start, end)
        return (found[first : first + PAGE] for first in range(0, len(found), PAGE))

    def rows(self, window: Window) -> pa.Table:
        """The tickets of a window as rows."""
        ids = pa.array(self._within(window.start, window.end), pa.int64())
        micros = pc.multiply(ids, self.step // timedelta(microseconds=1))
        versions = pc.add(micros, (FIRST - datetime.fromisoformat("1970-01-01T00:00:00Z")) // timedelta(microseconds=1))
        names = pc.binary_join_element_wise("ticket", ids.cast(pa.string()), " ")
        return pa.table(
            {"id": ids, "summary": names, "_info__lastUpdated": versions.cast(pa.timestamp("us", tz="UTC"))}
        )


def commit(backfill: TableBackfill, source: Even, windows: Sequence[Window], *, without: int | None = None) -> None:
    """Commit these windows as if they had been read; one ticket can be left out."""
    for window in windows:
        rows = source.rows(window)
        held = len(rows)
        if without is not None:
            rows = rows.filter(pc.not_equal(rows["id"], without))
        read = ChunkRead(pages=[rows], held=Counter({window: held}))
        backfill.commits.commit(Chunk(windows=(window,)), read, NOW)
