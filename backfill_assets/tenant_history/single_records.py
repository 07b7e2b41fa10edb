"""Records that are asked for one by one, by id, and stored each in its window.

Here belongs what dead letters that are tried again and records that were found missing have in common. Which ids are
asked for, and what becomes of them, belongs to `letters.py` and `reconciling`.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from backfill_assets.core.chunks import ChunkTarget
from backfill_assets.core.source import ColumnType, Record, RecordId
from backfill_assets.core.windows import Calendar, Chunk, Window, midnight
from backfill_assets.errors import BackfillError
from backfill_assets.tenant_history.backfill import TableBackfill
from backfill_assets.tenant_history.isolation import Unreadable, fetch_around
from backfill_assets.tenant_history.reading import ChunkRead
from backfill_assets.tenant_history.rows import RowFitter

ONE_WINDOW = ChunkTarget(days=1)


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What the source sent: the version of each id, why some fit no row, and how many rows each window gained."""

    versions: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    rows: Counter[Window] = field(default_factory=Counter)


@dataclass(frozen=True, kw_only=True)
class SingleRecords:
    """Single records of one tenant's table, with `backfill` to fetch, fit and store them."""

    backfill: TableBackfill
    calendar: Calendar

    def key(self, record_id: str) -> RecordId | None:
        """The id by which the source can be asked for a record; None for a text that is none."""
        column = self.backfill.table.columns.get(self.backfill.raw.id_column)
        try:
            return int(record_id) if column is ColumnType.INTEGER else record_id
        except ValueError:
            return None

    def fetch(self, ids: Iterable[RecordId]) -> tuple[dict[str, Record], dict[str, BackfillError]]:
        """The records as they are now, and what stands in the way of those that the source cannot send."""
        found: dict[str, Record] = {}
        unreadable: dict[str, BackfillError] = {}
        for part in fetch_around(self.backfill.source, self.backfill.table, list(dict.fromkeys(ids))):
            if isinstance(part, Unreadable):
                unreadable[str(part.record_id)] = part.error
            else:
                found.update({self.identity(record)[0]: record for record in part})
        return found, unreadable

    def store(self, records: Iterable[Record], now: datetime) -> Stored:
        """Keep records, each in the window of its version."""
        by_window: dict[Window, list[Record]] = {}
        stored = Stored()
        for record in records:
            record_id, version = self.identity(record)
            stored.versions[record_id] = version
            by_window.setdefault(self.window_of(version), []).append(record)
        for window, held in by_window.items():
            self._store(window, held, now, stored)
        return stored

    def _store(self, window: Window, records: Sequence[Record], now: datetime, stored: Stored) -> None:
        chunk, read = Chunk(windows=(window,)), ChunkRead()
        self.backfill.reader(ONE_WINDOW).fit(records, chunk, read)
        self.backfill.commits.add(chunk, read, now)
        stored.refused.update({refused.record_id: refused.reason for refused in read.refused})
        stored.rows[window] = len(read.rows)

    def identity(self, record: Record) -> tuple[str, str]:
        """A record's id and version as texts."""
        return RowFitter(self.backfill.table).identity(record)

    def window_of(self, version: str) -> Window:
        """The window of a version; the first one for a version that is older, or no time."""
        first = midnight(self.calendar.first_day)
        try:
            moment = max(datetime.fromisoformat(version), first)
        except (ValueError, TypeError):
            moment = first  # it will be refused, in the first window
        return self.calendar.windows(moment, moment + timedelta(microseconds=1))[0]
