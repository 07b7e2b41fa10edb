"""The queue in memory, for tests and for trying out.

Here belongs the twin of `SqlQueue`, without processes: what it holds is gone with it.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from threading import Lock

from backfill_assets.adapters.queue.rows import (
    EXHAUSTED,
    MOST_PENDING,
    no_pipeline,
    no_route,
    no_source,
    require,
    require_cancellable,
    require_deletable,
    require_resumable,
    shortened,
)
from backfill_assets.core.jobs import (
    ACTIVE,
    MOST_RESUMPTIONS,
    Claimant,
    Job,
    JobStatus,
    Options,
    Route,
    SourceServer,
    Standing,
    Taken,
)
from backfill_assets.core.windows import Clock, utc_now
from backfill_assets.errors import UsageError

ROUND = 0.01


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """A pipeline: what it reads, and by table how it brings each to its destinations."""

    name: str
    source: SourceServer | None
    destinations: int = 0
    routes: Mapping[str, Sequence[Route]] = field(default_factory=dict)


class MemoryQueue:
    """A `JobQueue` of one process."""

    def __init__(self, pipelines: Mapping[int, Pipeline], *, clock: Clock = utc_now) -> None:
        self._pipelines = dict(pipelines)
        self._clock = clock
        self._jobs: dict[int, Job] = {}
        self._claims: dict[int, Claimant] = {}
        self._deaths: dict[int, int] = {}
        self._options: dict[int, Options] = {}
        self._places: dict[str, Lock] = {}
        self._last = 0

    def close(self) -> None:
        """See `JobQueue.close`."""

    def check(self) -> None:
        """See `JobQueue.check`."""

    def put(self, job: Job, options: Options | None = None) -> None:
        """Keep a row as another program would write it."""
        self._jobs[job.id] = job
        self._last = max(self._last, job.id)
        if options is not None:
            self._options[job.id] = options

    def pending(self) -> Sequence[Job]:
        """See `JobQueue.pending`."""
        return self._in(JobStatus.PENDING)[:MOST_PENDING]

    def executing(self) -> Sequence[Taken]:
        """See `JobQueue.executing`."""
        return [Taken(job=job, by=self._claims.get(job.id)) for job in self._in(JobStatus.EXECUTING)]

    def find(self, job_id: int) -> Job | None:
        """See `JobQueue.find`."""
        return self._jobs.get(job_id)

    def claimed_by(self, job_id: int) -> Claimant | None:
        """See `JobQueue.claimed_by`."""
        return self._claims.get(job_id)

    def claim(self, job_id: int, by: Claimant, *, also: Sequence[JobStatus] = ()) -> Job | None:
        """See `JobQueue.claim`."""
        job = self._jobs.get(job_id)
        if job is None or job.status not in (JobStatus.PENDING, *also):
            return None
        if job.status in also:
            self._deaths[job_id] = 0
        self._claims[job_id] = by
        return self._set(job_id, status=JobStatus.EXECUTING, is_error=False, error_message=None)

    def advance(self, job_id: int, by: Claimant, *, rows: int, total: int | None = None) -> Standing:
        """See `JobQueue.advance`."""
        counted = {} if total is None else {"total_record": total}
        return self._mine(job_id, by, count_record=rows, **counted)

    def complete(self, job_id: int, by: Claimant, *, rows: int) -> Standing:
        """See `JobQueue.complete`."""
        return self._mine(job_id, by, status=JobStatus.COMPLETED, count_record=rows, is_error=False, error_message=None)

    def fail(self, job_id: int, by: Claimant, reason: str) -> Standing:
        """See `JobQueue.fail`."""
        return self._mine(job_id, by, status=JobStatus.FAILED, is_error=True, error_message=shortened(reason))

    def stop(self, job_id: int, by: Claimant) -> bool:
        """See `JobQueue.stop`."""
        return self._mine(job_id, by, status=JobStatus.CANCELLED) is Standing.GOES_ON

    def release(self, job_id: int, by: Claimant, reason: str) -> Job | None:
        """See `JobQueue.release`."""
        job = self._jobs.get(job_id)
        if job is None or job.status not in ACTIVE:
            return None
        if job.status == JobStatus.EXECUTING and self._claims.get(job_id) != by:
            return None
        self._claims[job_id] = by
        self._deaths[job_id] = self._deaths.get(job_id, 0) + 1
        if self._deaths[job_id] > MOST_RESUMPTIONS:
            told = shortened(EXHAUSTED.format(reason=reason))
            return self._set(job_id, status=JobStatus.FAILED, is_error=True, error_message=told)
        return self._set(job_id, status=JobStatus.PENDING, resume_attempts=job.resume_attempts + 1)

    def active_like(self, job: Job) -> Job | None:
        """See `JobQueue.active_like`."""
        older = (other for other in self._jobs.values() if other.id < job.id and other.status in ACTIVE)
        return next((other for other in older if other.is_same_as(job)), None)

    def source(self, job: Job) -> SourceServer:
        """See `JobQueue.source`."""
        pipeline = self._pipelines.get(job.pipeline_id or 0)
        if pipeline is None:
            raise no_pipeline(job.pipeline_id)
        if pipeline.source is None:
            raise no_source(pipeline.name)
        return pipeline.source

    def routes(self, job: Job) -> Sequence[Route]:
        """See `JobQueue.routes`."""
        pipeline = self._pipelines.get(job.pipeline_id or 0)
        if pipeline is None:
            raise no_pipeline(job.pipeline_id)
        if not (found := pipeline.routes.get(job.table_name)):
            raise no_route(job.table_name, pipeline.name, destinations=pipeline.destinations)
        return found

    def pipeline_source(self, pipeline_id: int) -> SourceServer:
        """See `JobQueue.pipeline_source`."""
        self._require(pipeline_id)
        return self.source(Job(id=0, pipeline_id=pipeline_id, source_id=None, table_name=""))

    def tables_of(self, pipeline_id: int) -> Sequence[str]:
        """See `JobQueue.tables_of`."""
        return sorted(self._require(pipeline_id).routes)

    def options(self, job_id: int) -> Options:
        """See `JobQueue.options`."""
        return self._options.get(job_id, Options())

    def add(self, *, pipeline_id: int, table_name: str, filter_sql: str | None, options: Options) -> Job:
        """See `JobQueue.add`."""
        source = self._require(pipeline_id).source
        now = self._clock()
        job = Job(
            id=self._last + 1,
            pipeline_id=pipeline_id,
            source_id=source.id if source else None,
            table_name=table_name,
            filter_sql=filter_sql,
            created_at=now,
            updated_at=now,
        )
        self.put(job, options)
        return job

    def jobs(self, *, pipeline_id: int | None = None, status: JobStatus | None = None) -> Sequence[Job]:
        """See `JobQueue.jobs`."""
        if pipeline_id is not None:
            self._require(pipeline_id)
        found = sorted(self._jobs.values(), key=lambda job: job.id, reverse=True)
        return [
            job for job in found if pipeline_id in (None, job.pipeline_id) and (status is None or job.status == status)
        ]

    def cancel(self, job_id: int) -> Job:
        """See `JobQueue.cancel`."""
        require_cancellable(require(self.find(job_id), job_id))
        return self._set(job_id, status=JobStatus.CANCELLED)

    def requeue(self, job_id: int) -> Job:
        """See `JobQueue.requeue`."""
        require_resumable(require(self.find(job_id), job_id))
        self._deaths[job_id] = 0
        return self._set(job_id, status=JobStatus.PENDING, is_error=False, error_message=None)

    def delete(self, job_id: int) -> Job:
        """See `JobQueue.delete`."""
        job = require(self.find(job_id), job_id)
        require_deletable(job)
        for kept in (self._jobs, self._claims, self._deaths, self._options):
            kept.pop(job_id, None)
        return job

    @contextmanager
    def hold(self, places: Sequence[str], *, keep_waiting: Callable[[], bool]) -> Iterator[bool]:
        """See `JobQueue.hold`."""
        held: list[Lock] = []
        try:
            yield all(self._take(place, keep_waiting, held) for place in sorted(set(places)))
        finally:
            for lock in held:
                lock.release()

    def _take(self, place: str, keep_waiting: Callable[[], bool], held: list[Lock]) -> bool:
        lock = self._places.setdefault(place, Lock())
        while not lock.acquire(blocking=False):
            if not keep_waiting():
                return False
            time.sleep(ROUND)
        held.append(lock)
        return True

    def _require(self, pipeline_id: int) -> Pipeline:
        if pipeline_id not in self._pipelines:
            raise UsageError(str(no_pipeline(pipeline_id)))
        return self._pipelines[pipeline_id]

    def _in(self, status: JobStatus) -> list[Job]:
        return sorted((job for job in self._jobs.values() if job.status == status), key=lambda job: job.id)

    def _mine(self, job_id: int, by: Claimant, **values: object) -> Standing:
        job = self._jobs.get(job_id)
        if job is None:
            return Standing.DELETED
        is_ours = self._claims.get(job_id) == by
        if job.status == JobStatus.CANCELLED and is_ours and "count_record" in values:
            # What was written before the run heard of it counts.
            self._set(job_id, count_record=values["count_record"])
        if job.status == JobStatus.CANCELLED:
            return Standing.CANCELLED
        if job.status != JobStatus.EXECUTING or not is_ours:
            return Standing.TAKEN
        self._set(job_id, **values)
        return Standing.GOES_ON

    def _set(self, job_id: int, **values: object) -> Job:
        now: datetime = self._clock()
        job = replace(self._jobs[job_id], updated_at=now, **values)  # type: ignore[arg-type]
        self._jobs[job_id] = job
        return job
