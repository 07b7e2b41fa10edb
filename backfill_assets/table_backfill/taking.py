"""Which jobs get a run now, and what becomes of those whose run has ended without them.

Here belongs the decision; it knows neither Dagster nor SQL. It may be killed between any two of its steps, and made
again by another process: a job is changed only by the run that has it, or for a run that has ended, and a run is asked
for under a key that no other has.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from backfill_assets.core.jobs import Claimant, Job, JobQueue, JobStatus
from backfill_assets.errors import PermanentError

MOST_AT_ONCE = 25
"""Runs asked for in one look; more wait in the queue that is theirs."""


@dataclass(frozen=True, kw_only=True)
class JobRun:
    """A run of a job; `key` is the one under which it was asked for, by the sensor."""

    run_id: str
    key: str | None
    has_ended: bool
    was_cancelled: bool
    has_succeeded: bool
    by_sensor: bool


class JobRuns(Protocol):
    """The runs that this installation of Dagster knows."""

    @property
    def engine(self) -> str:
        """The installation's name for itself."""
        ...

    def find(self, run_id: str) -> JobRun | None:
        """The run with this id; None where it was deleted."""
        ...

    def of_jobs(self, job_ids: Sequence[int]) -> Mapping[int, Sequence[JobRun]]:
        """The runs of these jobs, newest first."""
        ...


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A run that is to be started, and the key that keeps it from being started twice."""

    job: Job
    key: str


@dataclass(frozen=True, kw_only=True)
class Taking:
    """One look at the queue; `told` are sentences about what was changed."""

    queue: JobQueue
    runs: JobRuns
    told: list[str] = field(default_factory=list)

    def look(self) -> Sequence[Wanted]:
        """Settle the jobs whose run has ended, and choose the jobs to run."""
        self._settle()
        return list(self._chosen())[:MOST_AT_ONCE]

    def _settle(self) -> None:
        for taken in self.queue.executing():
            # What another installation has, or another program, is its own business.
            if taken.by is not None and taken.by.engine == self.runs.engine:
                self._settle_one(taken.job, taken.by)

    def _settle_one(self, job: Job, by: Claimant) -> None:
        run = self.runs.find(by.run_id)
        if run is not None and not run.has_ended:
            return
        if run is not None and run.was_cancelled:
            if self.queue.stop(job.id, by):
                self.told.append(f"job {job.id}: its run was terminated, so it is CANCELLED")
            return
        self._release(job, by, f"run {by.run_id} {'died' if run else 'was deleted'}")

    def _release(self, job: Job, by: Claimant, reason: str) -> Job | None:
        released = self.queue.release(job.id, by, reason)
        if released is not None:
            self.told.append(f"job {job.id}: {reason}, so it is {released.status}")
        return released if released is not None and released.status == JobStatus.PENDING else None

    def _chosen(self) -> Iterator[Wanted]:
        places = _Places(queue=self.queue)
        active = [taken.job for taken in self.queue.executing()]
        for job in active:
            places.occupy(job)
        waiting = self.queue.pending()
        runs = self.runs.of_jobs([job.id for job in waiting])
        for job in waiting:
            of_job = runs.get(job.id, ())
            is_duplicate = any(other.is_same_as(job) for other in active)
            active.append(job)
            if any(not run.has_ended for run in of_job):
                places.occupy(job)
            # A duplicate writes nothing: its run only says so, and need not wait until it is none any more.
            elif is_duplicate or places.are_free(job):
                places.occupy(job)
                if (wanted := self._wanted(job, of_job)) is not None:
                    yield wanted

    def _wanted(self, job: Job, of_job: Sequence[JobRun]) -> Wanted | None:
        if of_job and self._died_unclaimed(job, of_job[0]):
            by = Claimant(engine=self.runs.engine, run_id=of_job[0].run_id)
            released = self._release(job, by, f"run {by.run_id} ended before it began with it")
            if released is None:
                return None
            job = released
        key = f"{job.id}:{job.resume_attempts}"
        if any(run.key == key for run in of_job):
            # Somebody let the job wait again by writing to the queue.
            key = f"{key}:{len(of_job)}"
        return Wanted(job=job, key=key)

    def _died_unclaimed(self, job: Job, newest: JobRun) -> bool:
        if newest.has_succeeded or not newest.by_sensor:
            return False
        holder = self.queue.claimed_by(job.id)
        return holder is None or holder.run_id != newest.run_id


@dataclass(frozen=True, kw_only=True)
class _Places:
    """The destination tables that are being written; of each, one job at a time gets a run, so that no slot waits."""

    queue: JobQueue
    _occupied: set[str] = field(default_factory=set)
    _known: dict[tuple[int | None, str], frozenset[str]] = field(default_factory=dict)

    def occupy(self, job: Job) -> None:
        self._occupied.update(self._of(job))

    def are_free(self, job: Job) -> bool:
        return self._occupied.isdisjoint(self._of(job))

    def _of(self, job: Job) -> frozenset[str]:
        asked = (job.pipeline_id, job.table_name)
        if asked not in self._known:
            try:
                self._known[asked] = frozenset(route.place for route in self.queue.routes(job))
            except PermanentError:
                # It cannot be carried out; its run says why.
                self._known[asked] = frozenset()
        return self._known[asked]
