"""What runs by itself: the sensor that notices new metadata fields."""

import dagster as dg
from dagster import _check as check

from backfill_assets.errors import PermanentError
from backfill_assets.process_metadata.noticing import Noticing
from backfill_assets.resources import open_wiring
from backfill_assets.settings import load_settings


@dg.sensor(
    name="new_metadata_fields",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Notices new keys and changed paths in process models, and launches one backfill for each.",
)
def new_metadata_fields(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Launch what is new; the models that cannot be read fail the tick after all others were dealt with."""
    graph = check.not_none(context.repository_def).asset_graph
    with open_wiring(load_settings()) as wiring:
        noticing = Noticing(
            wiring=wiring, instance=context.instance, graph=graph, requested_by="sensor new_metadata_fields"
        )
        noticed = noticing.notice(context.cursor)
    for sentence in noticed.told:
        context.log.info(sentence)
    if noticed.problems:
        raise PermanentError("; ".join(noticed.problems))
    if noticed.cursor is not None:
        context.update_cursor(noticed.cursor)
    # A tick without a run request counts as skipped, whatever it launched; this is what the UI shows of it.
    return dg.SkipReason("; ".join(noticed.told) or "no process model has changed")
