"""What tenant history brings into the code location."""

import dagster as dg

from backfill_assets.settings import Settings
from backfill_assets.tenant_history import committing
from backfill_assets.tenant_history.assets import table_assets
from backfill_assets.tenant_history.automation import new_tenant_services, sync_schedule
from backfill_assets.tenant_history.canonical.assets import canonical_assets

DOMAIN = committing.DOMAIN


def build(settings: Settings) -> dg.Definitions:
    """The assets of every service, its sync, and the sensor that spots new ones."""
    specs = settings.services.values()
    assets = [asset for spec in specs for asset in (*table_assets(spec), *canonical_assets(spec))]
    return dg.Definitions(assets=assets, sensors=[new_tenant_services], schedules=[*map(sync_schedule, specs)])
