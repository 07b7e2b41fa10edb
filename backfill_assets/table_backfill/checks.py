"""The asset check of table backfill: whether every job that has ended brought its rows.

Here belongs what Dagster is told. One check for all: a check of a partition would not be shown by partition.
"""

from collections.abc import Sequence

import dagster as dg

from backfill_assets.core.jobs import Job, JobQueue, JobStatus
from backfill_assets.table_backfill.partitions import KEY

COMPLETE = "complete"
SHOWN = 10

CHECK = dg.AssetCheckSpec(
    COMPLETE, asset=KEY, description="No job of the queue has failed: every one that ended brought all of its rows."
)


def completeness_check(queue: JobQueue) -> dg.AssetCheckResult:
    """Look at the jobs that failed and were not resumed since."""
    failed = queue.jobs(status=JobStatus.FAILED)
    return dg.AssetCheckResult(
        passed=not failed,
        check_name=COMPLETE,
        asset_key=KEY,
        description=_sentence(failed),
        metadata={"jobs_failed": len(failed), "jobs_pending": len(queue.jobs(status=JobStatus.PENDING))},
    )


def _sentence(failed: Sequence[Job]) -> str:
    if not failed:
        return "no job has failed"
    told = [f"job {job.id} ({job.table_name}): {job.error_message or 'no reason was given'}" for job in failed[:SHOWN]]
    more = len(failed) - SHOWN
    return "; ".join([*told, *([f"and {more} more"] if more > 0 else [])])
