"""The use case: bring the rows that a job asks for to every destination of its pipeline.

Here belongs what is done, in which order, and what the queue is told of it. It knows neither Dagster nor SQL: the queue
comes in through `core.jobs`, tables through `core.tables`.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass
from functools import partial
from time import monotonic

from backfill_assets.core.jobs import Claimant, Job, JobQueue, JobStatus, Options, Route, SourceServer, Standing
from backfill_assets.core.tables import Load, TableDestination, TableSource
from backfill_assets.errors import BackfillError, PermanentError
from backfill_assets.table_backfill.copying import Copy, Log
from backfill_assets.table_backfill.filters import read_filter

SECONDS_BETWEEN_LINES = 5.0
END = object()

OpenSource = Callable[[SourceServer], AbstractContextManager[TableSource]]
OpenDestination = Callable[[Route], AbstractContextManager[TableDestination]]


@dataclass(frozen=True, kw_only=True)
class JobDone:
    """A job that is COMPLETED: rows at each destination, and rows that the source held for it."""

    job: Job
    rows: int
    source_rows: int
    seconds: float
    destinations: int


@dataclass(frozen=True, kw_only=True)
class JobFailed:
    """A job that is FAILED, and why."""

    job: Job
    reason: str


@dataclass(frozen=True, kw_only=True)
class JobLeft:
    """A job that was not carried to its end because the queue says otherwise."""

    job_id: int
    standing: Standing


@dataclass(frozen=True, kw_only=True)
class JobUnclaimed:
    """A job that could not be claimed: it is gone, or in another status."""

    job_id: int
    job: Job | None


Outcome = JobDone | JobFailed | JobLeft | JobUnclaimed


class _Left(Exception):
    """The queue says that the job is not to go on."""

    def __init__(self, standing: Standing) -> None:
        super().__init__(standing)
        self.standing = standing


@dataclass(frozen=True, kw_only=True)
class TableBackfill:
    """Carries out jobs as this claimant; `is_stopping` says that somebody ends its run, which cancels the job."""

    queue: JobQueue
    by: Claimant
    open_source: OpenSource
    open_destination: OpenDestination
    batch_size: int
    log: Log
    is_stopping: Callable[[], bool] = lambda: False
    clock: Callable[[], float] = monotonic
    sleep: Callable[[float], None] = time.sleep

    def run(self, job_id: int, *, also: Sequence[JobStatus] = ()) -> Outcome:
        """Claim the job, which waits or is in one of `also`, and bring it to an end."""
        job = self.queue.claim(job_id, self.by, also=also)
        if job is None:
            return JobUnclaimed(job_id=job_id, job=self.queue.find(job_id))
        self.log(f"job {job.id}: claimed, table {job.table_name} of pipeline {job.pipeline_id}")
        try:
            return self._carry_out(job)
        except _Left as left:
            self.log(f"job {job.id}: {left.standing}; stopped after the last commit")
            return JobLeft(job_id=job.id, standing=left.standing)
        except BackfillError as error:
            return self._failed(job, str(error))
        except Exception as error:
            # The row must not say that a run works on it which has ended; the run says the rest.
            self._failed(job, f"unexpected {type(error).__name__}; the log of run {self.by.run_id} says where")
            raise

    def _carry_out(self, job: Job) -> Outcome:
        if other := self.queue.active_like(job):
            raise PermanentError(f"An active backfill job already exists for table '{job.table_name}' (job {other.id})")
        server, routes, options = self.queue.source(job), self.queue.routes(job), self.queue.options(job.id)
        places = [route.place for route in routes]
        with self.queue.hold(places, keep_waiting=lambda: self._standing(job) is Standing.GOES_ON) as is_ours:
            if not is_ours:
                raise _Left(self._standing(job))
            return self._copy(job, self._copies(job, server, routes, options))

    def _standing(self, job: Job) -> Standing:
        return self.queue.advance(job.id, self.by, rows=job.count_record)

    def _copies(self, job: Job, server: SourceServer, routes: Sequence[Route], options: Options) -> Sequence[Copy]:
        with self.open_source(server) as source:
            shape = source.shape(job.table_name)
        if shape is None:
            raise PermanentError(f"Table '{job.table_name}' does not exist in source")
        asked = read_filter(job.filter_sql, shape)
        return [
            Copy(
                route=route,
                load=Load(
                    job=job_key(job, route),
                    shape=shape,
                    target=route.table,
                    filter=asked,
                    on_conflict=options.on_conflict,
                    version_column=options.version_column,
                    create_table=options.create_table,
                    batch_rows=self.batch_size,
                ),
                open_source=partial(self.open_source, server),
                open_destination=partial(self.open_destination, route),
                log=self.log,
                sleep=self.sleep,
            )
            for route in routes
        ]

    def _copy(self, job: Job, copies: Sequence[Copy]) -> Outcome:
        began = told = self.clock()
        try:
            for copy in copies:
                copy.prepare()
            self._report(job, copies)
            with ExitStack() as stack:
                # Closed whatever happens: what is under way in them is given up.
                advancing = [stack.enter_context(closing(copy.advance())) for copy in copies]
                while _any_advances(advancing):
                    is_time = self.clock() - told >= SECONDS_BETWEEN_LINES
                    told = self.clock() if is_time else told
                    self._report(job, copies, is_told=is_time)
        except _Left as left:
            if left.standing is Standing.DELETED:
                for copy in copies:
                    copy.forget()
            raise
        return self._ended(job, copies, self.clock() - began)

    def _report(self, job: Job, copies: Sequence[Copy], *, is_told: bool = True) -> None:
        rows, total = _progress(copies)
        standing = self.queue.advance(job.id, self.by, rows=rows, total=total)
        if standing is not Standing.GOES_ON:
            raise _Left(standing)
        # Asked for, since an interrupt that falls into a library's own code can be lost there.
        if self.is_stopping() and self.queue.stop(job.id, self.by):
            raise _Left(Standing.CANCELLED)
        if is_told:
            percent = f" ({min(100, 100 * rows // total)} %)" if total else ""
            self.log(f"job {job.id}: {rows} of {total} rows{percent}")

    def _ended(self, job: Job, copies: Sequence[Copy], seconds: float) -> Outcome:
        if problems := [f"Destination {copy.route.name}: {copy.problem}" for copy in copies if copy.problem]:
            self._report(job, copies)
            return self._failed(job, "; ".join(problems))
        rows = max(copy.rows for copy in copies)
        standing = self.queue.complete(job.id, self.by, rows=rows)
        if standing is not Standing.GOES_ON:
            raise _Left(standing)
        for copy in copies:
            # Nobody goes on from there: whoever lets the job wait again wants all of its rows.
            copy.forget()
        self.log(f"job {job.id}: COMPLETED, {rows} rows at {len(copies)} destinations in {seconds:.1f} s")
        return JobDone(
            job=job,
            rows=rows,
            source_rows=max(copy.verdict.source_rows if copy.verdict else copy.total for copy in copies),
            seconds=seconds,
            destinations=len(copies),
        )

    def _failed(self, job: Job, reason: str) -> Outcome:
        standing = self.queue.fail(job.id, self.by, reason)
        if standing is not Standing.GOES_ON:
            return JobLeft(job_id=job.id, standing=standing)
        self.log(f"job {job.id}: FAILED, {reason}")
        return JobFailed(job=job, reason=reason)


def job_key(job: Job, route: Route) -> str:
    """The job's name at a destination: another one where it asks for something else than before.

    An id alone would not do: two queues may write to one destination, and a queue may be made anew.
    """
    created = job.created_at.isoformat() if job.created_at else ""
    asked = (job.source_id, created, job.table_name, job.filter_sql, route.id, route.table, route.filter_sql)
    return f"{job.id}-{hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]}"


def _any_advances(advancing: Sequence[Iterator[None]]) -> bool:
    """Let each copy write one batch; whether one did. All are asked, whatever the first one says."""
    written = [next(one, END) is not END for one in advancing]
    return any(written)


def _progress(copies: Sequence[Copy]) -> tuple[int, int]:
    """Rows of how many: what the copy that lacks most has not written yet is what is left."""
    going = [copy for copy in copies if not copy.problem] or copies
    total = max(copy.total for copy in going)
    return max(0, total - max(copy.total - copy.rows for copy in going)), total
