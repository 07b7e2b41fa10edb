"""Partitions of table backfill: a job of the queue each.

Here belong the definitions and the names; a partition's key is the id of its job.
"""

import dagster as dg

from backfill_assets.errors import UsageError

JOBS_NAME = "table_backfill_jobs"
JOBS = dg.DynamicPartitionsDefinition(name=JOBS_NAME)

KEY = dg.AssetKey(["table_backfill", "table_rows"])
GROUP = "table_backfill"


def job_id_of(partition: str) -> int:
    """The job of a partition; raises `UsageError` for a key that a person made up."""
    if not partition.isascii() or not partition.isdigit():
        raise UsageError(f"partition {partition!r} is no id of a job in the queue; delete it, and run the job's own")
    return int(partition)
