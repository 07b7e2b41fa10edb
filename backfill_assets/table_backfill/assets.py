"""The rows of queued tables as an asset, partitioned by job.

Here belongs what Dagster sees of a run: what it logs, and when it fails. What is done belongs to `backfill.py`.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import dagster as dg
from dagster import AssetExecutionContext, DagsterRun

from backfill_assets.core.jobs import RESUMABLE, Claimant, JobQueue
from backfill_assets.resources import Wiring
from backfill_assets.table_backfill.backfill import JobDone, JobFailed, JobLeft, JobUnclaimed, Outcome, TableBackfill
from backfill_assets.table_backfill.checks import CHECK, completeness_check
from backfill_assets.table_backfill.partitions import GROUP, JOBS, KEY, job_id_of
from backfill_assets.table_backfill.runs import engine_of, is_started_by_sensor, is_stopping

OP = "table_rows"


@dg.multi_asset(
    name=OP,
    specs=[
        dg.AssetSpec(
            KEY,
            skippable=True,
            partitions_def=JOBS,
            group_name=GROUP,
            description="Rows that jobs of the queue queue_backfill_data bring from a source table to destinations.",
            kinds={"sql"},
        )
    ],
    check_specs=[CHECK],
)
def table_rows(context: AssetExecutionContext, wiring: dg.ResourceParam[Wiring]) -> Iterator[Any]:
    """Carry out the job of the partition, or leave where it is not to be had."""
    job_id = job_id_of(context.partition_key)
    by_sensor = is_started_by_sensor(context.run)
    with wiring.queue() as queue:
        backfill = table_backfill(wiring, queue, context.instance, context.run, log=context.log.info)
        # A person who runs a job again means it, whatever became of it before.
        outcome = backfill.run(job_id, also=() if by_sensor else RESUMABLE)
        if isinstance(outcome, JobDone):
            context.log_event(dg.AssetMaterialization(KEY, partition=str(job_id), metadata=metadata(outcome)))
        yield completeness_check(queue)
    if reason := _failure(outcome, by_sensor=by_sensor):
        raise dg.Failure(reason, allow_retries=False)
    # No output is yielded: it would be logged for a job that was not done, too.


def claimant(instance: dg.DagsterInstance, run: DagsterRun) -> Claimant:
    """The run, as the queue knows it."""
    return Claimant(engine=engine_of(instance), run_id=run.run_id)


def table_backfill(
    wiring: Wiring, queue: JobQueue, instance: dg.DagsterInstance, run: DagsterRun, *, log: Callable[[str], None]
) -> TableBackfill:
    """The use case, put together."""
    return TableBackfill(
        queue=queue,
        by=claimant(instance, run),
        open_source=wiring.table_source,
        open_destination=wiring.table_destination,
        batch_size=wiring.settings.table_batch_size,
        log=log,
        is_stopping=lambda: is_stopping(instance, run),
    )


def metadata(done: JobDone) -> Mapping[str, Any]:
    """The numbers of a job that is done."""
    return {
        "rows": done.rows,
        "rows_rejected": 0,
        # Rows of somebody else's tables: nothing of ours takes room.
        "bytes": 0,
        "seconds": round(done.seconds, 3),
        "source_rows": done.source_rows,
        "complete": True,
        "destinations": done.destinations,
    }


def _failure(outcome: Outcome, *, by_sensor: bool) -> str:
    match outcome:
        case JobFailed(job=job, reason=reason):
            return f"job {job.id} failed: {reason}"
        case JobLeft(job_id=job_id, standing=standing):
            return f"job {job_id} was not brought to its end: it is {standing}; what is committed stays"
        case JobUnclaimed(job_id=job_id, job=job) if not by_sensor:
            state = "is not in the queue" if job is None else f"is {job.status}"
            return f"job {job_id} {state}, so there is nothing to run; queue a new one with `backfill table`"
        case _:
            # Another run has it, or somebody cancelled or deleted it before this run began.
            return ""
