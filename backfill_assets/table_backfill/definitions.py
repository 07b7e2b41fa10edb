"""What table backfill brings into the code location."""

import dagster as dg

from backfill_assets.settings import Settings
from backfill_assets.table_backfill.assets import table_rows
from backfill_assets.table_backfill.automation import RUN_JOB, queued_tables
from backfill_assets.table_backfill.request_job import request_table_backfill


def build(settings: Settings) -> dg.Definitions:
    """The asset of the rows, the job that carries out one of the queue, the sensor, and the job that asks for one."""
    return dg.Definitions(
        assets=[table_rows], jobs=[RUN_JOB, request_table_backfill], sensors=[queued_tables(settings)]
    )
