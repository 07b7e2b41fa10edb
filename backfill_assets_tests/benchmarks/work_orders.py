"""How fast work orders come from Snowflake (its stand-in, in a thread of this process) into PostgreSQL."""

import sys
import time
import warnings
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.compute as pc

from backfill_assets.adapters.snowflake.opening import open_source
from backfill_assets.adapters.work_orders.opening import open_orders
from backfill_assets.adapters.work_orders.schema import initialise
from backfill_assets.core.dead_letters import MemoryDeadLetters
from backfill_assets.core.orders import whole
from backfill_assets.core.source import Grain
from backfill_assets.core.windows import Calendar
from backfill_assets.sandbox.postgres import EmbeddedPostgres
from backfill_assets.sandbox.snowflake.server import SnowflakeServer
from backfill_assets.work_orders.extraction import Extraction
from backfill_assets_tests.benchmarks.measured import Measured

RECORDS = 1_000_000
RECORDS_A_SECOND = 50_000
BATCH_SIZE = 10_000
COLUMNS = {"id": "notification_id", "text": "notification_text", "date": "created_at"}


def measure() -> list[Measured]:
    """The speed, with what both ends of it cost on the same machine."""
    speed = RECORDS / seconds(RECORDS)
    return [
        Measured(
            what=f"{RECORDS:,} work orders from Snowflake's stand-in to PostgreSQL, batches of {BATCH_SIZE:,}",
            asked=f"at least {RECORDS_A_SECOND:,} records/s",
            told=f"{speed:,.0f} records/s",
            holds=speed >= RECORDS_A_SECOND,
        )
    ]


def records(number: int) -> pa.Table:
    """So many records of one month, three at a time at the same moment."""
    places = pa.array(range(number))
    names = pc.binary_join_element_wise("WO-", pc.utf8_lpad(places.cast(pa.string()), 9, padding="0"), "")
    start = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
    moments = pc.add(pc.multiply(pc.divide(places, 3), 5_000_000), start).cast(pa.timestamp("us"))
    texts = pc.binary_join_element_wise("Pump ", places.cast(pa.string()), " leaks oil at the front seal of unit 7", "")
    return pa.table({"notification_id": names, "created_at": moments, "notification_text": texts})


def seconds(number: int) -> float:
    """How long so many records take."""
    span = whole(Calendar(grain=Grain.MONTHLY, history_start=date(2024, 1, 1)).window(date(2024, 1, 1)))
    with warnings.catch_warnings(), TemporaryDirectory() as home, SnowflakeServer() as snowflake:
        warnings.simplefilter("ignore")
        postgres = EmbeddedPostgres(Path(home) / "postgres", durable=False)
        try:
            postgres.start()
            postgres.create_database("orders")
            initialise(postgres.url("orders"), dimensions=384)
            snowflake.load("bench", "notification_text", records(number))
            account = snowflake.account("bench")
            with (
                open_source(account, table="notification_text", columns=COLUMNS) as source,
                open_orders(postgres.url("orders")) as target,
            ):
                began = time.perf_counter()
                done = Extraction(
                    source=source,
                    target=target,
                    dead_letters=MemoryDeadLetters(),
                    run_id="benchmark",
                    batch_size=BATCH_SIZE,
                    duplicates=source.duplicates(),
                    log=lambda _line: None,
                ).extract(span)
                took = time.perf_counter() - began
            if not done.complete or done.rows != done.source_rows:
                raise RuntimeError("not every record is stored")
        finally:
            postgres.remove()
    return took


if __name__ == "__main__":
    asked = int(sys.argv[1])
    print(f"{asked / seconds(asked):,.0f} records/s")
