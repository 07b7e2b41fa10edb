"""The use case: is everything there? One tenant's table is compared with its source again, and mended where asked for.

Here belongs what is compared, from when to when, and in which order it is mended. It knows neither Dagster nor the
command line.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from backfill_assets.core.handoff import Handoff
from backfill_assets.core.windows import BEGINNING, Calendar, Window, midnight
from backfill_assets.errors import BackfillError, PermanentError, UsageError
from backfill_assets.tenant_history.backfill import TableBackfill
from backfill_assets.tenant_history.reconciling.comparing import FEW, Compared, Comparison
from backfill_assets.tenant_history.reconciling.rehashing import Changed, Rehash
from backfill_assets.tenant_history.reconciling.standing import stored_versions
from backfill_assets.tenant_history.rows import DELETED
from backfill_assets.tenant_history.single_records import SingleRecords


@dataclass(frozen=True, kw_only=True)
class Span:
    """What is compared: `[start, end)`; from `tail_from` on incremental sync has yet to read."""

    start: datetime
    end: datetime
    tail_from: datetime


@dataclass(frozen=True, kw_only=True)
class Reconciled:
    """What came of it: `changed` are windows that do not hold what they did, `refilled` and `refetched` was mended.

    `compared` is None, and `problem` says why, where the source could not be asked.
    """

    compared: Compared | None
    changed: tuple[Changed, ...] = ()
    is_deep: bool = False
    refilled: int = 0
    refetched: int = 0
    problem: str = ""

    @property
    def is_equal(self) -> bool:
        """Whether nothing is missing, and nothing has changed; what is gone from the source is no fault."""
        compared = self.compared
        return compared is not None and not (compared.missing or compared.unexplained or self.changed or self.problem)


@dataclass(frozen=True, kw_only=True)
class TableReconcile:
    """Compares one tenant's table; `handoff` is None where none is known, `few` as in `Comparison`."""

    backfill: TableBackfill
    calendar: Calendar
    handoff: Handoff | None
    overlap: timedelta
    few: int = FEW

    def span(self, start: datetime | None = None, end: datetime | None = None) -> Span:
        """What can be compared of `[start, end)`: by default all from where history begins to the hand-off.

        Raises `UsageError` where that is nothing.
        """
        tail_from = self._tail_from()
        begin = start or self._history_from()
        finish = min(end or tail_from, tail_from)
        if begin >= finish:
            raise UsageError(
                f"nothing of {self.backfill.table.name} can be compared from {begin.isoformat()} to "
                f"{finish.isoformat()}: what is newer than {tail_from.isoformat()} is left to incremental sync; "
                "ask for an earlier time"
            )
        return Span(start=begin, end=finish, tail_from=tail_from)

    def run(self, span: Span, *, is_deep: bool, is_repair: bool) -> Reconciled:
        """Compare and, where asked for, mend what differs and compare again; what is told is what is left."""
        found = self._compare(span, is_deep=is_deep)
        if not is_repair or found.is_equal or found.problem:
            return found
        refilled = self._refill(found)
        # Only what is missing beside the windows that were read again is asked for by id.
        between = self._compare(span, is_deep=False) if refilled else found
        refetched = self._refetch(between)
        left = self._compare(span, is_deep=is_deep)
        return Reconciled(
            compared=left.compared,
            changed=left.changed,
            is_deep=is_deep,
            refilled=refilled,
            refetched=refetched,
            problem=left.problem,
        )

    def _compare(self, span: Span, *, is_deep: bool) -> Reconciled:
        rehash = self._rehash
        # The lake first: what is found there is told also where the source is away.
        changed = tuple(rehash.changed(span.start, span.end)) if is_deep else ()
        try:
            changed = tuple(rehash.located(window) for window in changed)
            compared = self._comparison(span, is_deep).run()
        except BackfillError as error:
            return Reconciled(compared=None, changed=changed, is_deep=is_deep, problem=str(error))
        return Reconciled(compared=compared, changed=changed, is_deep=is_deep)

    def _comparison(self, span: Span, is_thorough: bool) -> Comparison:
        raw = self.backfill.raw
        keys = self.backfill.lake.columns(raw, [*raw.key, DELETED])
        certified = self._rehash.certified(span.start, span.end)
        return Comparison(
            records=self._records,
            stored=stored_versions(keys, id_column=raw.id_column, version_column=raw.version_column, deleted=DELETED),
            start=span.start,
            end=span.end,
            tail_from=span.tail_from,
            suspects=tuple(window for window, certificate in certified.items() if certificate.is_short),
            is_thorough=is_thorough,
            few=self.few,
        )

    def _refill(self, found: Reconciled) -> int:
        for changed in found.changed:
            self._rehash.refill(changed)
        return len(found.changed)

    def _refetch(self, found: Reconciled) -> int:
        if found.compared is None:
            return 0
        ids = (self._records.key(missing.record_id) for missing in found.compared.missing)
        records, _ = self._records.fetch(key for key in ids if key is not None)
        return self._records.store(records.values(), self.backfill.clock()).rows.total()

    def _tail_from(self) -> datetime:
        if self.handoff is not None and self.handoff.first_request_at is not None:
            return self.handoff.first_request_at - self.overlap
        return self._window_at(self.backfill.clock()).start

    def _history_from(self) -> datetime:
        if self.handoff is not None:
            return self._window_at(self.handoff.history_from).reads_from
        ahead = self.backfill.clock() + timedelta(days=1)
        certified = [window.reads_from for window in self._rehash.certified(BEGINNING, ahead)]
        # A lake that was filled before there were certificates has files only.
        filed = self.backfill.lake.days(self.backfill.raw, BEGINNING, ahead)
        found = [*certified, *(self._window_at(midnight(day)).reads_from for day in filed[:1])]
        if not found:
            raise PermanentError(
                f"no history of {self.backfill.table.name} of {self.backfill.service} for {self.backfill.tenant} has "
                "been read yet, so there is nothing to compare; start with backfill trigger"
            )
        return min(found)

    def _window_at(self, moment: datetime) -> Window:
        moment = max(moment, midnight(self.calendar.first_day))
        return self.calendar.windows(moment, moment + timedelta(microseconds=1))[0]

    @property
    def _rehash(self) -> Rehash:
        return Rehash(backfill=self.backfill, calendar=self.calendar)

    @property
    def _records(self) -> SingleRecords:
        return SingleRecords(backfill=self.backfill, calendar=self.calendar)
