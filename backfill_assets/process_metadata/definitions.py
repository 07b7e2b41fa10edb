"""What process metadata brings into the code location."""

import dagster as dg

from backfill_assets.process_metadata.assets import PROCESS_MODELS, metadata_asset
from backfill_assets.process_metadata.automation import new_metadata_fields
from backfill_assets.settings import Settings


def build(settings: Settings) -> dg.Definitions:
    """The asset of the metadata rows, the process models above it, and the sensor that compares the two."""
    return dg.Definitions(
        assets=[PROCESS_MODELS, metadata_asset(settings.metadata_start)], sensors=[new_metadata_fields]
    )
