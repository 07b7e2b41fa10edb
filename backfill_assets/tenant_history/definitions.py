"""What tenant history brings into the code location."""

import dagster as dg

from backfill_assets.settings import Settings
from backfill_assets.tenant_history import committing
from backfill_assets.tenant_history.assets import table_assets
from backfill_assets.tenant_history.automation import backfill_hours, new_tenant_services, sync_schedule
from backfill_assets.tenant_history.canonical.assets import canonical_assets

DOMAIN = committing.DOMAIN


def build(settings: Settings) -> dg.Definitions:
    """The assets of every service, its sync, the sensor that spots new ones, and the one that keeps their hours."""
    specs = settings.services.values()
    assets = [asset for spec in specs for asset in (*table_assets(spec), *canonical_assets(spec))]
    sensors = [new_tenant_services, backfill_hours]
    return dg.Definitions(assets=assets, sensors=sensors, schedules=[*map(sync_schedule, specs)])
