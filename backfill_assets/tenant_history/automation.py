"""What runs by itself: the sensors that spot new tenant services and keep to their hours, and each service's sync."""

import dagster as dg
from dagster import _check as check

from backfill_assets.core.frequency import cron_of
from backfill_assets.core.source import ServiceSpec
from backfill_assets.launching import Launched
from backfill_assets.resources import open_wiring
from backfill_assets.settings import load_settings
from backfill_assets.tenant_history.keeping import keep_hours
from backfill_assets.tenant_history.onboarding import Started, onboard
from backfill_assets.tenant_history.partitions import asset_key
from backfill_assets.tenant_history.sync import Synced, sync


@dg.sensor(
    name="new_tenant_services",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Spots newly connected tenant services and launches one backfill of the history of each.",
)
def new_tenant_services(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Launch what detection finds; the tenants file is read anew, so that a new tenant is seen at the next tick."""
    graph = check.not_none(context.repository_def).asset_graph
    told = []
    with open_wiring(load_settings()) as wiring:
        for started in onboard(wiring, context.instance, graph, requested_by="sensor new_tenant_services"):
            told.append(_tell(started))
            context.log.info(told[-1])
    # A tick without a run request counts as skipped, whatever it launched; this is what the UI shows of it.
    return dg.SkipReason("; ".join(told) or "no tenant service is new")


@dg.sensor(
    name="backfill_hours",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Pauses backfills outside of backfill hours, resumes them, and stops what takes too long.",
)
def backfill_hours(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Keep every backfill of history to its hours, by the settings as they are now."""
    graph = check.not_none(context.repository_def).asset_graph
    told = []
    with open_wiring(load_settings()) as wiring:
        for sentence in keep_hours(wiring, context.instance, graph):
            told.append(sentence)
            context.log.info(sentence)
    return dg.SkipReason("; ".join(told) or "no backfill is to be paused, resumed or stopped")


def _tell(started: Started) -> str:
    name = f"{started.finding.service.tenant} {started.finding.service.spec.name}"
    match started.launched:
        case Launched(backfill_id=backfill_id, is_new=True):
            return f"{name}: launched backfill {backfill_id} ({started.finding.judgement.reason})"
        case Launched(backfill_id=backfill_id):
            return f"{name}: backfill {backfill_id} is already under way"
    return f"{name}: not launched: {started.problem}"


def sync_schedule(spec: ServiceSpec) -> dg.ScheduleDefinition:
    """The schedule that reads the newest windows of a service again, for all tenants whose history has begun."""

    @dg.schedule(
        name=f"{spec.name}_sync",
        cron_schedule=cron_of(spec.sync_frequency),
        target=[asset_key(spec.name, table) for table in spec.tables],
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Launches one small backfill of what is new at {spec.name}, of every tenant whose history began.",
    )
    def launch_sync(context: dg.ScheduleEvaluationContext) -> dg.SkipReason:
        graph = check.not_none(context.repository_def).asset_graph
        with open_wiring(load_settings()) as wiring:
            synced = sync(wiring, context.instance, graph, spec.name, requested_by=f"schedule {spec.name}_sync")
        for remark in synced.remarks:
            context.log.info(remark)
        return dg.SkipReason(_tell_sync(synced))

    return launch_sync


def _tell_sync(synced: Synced) -> str:
    match synced.launched:
        case Launched(backfill_id=backfill_id, is_new=True):
            told = f"launched backfill {backfill_id} of {len(synced.tenants)} tenants"
        case Launched(backfill_id=backfill_id):
            told = f"backfill {backfill_id} is already under way"
        case _:
            told = "nothing was launched"
    return "; ".join([told, *synced.remarks])
