"""Rows of the queue as the values of `core.jobs`, and the sentences about those that are refused.

Here belongs what the queue in a database and its twin in memory say alike.
"""

from collections.abc import Mapping
from typing import Any

from backfill_assets.core.jobs import ACTIVE, RESUMABLE, Job, JobStatus
from backfill_assets.errors import PermanentError, UsageError

LONGEST_MESSAGE = 500
"""Characters of a reason that the platform shows."""
MOST_PENDING = 1000
"""How many jobs that wait are looked at."""

EXHAUSTED = "Maximum resume attempts exceeded: {reason}"


def job_from(row: Mapping[str, Any], *, deaths: int | None = None) -> Job:
    """A row; columns that the installation does not have are as the defaults, but for what we know ourselves."""
    status = row["status"]
    known = status if status not in JobStatus.__members__ else JobStatus(status)
    given = {name: row[name] for name in _COLUMNS if row.get(name) is not None}
    given.setdefault("resume_attempts", deaths or 0)
    return Job(**{"pipeline_id": None, "source_id": None, **given, "status": known})


_COLUMNS = (
    "id",
    "pipeline_id",
    "source_id",
    "table_name",
    "filter_sql",
    "count_record",
    "total_record",
    "is_error",
    "error_message",
    "resume_attempts",
    "created_at",
    "updated_at",
)


def require(job: Job | None, job_id: int) -> Job:
    """The job, or the sentence that there is none."""
    if job is None:
        raise UsageError(f"QueueBackfillData with id '{job_id}' not found; `backfill jobs` lists those that there are")
    return job


def require_cancellable(job: Job) -> None:
    """Raise for a job that has ended."""
    if job.status not in ACTIVE:
        raise UsageError(f"Cannot cancel job with status {job.status}")


def require_resumable(job: Job) -> None:
    """Raise for a job that has not stopped."""
    if job.status not in RESUMABLE:
        raise UsageError(f"Cannot resume job with status {job.status}; only FAILED and CANCELLED jobs go on")


def require_deletable(job: Job) -> None:
    """Raise for a job that is under way."""
    if job.status == JobStatus.EXECUTING:
        raise UsageError("Cannot delete job that is currently executing. Cancel it first.")


def no_pipeline(pipeline_id: int | None) -> PermanentError:
    """No such pipeline, in the platform's words."""
    return PermanentError(f"Pipeline with id '{pipeline_id}' not found")


def no_source(pipeline: str) -> PermanentError:
    """A pipeline whose source is gone."""
    return PermanentError(f"Source of pipeline '{pipeline}' not found; give the pipeline a source")


def no_route(table: str, pipeline: str, *, destinations: int) -> PermanentError:
    """Nothing to write to."""
    if not destinations:
        return PermanentError(f"Pipeline '{pipeline}' has no destination; add one, then run the job again")
    return PermanentError(
        f"Table '{table}' is synchronised to no destination of pipeline '{pipeline}'; add it there, then run the job "
        "again"
    )


def shortened(reason: str) -> str:
    """As much of a reason as fits."""
    # NUL ends a text in PostgreSQL, so no message may hold one.
    plain = reason.replace("\x00", "?")
    return plain if len(plain) <= LONGEST_MESSAGE else f"{plain[: LONGEST_MESSAGE - 3]}..."
