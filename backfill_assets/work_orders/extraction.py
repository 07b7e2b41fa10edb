"""The use case: bring the records of a month from their source into our tables.

Here belongs what is done, in which order, and how it goes on after an interruption: the cursor is committed with each
batch. What makes a record fit belongs to `validation.py`. It knows neither Dagster nor SQL.
"""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar

from backfill_assets.core.dead_letters import DeadLetterLedger
from backfill_assets.core.enriched import OrderTarget
from backfill_assets.core.orders import (
    Checkpoint,
    OrderSource,
    Position,
    Span,
    position_of,
)
from backfill_assets.core.retries import Random, RetryPolicy
from backfill_assets.core.windows import Clock, utc_now
from backfill_assets.errors import TransientError
from backfill_assets.work_orders.letters import Letters, kinds
from backfill_assets.work_orders.outcomes import EXTRACTION, StageDone
from backfill_assets.work_orders.validation import sort_out

if TYPE_CHECKING:
    import pyarrow as pa

TRIES = RetryPolicy(tries=4, base=1.0, cap=30.0)
PAGE = 50_000
"""Records fetched at once; a batch is what is committed at once."""

CHECKPOINT = "notification_text_backfill"
"""What existing installations call the row of a backfill in `etl_metadata`."""

Log = Callable[[str], None]
Done = TypeVar("Done")


@dataclass(kw_only=True)
class _Read:
    """How far one call has come."""

    records: int = 0
    bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """Brings records in; `duplicates` are the ids that the source holds more than once."""

    source: OrderSource
    target: OrderTarget
    dead_letters: DeadLetterLedger
    run_id: str
    batch_size: int
    duplicates: Mapping[str, datetime | None]
    log: Log
    clock: Clock = utc_now
    sleep: Callable[[float], None] = time.sleep
    random: Random = field(default=random.random)

    def extract(self, span: Span, *, most_records: int | None = None) -> StageDone:
        """Read a span from where it was left, store what fits, and count both sides anew.

        Raises `BackfillError` where it cannot be finished; what was committed stays, and the next call goes on there.
        """
        began, read = perf_counter(), _Read()
        is_whole = self._tried(lambda: self._read(span, most_records, read))
        found = self._tried(lambda: self.source.standing(span))
        stored = self._tried(lambda: self.target.standing(span))
        letters = self._letters.of(span)
        refused = self._letters.standing(span)
        return StageDone(
            stage=EXTRACTION,
            span=span,
            source_rows=found.records,
            rows=stored.records,
            rejected=kinds(letters),
            is_balanced=stored + refused == found,
            is_part=not is_whole or not span.is_whole,
            written=read.records,
            bytes=read.bytes,
            seconds=perf_counter() - began,
        )

    @property
    def _letters(self) -> Letters:
        return Letters(ledger=self.dead_letters, table=EXTRACTION, run_id=self.run_id)

    def _read(self, span: Span, most_records: int | None, read: _Read) -> bool:
        """Whether all of the span was read."""
        began = perf_counter()
        checkpoint = self._opened(span)
        for batch in self._batches(span, checkpoint.cursor):
            wanted = batch
            if most_records is not None:
                left = most_records - read.records
                wanted = batch.slice(0, _end_of_group(batch, left) if left > 0 else 0)
            if wanted.num_rows:
                checkpoint = self._commit(span, wanted, checkpoint, perf_counter() - began)
            read.records += wanted.num_rows
            read.bytes += wanted.nbytes
            self.log(f"{EXTRACTION} {span.key}: {checkpoint.records} records read")
            if wanted.num_rows < batch.num_rows:
                return False
        self._close(checkpoint, perf_counter() - began)
        return True

    def _opened(self, span: Span) -> Checkpoint:
        """The checkpoint to go on from; one that is begun anew forgets what was refused before."""
        checkpoint = self.target.checkpoint(f"{CHECKPOINT}/{span.key}")
        if checkpoint.is_open:
            return checkpoint
        self._letters.resolve(self._letters.of(span))
        opened = Checkpoint(name=checkpoint.name, is_open=True)
        with self.target.begin() as work:
            work.put_checkpoint(opened)
        return opened

    def _commit(self, span: Span, batch: "pa.Table", checkpoint: Checkpoint, seconds: float) -> Checkpoint:
        batch_sorted = sort_out(batch, self.duplicates)
        # Before the commit: a letter that is put twice is one letter, and one that was never put is a lost record.
        self._letters.put(span, batch_sorted.refused, self.clock())
        reached = replace(
            checkpoint,
            cursor=position_of(batch, batch.num_rows - 1),
            records=checkpoint.records + batch.num_rows,
            seconds=seconds,
        )
        with self.target.begin() as work:
            work.store(batch_sorted.records)
            work.put_checkpoint(reached)
        return reached

    def _close(self, checkpoint: Checkpoint, seconds: float) -> None:
        done = replace(checkpoint, cursor=None, is_open=False, seconds=seconds, succeeded_at=self.clock())
        with self.target.begin() as work:
            work.put_checkpoint(done)

    def _batches(self, span: Span, after: Position | None) -> "Iterator[pa.Table]":
        for page in _fetched_ahead(self.source.pages(span, after, max(PAGE, self.batch_size))):
            start = 0
            while start < page.num_rows:
                batch = page.slice(start, _end_of_group(page.slice(start), self.batch_size))
                yield batch
                start += batch.num_rows

    def _tried(self, work: Callable[[], Done]) -> Done:
        failures = 0
        while True:
            try:
                return work()
            except TransientError as error:
                failures += 1
                if not TRIES.may_try_again(failures):
                    raise
                pause = TRIES.delay(failures, self.random)
                self.log(f"{EXTRACTION}: tries again in {pause:.1f}s: {error}")
                self.sleep(pause)


def _end_of_group(records: "pa.Table", least: int) -> int:
    """The row after the first so many, or after the last of those that share the last one's position."""
    end: int = min(least, records.num_rows)
    while end < records.num_rows and position_of(records, end) == position_of(records, end - 1):
        end += 1
    return end


def _fetched_ahead(pages: "Iterator[pa.Table]") -> "Iterator[pa.Table]":
    """While one page is stored, the next one is fetched."""
    with ThreadPoolExecutor(1) as fetcher:
        coming = fetcher.submit(next, pages, None)
        while (page := coming.result()) is not None:
            coming = fetcher.submit(next, pages, None)
            yield page
