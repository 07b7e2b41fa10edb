"""The use case: give the instances of a process model the rows of its metadata fields, month by month.

Here belongs what is done, in which order, and what is said of each month afterwards. It knows neither Dagster nor SQL:
the product's database comes in through `core.instances`.
"""

import random
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from time import perf_counter
from typing import TypeVar

from backfill_assets.core.dead_letters import Answered, DeadLetter, DeadLetterLedger
from backfill_assets.core.instances import InstanceDatabase, Part, Span, Standing
from backfill_assets.core.metadata import MetadataField
from backfill_assets.core.retries import Random, RetryPolicy
from backfill_assets.core.windows import Clock, Window, utc_now
from backfill_assets.errors import BackfillError, PermanentError, TransientError, UsageError
from backfill_assets.process_metadata.batches import BatchDone, Batches, Counts
from backfill_assets.process_metadata.letters import LetterRetry, Letters
from backfill_assets.process_metadata.telling import Log, Telling

TRIES = RetryPolicy(tries=4, base=1.0, cap=30.0)
"""One try and three more, with a pause before each that doubles."""

Done = TypeVar("Done")


@dataclass(frozen=True, kw_only=True)
class MonthDone:
    """A month of one field that was gone through.

    Counted anew afterwards: `source_rows` are the instances whose source task holds a value, an instance with a row
    counting as such, and `rows` those that have a row; `complete` where both are the same and none is unreadable.
    """

    month: Window
    field: MetadataField
    counts: Counts
    source_rows: int
    rows: int
    seconds: float
    complete: bool


@dataclass(frozen=True, kw_only=True)
class MonthFailed:
    """A month of one field that could not be finished, and why."""

    month: Window
    field: MetadataField
    reason: str


Outcome = MonthDone | MonthFailed


class _Lost(Exception):
    """What was tried does not work; carries the sentence."""


@dataclass(kw_only=True)
class _Progress:
    """How far one call has come, in instances; `updated` are rows, `left` is what may still be begun."""

    total: int
    left: int
    processed: int = 0
    updated: int = 0

    def add(self, done: BatchDone) -> None:
        self.processed += done.instances
        self.updated += sum(counts.updated for counts in done.counts)


