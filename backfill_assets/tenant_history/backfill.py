"""The use case: fill the lake with the windows of one tenant's table, chunk by chunk.

Here belongs what is done, in which order, and what is said of each window afterwards. It knows neither Dagster nor
HTTP: what is outside comes in through the interfaces. How a chunk is read belongs to `reading.py`.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from time import perf_counter

import pyarrow as pa

from backfill_assets.adapters.lake.raw import RawLake, RawTable
from backfill_assets.core.certificates import CertificateLedger
from backfill_assets.core.chunks import AdaptiveChunks, ChunkTarget
from backfill_assets.core.dead_letters import DeadLetterLedger
from backfill_assets.core.retries import Random, RetryPolicy
from backfill_assets.core.source import RecordSource, TableSpec
from backfill_assets.core.windows import Chunk, Clock, Window
from backfill_assets.errors import (
    BackfillError,
    CircuitOpen,
    ConditionIgnored,
    CredentialRefused,
    NoSuchTable,
    PermanentError,
    RateLimited,
    TransientError,
    UnexpectedResponse,
)
from backfill_assets.tenant_history.committing import TableCommits
from backfill_assets.tenant_history.reading import TableReader, TooLarge, is_past

HOPELESS = (CredentialRefused, NoSuchTable, RateLimited)
"""What every other request of the table would meet as well, however long one waits."""

MAY_FOLLOW_A_RECORD = (TransientError, UnexpectedResponse)
"""What a source may answer whenever one record that it cannot send is asked for."""

CHUNK_TRIES = RetryPolicy(tries=4, base=2.0, cap=60.0)
"""One try and three more, for a source that is away; each request of a try has tries of its own."""

Sleep = Callable[[float], None]


@dataclass(frozen=True, kw_only=True)
class WindowDone:
    """A window whose records are in the lake.

    `rows` were read and stored now, `rows_rejected` went to the dead letters, `source_rows` is what the source says
    it holds; `complete` means that all of these are in the lake and that no more can come.
    """

    window: Window
    rows: int
    rows_rejected: int
    bytes: int
    seconds: float
    source_rows: int
    complete: bool
    chunk_days: int


@dataclass(frozen=True, kw_only=True)
class WindowFailed:
    """A window that could not be finished, and why."""

    window: Window
    reason: str


Outcome = WindowDone | WindowFailed


class _CutSmaller(Exception):
    """The chunk is to be cut: it holds too much, or something in it cannot be read."""


@dataclass(frozen=True, kw_only=True)
class TableBackfill:
    """Fills one tenant's table; `job_id` names the backfill in the rows, `run_id` the run in the dead letters."""

    tenant: str
    service: str
    table: TableSpec
    source: RecordSource
    lake: RawLake
    dead_letters: DeadLetterLedger
    certificates: CertificateLedger
    job_id: str
    run_id: str
    clock: Clock
    sleep: Sleep = time.sleep
    random: Random = field(default=random.random)

    def fill(
        self, windows: Iterable[Window], target: ChunkTarget, *, before_chunk: Callable[[], None] = lambda: None
    ) -> Iterator[Outcome]:
        """Read and commit the windows in chunks, and tell of each window as soon as its chunk is committed.

        A chunk in which something cannot be read is cut in halves down to single windows, so that one bad window costs
        no other; a window is read around the records that cannot be sent. What would meet every other chunk as well
        ends it at once: what is left is told as failed, for the same reason. What `before_chunk` raises ends it between
        two chunks: what is left is not told of.
        """
        chunks = AdaptiveChunks(windows, target)
        while (chunk := chunks.take()) is not None:
            before_chunk()
            try:
                began = perf_counter()
                done = self._fill_with_tries(chunk, target)
                chunks.finished(chunk, rows=sum(w.rows for w in done), seconds=perf_counter() - began)
                # Else what a chunk took would stay with the process, and a long run would seem to grow.
                pa.default_memory_pool().release_unused()
                yield from done
            except _CutSmaller:
                chunks.give_back(chunk)
            except (TransientError, PermanentError) as error:
                yield from _all_failed(chunk.windows, error)
                if isinstance(error, HOPELESS) or (isinstance(error, TransientError) and not self._source_works()):
                    yield from _all_failed(chunks.left, error)
                    return

    def _fill_with_tries(self, chunk: Chunk, target: ChunkTarget) -> list[WindowDone]:
        failures, went_around = 0, False
        while True:
            try:
                return self._fill_chunk(chunk, target)
            except TooLarge:
                raise _CutSmaller from None
            except HOPELESS:
                raise
            except (TransientError, PermanentError) as error:
                failures += 1
                if self._is_worth_going_around(chunk, error) and not went_around:
                    went_around = True
                    if done := self._fill_around(chunk, target):
                        return done
                if isinstance(error, PermanentError) or not CHUNK_TRIES.may_try_again(failures):
                    raise
                self.sleep(self._pause(failures, error))

    def _is_worth_going_around(self, chunk: Chunk, error: BackfillError) -> bool:
        """Whether a record that cannot be sent may be the cause, which needs a source that is well otherwise.

        Raises `_CutSmaller` where a smaller chunk tells more.
        """
        if isinstance(error, TransientError) and not self._source_works():
            return False
        if len(chunk.windows) > 1:
            raise _CutSmaller from error
        return isinstance(error, MAY_FOLLOW_A_RECORD) and not isinstance(error, ConditionIgnored)

    def _fill_around(self, chunk: Chunk, target: ChunkTarget) -> list[WindowDone]:
        try:
            return self._fill_chunk(chunk, target, around=True)
        except HOPELESS:
            raise
        except (TransientError, PermanentError):
            # The breaker counts failures in a row, and hears here that the source is well: one bad window must not
            # keep all that ask this source waiting.
            self._source_works()
            return []

    def _pause(self, failures: int, error: BackfillError) -> float:
        pause = CHUNK_TRIES.delay(failures, self.random)
        return max(pause, error.retry_in) if isinstance(error, CircuitOpen) else pause

    def _source_works(self) -> bool:
        """Whether the source is well but for what failed."""
        try:
            self.source.check()
        except BackfillError:
            return False
        return True

    def _fill_chunk(self, chunk: Chunk, target: ChunkTarget, *, around: bool = False) -> list[WindowDone]:
        began, now = perf_counter(), self.clock()
        read = self.reader(target).read(chunk, now, around=around)
        sizes = self.commits.commit(chunk, read, now)
        seconds = (perf_counter() - began) / len(chunk.windows)
        bad = Counter(refused.window for refused in read.refused)
        return [
            WindowDone(
                window=window,
                rows=read.fetched[window] - bad[window],
                rows_rejected=bad[window],
                bytes=sizes[window],
                seconds=seconds,
                source_rows=read.held[window],
                complete=is_past(window, now) and not bad[window],
                chunk_days=chunk.days,
            )
            for window in chunk.windows
        ]

    @property
    def raw(self) -> RawTable:
        """Where the rows lie in the lake."""
        return self.commits.raw

    @property
    def commits(self) -> TableCommits:
        """What keeps the records of this table."""
        return TableCommits(
            tenant=self.tenant,
            service=self.service,
            table=self.table,
            lake=self.lake,
            dead_letters=self.dead_letters,
            certificates=self.certificates,
            job_id=self.job_id,
            run_id=self.run_id,
            clock=self.clock,
        )

    def reader(self, target: ChunkTarget) -> TableReader:
        """What reads this table."""
        return TableReader(
            tenant=self.tenant, service=self.service, table=self.table, source=self.source, most_rows=target.rows
        )


def _all_failed(windows: Iterable[Window], error: BackfillError) -> Iterator[WindowFailed]:
    return (WindowFailed(window=window, reason=str(error)) for window in windows)
