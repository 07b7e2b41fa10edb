"""Jobs of table backfill: rows of a queue that other programs write and read as well.

Here belong the values and the interface. The queue in a database, and its twin in memory, belong to `adapters/queue`;
what a job does belongs to the domain `table_backfill`.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from backfill_assets.core.tables import OnConflict

MOST_RESUMPTIONS = 3
"""How often a job whose run died is taken up again."""


class JobStatus(StrEnum):
    """How a job stands, in the words of the queue."""

    PENDING = "PENDING"
    EXECUTING = "EXECUTING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


ACTIVE = (JobStatus.PENDING, JobStatus.EXECUTING)
RESUMABLE = (JobStatus.FAILED, JobStatus.CANCELLED)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A row of the queue; a status that is none of ours is kept as text and left alone."""

    id: int
    pipeline_id: int | None
    source_id: int | None
    table_name: str
    filter_sql: str | None = None
    status: JobStatus | str = JobStatus.PENDING
    count_record: int = 0
    total_record: int = 0
    is_error: bool = False
    error_message: str | None = None
    resume_attempts: int = 0
    created_at: datetime | None = None
    updated_at: datetime | None = None

    def is_same_as(self, other: "Job") -> bool:
        """Whether both ask for the same rows of the same pipeline."""
        mine, theirs = ((job.pipeline_id, job.table_name, (job.filter_sql or "").strip()) for job in (self, other))
        return mine == theirs


@dataclass(frozen=True, kw_only=True)
class Claimant:
    """A run that works on a job: its id, and the installation of Dagster that knows it."""

    engine: str
    run_id: str


@dataclass(frozen=True, kw_only=True)
class Taken:
    """A job that is EXECUTING, and the run that claimed it; none where another program set the status."""

    job: Job
    by: Claimant | None


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is kept beside the row, since the queue's table is not ours to change."""

    on_conflict: OnConflict = OnConflict.OVERWRITE
    version_column: str | None = None
    create_table: bool = False


@dataclass(frozen=True, kw_only=True)
class SourceServer:
    """The PostgreSQL database that a pipeline reads."""

    id: int
    name: str
    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Route:
    """How a pipeline brings one table to one of its destinations.

    `id` is that of the destination, `kind` POSTGRES, SNOWFLAKE or PARQUET, `config` what the platform holds of it with
    its password in plain text; `table` is the table's name there.
    """

    id: int
    name: str
    kind: str
    config: Mapping[str, Any] = field(repr=False)
    table: str
    filter_sql: str | None = None
    custom_sql: str | None = None

    @property
    def place(self) -> str:
        """What two jobs that write the same table have in common."""
        return f"{self.id}:{self.table}"


class Standing(StrEnum):
    """What the queue says of a job while its run goes on."""

    GOES_ON = "goes on"
    CANCELLED = "cancelled"
    DELETED = "deleted"
    TAKEN = "taken by another run"


class JobQueue(Protocol):
    """The queue; every method raises `TransientError` where trying again may help.

    What a claimant writes counts only while the job is EXECUTING and his.
    """

    def pending(self) -> Sequence[Job]:
        """The jobs that wait, oldest first; only so many of them."""
        ...

    def executing(self) -> Sequence[Taken]:
        """The jobs that are under way, oldest first."""
        ...

    def find(self, job_id: int) -> Job | None:
        """The job with this id."""
        ...

    def claim(self, job_id: int, by: Claimant, *, also: Sequence[JobStatus] = ()) -> Job | None:
        """Make a waiting job EXECUTING; return it, or None where it does not wait, nor is in one of `also`.

        One in `also` begins anew to count how often its run died.
        """
        ...

    def claimed_by(self, job_id: int) -> Claimant | None:
        """The run that claimed the job last."""
        ...

    def advance(self, job_id: int, by: Claimant, *, rows: int, total: int | None = None) -> Standing:
        """Show how many rows are written, of how many; return whether to go on."""
        ...

    def complete(self, job_id: int, by: Claimant, *, rows: int) -> Standing:
        """Make the job COMPLETED; `GOES_ON` where it is."""
        ...

    def fail(self, job_id: int, by: Claimant, reason: str) -> Standing:
        """Make the job FAILED with this reason; `GOES_ON` where it is."""
        ...

    def release(self, job_id: int, by: Claimant, reason: str) -> Job | None:
        """Let a job whose run has died wait again, or FAIL when that was so too often.

        None where the run does not have it, or where it neither waits nor is under way.
        """
        ...

    def stop(self, job_id: int, by: Claimant) -> bool:
        """Make the job CANCELLED that this run has; whether it is."""
        ...

    def active_like(self, job: Job) -> Job | None:
        """An older job that is active and asks for the same."""
        ...

    def source(self, job: Job) -> SourceServer:
        """What to read; raises `PermanentError` where the pipeline or its source is not there."""
        ...

    def routes(self, job: Job) -> Sequence[Route]:
        """Where to write; raises `PermanentError` where no destination of the pipeline takes this table."""
        ...

    def options(self, job_id: int) -> Options:
        """What is kept beside the row, or the defaults."""
        ...

    def add(self, *, pipeline_id: int, table_name: str, filter_sql: str | None, options: Options) -> Job:
        """Add a waiting job; raises `UsageError` for an unknown pipeline."""
        ...

    def jobs(self, *, pipeline_id: int | None = None, status: JobStatus | None = None) -> Sequence[Job]:
        """Jobs, newest first; of a pipeline, in a status."""
        ...

    def cancel(self, job_id: int) -> Job:
        """Make an active job CANCELLED; raises `UsageError` for any other."""
        ...

    def requeue(self, job_id: int) -> Job:
        """Let a FAILED or CANCELLED job wait again; raises `UsageError` for any other."""
        ...

    def delete(self, job_id: int) -> Job:
        """Remove a job; raises `UsageError` while it is under way."""
        ...

    def pipeline_source(self, pipeline_id: int) -> SourceServer:
        """What a pipeline reads; raises `UsageError` for an unknown one."""
        ...

    def tables_of(self, pipeline_id: int) -> Sequence[str]:
        """The tables that at least one destination of the pipeline takes."""
        ...

    def hold(self, places: Sequence[str], *, keep_waiting: Callable[[], bool]) -> AbstractContextManager[bool]:
        """Be the only one who writes these places; false where `keep_waiting` said no before they were free."""
        ...

    def check(self) -> None:
        """Ask for nothing; raises what an answer would have met."""
        ...

    def close(self) -> None:
        """Give the connections back."""
        ...
