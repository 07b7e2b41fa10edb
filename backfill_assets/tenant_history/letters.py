"""Trying dead letters again: just their records are fetched anew, and stored where they fit by now.

Here belongs what becomes of each letter, and of the windows that they touch. It knows neither Dagster nor the command
line; what Dagster is told of a window belongs to `assets.py`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from backfill_assets.core.dead_letters import Answered, DeadLetter, Fate
from backfill_assets.core.keys import encode_key
from backfill_assets.core.source import RecordId
from backfill_assets.core.windows import Calendar, Window
from backfill_assets.errors import BackfillError
from backfill_assets.tenant_history.backfill import TableBackfill
from backfill_assets.tenant_history.committing import DOMAIN
from backfill_assets.tenant_history.reading import is_past, unreadable_reason
from backfill_assets.tenant_history.single_records import SingleRecords, Stored


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
        found, unreadable = self._records.fetch(key for letter in letters if (key := self._key(letter)) is not None)
        stored = self._records.store(found.values(), now)
        answered = [self._answered(letter, stored, unreadable) for letter in letters]
        self._settle(answered, now)
        touched = {window for a in answered if a.fate is not Fate.KEPT and (window := self._window(a.letter))}
        return answered, [self._touched(window, stored, now) for window in sorted(touched | set(+stored.rows))]

    def _key(self, letter: DeadLetter) -> RecordId | None:
        """The id by which the source can be asked for the letter's record; None for a record that has none."""
        return None if letter.record_id.startswith("sha256:") else self._records.key(letter.record_id)

    @property
    def _records(self) -> SingleRecords:
        return SingleRecords(backfill=self.backfill, calendar=self.calendar)

    def _answered(self, letter: DeadLetter, stored: Stored, unreadable: Mapping[str, BackfillError]) -> Answered:
        fate, reason = self._fate(letter, stored, unreadable)
        return Answered(letter=letter, fate=fate, reason=reason)

    def _fate(self, letter: DeadLetter, stored: Stored, unreadable: Mapping[str, BackfillError]) -> tuple[Fate, str]:
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

    def _touched(self, window: Window, stored: Stored, now: datetime) -> Touched:
        domain, tenant, service, table = self._place
        left = self.backfill.dead_letters.letters(domain=domain, tenant=tenant, service=service, table=table)
        partition = f"{encode_key(tenant)}|{window.key}"
        touched = Touched(
            window=window,
            rows=stored.rows[window],
            rows_rejected=sum(letter.partition == partition for letter in left),
            source_rows=self.backfill.source.count(self.backfill.table, window.reads_from, window.end),
            is_past=is_past(window, now),
        )
        self.backfill.commits.recount(window, source_rows=touched.source_rows, rows_rejected=touched.rows_rejected)
        return touched

    @property
    def _place(self) -> tuple[str, str, str, str]:
        return DOMAIN, self.backfill.tenant, self.backfill.service, self.backfill.table.name

    def _window(self, letter: DeadLetter) -> Window | None:
        """The letter's window; None where windows are cut otherwise by now."""
        try:
            return self.calendar.window_from_key(letter.partition.rpartition("|")[2])
        except ValueError:
            return None
