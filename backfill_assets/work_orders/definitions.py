"""What work orders bring into the code location."""

import dagster as dg

from backfill_assets.settings import Settings
from backfill_assets.work_orders.assets import order_assets
from backfill_assets.work_orders.automation import new_work_orders


def build(settings: Settings) -> dg.Definitions:
    """The three assets with their checks, and the schedule that enriches what is new."""
    return dg.Definitions(assets=[order_assets(settings.work_orders_start)], schedules=[new_work_orders])