@dataclass(frozen=True, kw_only=True)
class MetadataBackfill:
    """Fills fields of one model; `run_id` names the run in the log and in the dead letters."""

    database: InstanceDatabase
    dead_letters: DeadLetterLedger
    run_id: str
    batch_size: int
    log: Log
    clock: Clock = utc_now
    sleep: Callable[[float], None] = time.sleep
    random: Random = field(default=random.random)

    def fill(
        self,
        months: Sequence[Window],
        fields: Sequence[MetadataField],
        *,
        overwrite_before: datetime | None = None,
        most_instances: int | None = None,
        before_batch: Callable[[], None] = lambda: None,
    ) -> Iterator[Outcome]:
        """Go through the instances once for all fields, and tell of each month and field when the month is done.

        A row that is there stays; with `overwrite_before` it takes the new value if it was last updated before this
        moment. A month that fails costs no other, unless the database does not work: then all that are left are told
        as failed. What `before_batch` raises ends it between two batches: what is left is not told of.
        """
        model = _model_of(fields)
        batches = Batches(database=self.database, fields=fields, rewrite_before=overwrite_before)
        tell, began = Telling(log=self.log, run_id=self.run_id, model=model), perf_counter()
        tell.started()
        try:
            spans = self._tried(tell, partial(self.database.spans, model, months))
        except _Lost as lost:
            yield from _all_failed(tell, months, fields, str(lost))
            return
        known = self._letters(model).known()
        left = sys.maxsize if most_instances is None else most_instances
        progress = _Progress(total=min(sum(span.instances for span in spans), left), left=left)
        for number, (month, span) in enumerate(zip(months, spans, strict=True)):
            try:
                yield from self._fill_month(month, span, batches, tell, progress, known, before_batch)
            except _Lost as lost:
                works = self._works()
                yield from _all_failed(tell, [month] if works else months[number:], fields, str(lost))
                if not works:
                    return
        tell.completed(progress.processed, progress.updated, perf_counter() - began)

    def recount(self, months: Sequence[Window], fields: Sequence[MetadataField]) -> Iterator[Outcome]:
        """Tell how each month and field stands now, changing nothing; the counts are all zero."""
        model = _model_of(fields)
        tell = Telling(log=self.log, run_id=self.run_id, model=model)
        for month in months:
            began = perf_counter()
            try:
                [span] = self._tried(tell, partial(self.database.spans, model, [month]))
                yield from self._done(month, span, fields, [Counts()] * len(fields), tell, began)
            except _Lost as lost:
                yield from _all_failed(tell, [month], fields, str(lost))

    def retry(self, letters: Sequence[DeadLetter]) -> Iterator[Answered]:
        """Try the instances of these letters again; raises what the database itself meets."""
        return LetterRetry(database=self.database, ledger=self.dead_letters).retry(letters, self.clock())

    def _fill_month(
        self,
        month: Window,
        span: Span,
        batches: Batches,
        tell: Telling,
        progress: _Progress,
        known: frozenset[tuple[str, int]],
        before_batch: Callable[[], None],
    ) -> Iterator[Outcome]:
        began, counts = perf_counter(), [Counts()] * len(batches.fields)
        letters = self._letters(span.part.model)
        for part, done in self._filled(span, batches, tell, progress, before_batch):
            letters.put(month, done.refused, self.clock(), batches.rewrite_before)
            letters.resolve(known, part, done, [field.key for field in batches.fields])
            for refused in done.refused:
                tell.instance_failed(refused.instance_id, refused.field.key, refused.reason)
            counts = [one + other for one, other in zip(counts, done.counts, strict=True)]
            progress.add(done)
            tell.progress(progress.processed, progress.total)
        yield from self._done(month, span, batches.fields, counts, tell, began)

    def _filled(
        self, span: Span, batches: Batches, tell: Telling, progress: _Progress, before_batch: Callable[[], None]
    ) -> Iterator[tuple[Part, BatchDone]]:
        """The batches of a span in their order, several at once; those under way are finished in any case."""
        at_once = self.database.batches_at_once
        running: deque[tuple[Part, Future[BatchDone]]] = deque()
        with ThreadPoolExecutor(at_once) as workers:
            for cut in self._parts(span, tell, lambda: min(self.batch_size, progress.left)):
                before_batch()
                progress.left -= cut.instances
                fill = partial(batches.fill, cut.part, self.clock())
                running.append((cut.part, workers.submit(self._tried, tell, fill)))
                if len(running) > at_once - 1:
                    part, done = running.popleft()
                    yield part, done.result()
            for part, done in running:
                yield part, done.result()

    def _parts(self, span: Span, tell: Telling, limit: Callable[[], int]) -> Iterator[Span]:
        """The span cut into batches; each begins after the last instance of the one before."""
        left = span.part
        while span.instances and limit() > 0:
            cut = self._tried(tell, partial(self.database.cut, left, limit()))
            if cut is None:
                return
            yield cut
            left = replace(left, after=cut.part.upto)

    def _done(
        self,
        month: Window,
        span: Span,
        fields: Sequence[MetadataField],
        counts: Sequence[Counts],
        tell: Telling,
        began: float,
    ) -> Iterator[MonthDone]:
        standings: Sequence[Standing] = [Standing()] * len(fields)
        if span.instances:
            standings = self._tried(tell, partial(self.database.standings, span.part, fields))
        seconds = perf_counter() - began
        for of, counted, standing in zip(fields, counts, standings, strict=True):
            yield MonthDone(
                month=month,
                field=of,
                counts=counted,
                source_rows=standing.held,
                rows=standing.rows,
                seconds=seconds,
                complete=standing.rows == standing.held and not standing.unreadable,
            )

    def _tried(self, tell: Telling, work: Callable[[], Done]) -> Done:
        failures = 0
        while True:
            try:
                return work()
            except (TransientError, PermanentError) as error:
                failures += 1
                if isinstance(error, PermanentError) or not TRIES.may_try_again(failures):
                    raise _Lost(str(error)) from error
                pause = TRIES.delay(failures, self.random)
                tell.again(str(error), pause)
                self.sleep(pause)

    def _works(self) -> bool:
        try:
            self.database.check()
        except BackfillError:
            return False
        return True

    def _letters(self, model: str) -> Letters:
        return Letters(ledger=self.dead_letters, model=model, run_id=self.run_id)


def _model_of(fields: Sequence[MetadataField]) -> str:
    models = {field.model for field in fields}
    if len(models) != 1:
        raise UsageError("Fields of exactly one process model can be filled at once; name some, all of the same model.")
    return models.pop()


def _all_failed(
    tell: Telling, months: Iterable[Window], fields: Sequence[MetadataField], reason: str
) -> Iterator[MonthFailed]:
    for month in months:
        tell.failed(f"month {month.key}", reason)
        yield from (MonthFailed(month=month, field=of, reason=reason) for of in fields)
