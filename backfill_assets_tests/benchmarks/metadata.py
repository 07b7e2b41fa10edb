"""How fast process instances get the rows of two new fields in PostgreSQL, and how much memory that takes."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import NullPool, create_engine, text

from backfill_assets.adapters.spiffworkflow.opening import open_instances
from backfill_assets.core.dead_letters import MemoryDeadLetters
from backfill_assets.core.metadata import MetadataField
from backfill_assets.core.source import Grain
from backfill_assets.core.windows import Calendar
from backfill_assets.process_metadata.backfill import MetadataBackfill, MonthDone
from backfill_assets.sandbox.postgres import EmbeddedPostgres
from backfill_assets.sandbox.spiffworkflow import bulk, schema
from backfill_assets_tests.benchmarks.measured import Measured

INSTANCES = 200_000
SAMPLE = 4_000
INSTANCES_A_SECOND = 20_000
TIMES_THE_LOOP = 2
MEGABYTES = 200
BATCH_SIZE = 1000
"""What `BACKFILL_METADATA_BATCH_SIZE` is by default."""

MODEL = "orders/invoice"
FIELDS = [
    MetadataField(model=MODEL, key="customer", path="customer.id"),
    MetadataField(model=MODEL, key="total", path="invoice.total"),
]
SINCE, UNTIL = datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)


@contextmanager
def installation(instances: int) -> Iterator[str]:
    """A database of the product with so many instances of one model, seven tasks each; gives its URL."""
    with TemporaryDirectory() as home:
        postgres = EmbeddedPostgres(Path(home) / "postgres", durable=False)
        try:
            postgres.start()
            postgres.create_database("product")
            engine = create_engine(postgres.url("product"), poolclass=NullPool)
            schema.create(engine)
            bulk.fill(engine, model=MODEL, instances=instances, since=SINCE, until=UNTIL)
            yield postgres.url("product")
        finally:
            postgres.remove()


def measure() -> list[Measured]:
    """The speed beside that of a plain loop, and the memory."""
    with installation(INSTANCES) as url:
        plain = SAMPLE / seconds_of_a_plain_loop(url, SAMPLE)
        found = run(url)
    speed = INSTANCES / found["seconds"]
    tasks = f"{INSTANCES:,} instances x {bulk.TASKS} tasks"
    return [
        Measured(
            what=f"two new metadata fields of {tasks}, PostgreSQL",
            asked=f"at least {INSTANCES_A_SECOND:,} instances/s",
            told=f"{speed:,.0f} instances/s",
            holds=speed >= INSTANCES_A_SECOND,
        ),
        Measured(
            what=f"the same, beside a plain loop of one query an instance (over {SAMPLE:,} of them)",
            asked=f"at least {TIMES_THE_LOOP} times",
            told=f"{speed / plain:.1f} times {plain:,.0f} instances/s",
            holds=speed >= TIMES_THE_LOOP * plain,
        ),
        Measured(
            what="its peak memory",
            asked=f"under {MEGABYTES} MB",
            told=f"{found['megabytes']:.0f} MB",
            holds=found["megabytes"] < MEGABYTES,
        ),
    ]


def run(url: str) -> Any:
    """`seconds` and peak `megabytes` of a backfill in a process of its own: a peak never goes down again."""
    command = [sys.executable, "-m", "backfill_assets_tests.benchmarks.metadata", url]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


LAST_DATA = text("""
    SELECT json_data.data FROM task JOIN json_data ON json_data.hash = task.json_data_hash
    WHERE task.process_instance_id = :instance AND task.state = 'COMPLETED'
    ORDER BY task.end_in_seconds DESC NULLS LAST LIMIT 1
""")
INSERT = text("""
    INSERT INTO process_instance_metadata
        (process_instance_id, key, value, updated_at_in_seconds, created_at_in_seconds)
    VALUES (:instance, :key, :value, 1, 1) ON CONFLICT DO NOTHING
""")


def seconds_of_a_plain_loop(url: str, instances: int) -> float:
    """What one would write first: instance by instance, a commit every hundred; its rows are removed afterwards."""
    began = time.perf_counter()
    engine = create_engine(url)
    with engine.connect() as connection:
        for instance in range(1, instances + 1):
            data = connection.execute(LAST_DATA, {"instance": instance}).scalar_one()
            for key, value in (("customer", data["customer"]["id"]), ("total", (data["invoice"] or {}).get("total"))):
                if value is not None:
                    connection.execute(INSERT, {"instance": instance, "key": key, "value": str(value)[:255]})
            if instance % 100 == 0:
                connection.commit()
        seconds = time.perf_counter() - began
        connection.execute(text("TRUNCATE process_instance_metadata"))
        connection.commit()
    engine.dispose()
    return seconds


def _run(url: str) -> None:
    windows = Calendar(grain=Grain.MONTHLY, history_start=SINCE.date()).windows(SINCE, UNTIL)
    began = time.perf_counter()
    with open_instances(url) as database:
        backfill = MetadataBackfill(
            database=database,
            dead_letters=MemoryDeadLetters(),
            run_id="benchmark",
            batch_size=BATCH_SIZE,
            log=lambda _line: None,
        )
        done = list(backfill.fill(windows, FIELDS))
    seconds = time.perf_counter() - began
    if not all(isinstance(outcome, MonthDone) and outcome.complete for outcome in done):
        raise RuntimeError("not every month is complete")
    # Not getrusage: its peak is the parent's where that was larger at the start of this process.
    [peak] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    print(json.dumps({"seconds": seconds, "megabytes": int(peak.split()[1]) / 1024}))


if __name__ == "__main__":
    _run(sys.argv[1])
