"""What runs by itself: the schedule that stores, enriches and embeds what is new each day."""

from datetime import timedelta

import dagster as dg
from dagster import _check as check

from backfill_assets.resources import open_wiring
from backfill_assets.settings import load_settings
from backfill_assets.work_orders.asking import Asked, launch_orders
from backfill_assets.work_orders.outcomes import STAGES
from backfill_assets.work_orders.partitions import KEYS, months_until

LOOKS_BACK = timedelta(days=7)
"""Orders may be entered late; in the first days of a month the one before is read again too."""


@dg.schedule(
    name="new_work_orders",
    cron_schedule="15 2 * * *",
    target=[KEYS[stage] for stage in STAGES],
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Launches one small backfill of the newest months, in which just what is new is enriched.",
)
def new_work_orders(context: dg.ScheduleEvaluationContext) -> dg.SkipReason:
    """Launch the months of the last days: the same function as for history."""
    graph = check.not_none(context.repository_def).asset_graph
    with open_wiring(load_settings()) as wiring:
        now = wiring.clock()
        months = [m for m in months_until(wiring.settings.work_orders_start, now) if m.end > now - LOOKS_BACK]
        asked = Asked(months=months)
        words = {"reason": "what is new each day", "requested_by": "schedule new_work_orders"}
        launched = launch_orders(wiring, context.instance, graph, asked, **words)
    verb = "launched backfill" if launched.is_new else "already under way: backfill"
    return dg.SkipReason(f"{verb} {launched.backfill_id}")
