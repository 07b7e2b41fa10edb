"""What tenant history brings into the code location."""

import dagster as dg

from backfill_assets.settings import Settings
from backfill_assets.tenant_history import backfill
from backfill_assets.tenant_history.assets import table_assets
from backfill_assets.tenant_history.automation import backfill_hours, new_tenant_services

DOMAIN = backfill.DOMAIN


def build(settings: Settings) -> dg.Definitions:
    """The assets of every service, the sensor that spots new ones, and the one that keeps to backfill hours."""
    assets = [asset for spec in settings.services.values() for asset in table_assets(spec)]
    return dg.Definitions(assets=assets, sensors=[new_tenant_services, backfill_hours])
