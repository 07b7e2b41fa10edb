"""Trying dead letters again: just their records are fetched anew, and stored where they fit by now.

Here belongs what becomes of each letter, and of the windows that they touch. It knows neither Dagster nor the command
line; what Dagster is told of a window belongs to `assets.py`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from backfill_assets.core.chunks import ChunkTarget
from backfill_assets.core.dead_letters import DeadLetter
from backfill_assets.core.keys import encode_key
from backfill_assets.core.source import ColumnType, Record, RecordId
from backfill_assets.core.windows import Calendar, Chunk, Window, midnight
from backfill_assets.errors import BackfillError
from backfill_assets.tenant_history.backfill import TableBackfill
from backfill_assets.tenant_history.committing import DOMAIN
from backfill_assets.tenant_history.isolation import Unreadable, fetch_around
from backfill_assets.tenant_history.reading import ChunkRead, is_past, unreadable_reason
from backfill_assets.tenant_history.rows import RowFitter

ONE_WINDOW = ChunkTarget(days=1)


class Fate(StrEnum):
    """What became of a letter."""

    STORED = "stored"
    SUPERSEDED = "superseded"
    GONE = "gone"
    KEPT = "kept"


@dataclass(frozen=True, kw_only=True)
class Answered:
    """A letter and what became of it: stored, stored in a newer version, gone from the source, or kept."""

    letter: DeadLetter
    fate: Fate
    reason: str


@dataclass(frozen=True, kw_only=True)
class Touched:
    """A window that gained rows or lost letters: rows gained, letters that it still has, and what the source holds."""

    window: Window
    rows: int
    rows_rejected: int
    source_rows: int
    is_past: bool


@dataclass(frozen=True, kw_only=True)
class LetterRetry:
    """Tries the letters of one tenant's table again, with `backfill` to fetch, fit and store."""

    backfill: TableBackfill
    calendar: Calendar

    def retry(self, letters: Sequence[DeadLetter]) -> tuple[list[Answered], list[Touched]]:
        """Fetch the letters' records and store those that fit; raises the source's error where it does not work."""
        now = self.backfill.clock()
        found, unreadable = self._fetch([key for letter in letters if (key := self._key(letter)) is not None])
        stored = self._store(found.values(), now)
        answered = [self._answered(letter, stored, unreadable) for letter in letters]
        self._settle(answered, now)
        touched = {window for a in answered if a.fate is not Fate.KEPT and (window := self._window(a.letter))}
        return answered, [self._touched(window, stored, now) for window in sorted(touched | set(+stored.rows))]

    def _key(self, letter: DeadLetter) -> RecordId | None:
        """The id by which the source can be asked for the letter's record; None for a record that has none."""
        if letter.record_id.startswith("sha256:"):
            return None
        column = self.backfill.table.columns.get(self.backfill.raw.id_column)
        try:
            return int(letter.record_id) if column is ColumnType.INTEGER else letter.record_id
        except ValueError:
            return None

    def _fetch(self, ids: Sequence[RecordId]) -> tuple[dict[str, Record], dict[str, BackfillError]]:
        found: dict[str, Record] = {}
        unreadable: dict[str, BackfillError] = {}
        for part in fetch_around(self.backfill.source, self.backfill.table, list(dict.fromkeys(ids))):
            if isinstance(part, Unreadable):
                unreadable[str(part.record_id)] = part.error
            else:
                found.update({self._identity(record)[0]: record for record in part})
        return found, unreadable

    def _store(self, records: Iterable[Record], now: datetime) -> "_Stored":
        by_window: dict[Window, list[Record]] = {}
        stored = _Stored()
        for record in records:
            record_id, version = self._identity(record)
            stored.versions[record_id] = version
            by_window.setdefault(self._window_of(version), []).append(record)
        for window, held in by_window.items():
            chunk, read = Chunk(windows=(window,)), ChunkRead()
            self.backfill.reader(ONE_WINDOW).fit(held, chunk, read)
            self.backfill.commits.add(chunk, read, now)
            stored.refused.update({refused.record_id: refused.reason for refused in read.refused})
            stored.rows[window] = len(read.rows)
        return stored

    def _answered(self, letter: DeadLetter, stored: "_Stored", unreadable: Mapping[str, BackfillError]) -> Answered:
        fate, reason = self._fate(letter, stored, unreadable)
        return Answered(letter=letter, fate=fate, reason=reason)

    def _fate(self, letter: DeadLetter, stored: "_Stored", unreadable: Mapping[str, BackfillError]) -> tuple[Fate, str]:
        if self._key(letter) is None:
            return Fate.KEPT, "it has no id by which its source could be asked; rerun its partition"
        if error := unreadable.get(letter.record_id):
            return Fate.KEPT, unreadable_reason(error)
        version, refusal = stored.versions.get(letter.record_id), stored.refused.get(letter.record_id)
        if version is None:
            return Fate.GONE, "its source holds it no more"
        if version == letter.version:
            return (Fate.STORED, "it fits now") if refusal is None else (Fate.KEPT, refusal)
        fits = "is stored" if refusal is None else f"is a dead letter of its own: {refusal}"
        return Fate.SUPERSEDED, f"its source holds it in the version {version}, which {fits}"

    def _settle(self, answered: Iterable[Answered], now: datetime) -> None:
        over = [(a.letter.record_id, a.letter.version) for a in answered if a.fate is not Fate.KEPT]
        self.backfill.dead_letters.resolve(*self._place, over)
        kept = (a for a in answered if a.fate is Fate.KEPT)
        self.backfill.dead_letters.put([replace(a.letter, reason=a.reason, seen_at=now) for a in kept])

    def _touched(self, window: Window, stored: "_Stored", now: datetime) -> Touched:
        domain, tenant, service, table = self._place
        left = self.backfill.dead_letters.letters(domain=domain, tenant=tenant, service=service, table=table)
        partition = f"{encode_key(tenant)}|{window.key}"
        return Touched(
            window=window,
            rows=stored.rows[window],
            rows_rejected=sum(letter.partition == partition for letter in left),
            source_rows=self.backfill.source.count(self.backfill.table, window.reads_from, window.end),
            is_past=is_past(window, now),
        )

    @property
    def _place(self) -> tuple[str, str, str, str]:
        return DOMAIN, self.backfill.tenant, self.backfill.service, self.backfill.table.name

    def _identity(self, record: Record) -> tuple[str, str]:
        return RowFitter(self.backfill.table).identity(record)

    def _window(self, letter: DeadLetter) -> Window | None:
        """The letter's window; None where windows are cut otherwise by now."""
        try:
            return self.calendar.window_from_key(letter.partition.rpartition("|")[2])
        except ValueError:
            return None

    def _window_of(self, version: str) -> Window:
        first = midnight(self.calendar.first_day)
        try:
            moment = max(datetime.fromisoformat(version), first)
        except (ValueError, TypeError):
            moment = first  # it will be refused, in the first window
        return self.calendar.windows(moment, moment + timedelta(microseconds=1))[0]


@dataclass(frozen=True, kw_only=True)
class _Stored:
    """What the source sent: the version of each id, why some fit no row, and how many rows each window gained."""

    versions: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    rows: Counter[Window] = field(default_factory=Counter)
