"""What runs by itself: the sensor that gives the jobs of the queue their runs."""

from collections.abc import Sequence

import dagster as dg

from backfill_assets.core.jobs import JobQueue
from backfill_assets.resources import table_queue
from backfill_assets.settings import Settings, load_settings
from backfill_assets.table_backfill.partitions import JOBS_NAME, KEY
from backfill_assets.table_backfill.runs import TAGS, DagsterRuns
from backfill_assets.table_backfill.taking import Taking, Wanted

DAEMON_SECONDS = 4
"""Less than the daemon's own pause between two looks: asked to wait just as long, it would often wait twice as long."""

RUN_JOB = dg.define_asset_job(
    "table_backfill", selection=[KEY], tags=TAGS, description="Carries out one job of the queue."
)


def queued_tables(settings: Settings) -> dg.SensorDefinition:
    """The sensor, which looks as often as the settings say."""

    @dg.sensor(
        name="queued_tables",
        job=RUN_JOB,
        minimum_interval_seconds=max(1, settings.table_poll_seconds - DAEMON_SECONDS),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts a run for each job that waits in queue_backfill_data.",
    )
    def look(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        with table_queue(load_settings())() as queue:
            wanted, told = take(context.instance, queue)
        for sentence in told:
            context.log.info(sentence)
        if not wanted:
            return dg.SkipReason("; ".join(told) or "no job waits for a run")
        return dg.SensorResult(run_requests=[_request(one) for one in wanted])

    return look


def take(instance: dg.DagsterInstance, queue: JobQueue) -> tuple[Sequence[Wanted], Sequence[str]]:
    """Look at the queue once; the jobs that get a run are partitions from then on."""
    taking = Taking(queue=queue, runs=DagsterRuns(instance=instance))
    wanted = taking.look()
    if wanted:
        instance.add_dynamic_partitions(JOBS_NAME, [str(one.job.id) for one in wanted])
    return wanted, taking.told


def _request(wanted: Wanted) -> dg.RunRequest:
    tags = {"backfill/table": wanted.job.table_name}
    return dg.RunRequest(run_key=wanted.key, partition_key=str(wanted.job.id), tags=tags)
