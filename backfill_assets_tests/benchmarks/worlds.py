"""What the benchmarks work on: records of ConnectWise's shape, and a backfill of them into a lake of its own."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from backfill_assets.adapters.lake.folder import Folder
from backfill_assets.adapters.lake.raw import RawLake
from backfill_assets.adapters.rest.connectwise_tables import CONNECTWISE, TICKETS
from backfill_assets.core.certificates import MemoryCertificates
from backfill_assets.core.chunks import ChunkTarget
from backfill_assets.core.dead_letters import MemoryDeadLetters
from backfill_assets.core.source import Record, RecordSource
from backfill_assets.core.windows import Window
from backfill_assets.sandbox.selection import Selection
from backfill_assets.sandbox.server import SandboxConfig, create_world
from backfill_assets.tenant_history.backfill import TableBackfill, WindowDone
from backfill_assets.tenant_history.plan import calendar_of

SINCE = datetime(2025, 1, 5, tzinfo=UTC)
"""A Sunday, on which a window begins."""

TARGET = ChunkTarget(
    days=CONNECTWISE.chunk_size_days, rows=CONNECTWISE.chunk_target_rows, seconds=CONNECTWISE.chunk_target_seconds
)


def tickets(number: int, *, scale: int = 1) -> list[Record]:
    """At most so many tickets as the service sends them, of the first four weeks."""
    config = SandboxConfig(since=SINCE, until=SINCE + timedelta(days=28), scale=scale)
    world = create_world(config, clock=time.monotonic)
    table = (world.tables("connectwise", "acme") or {})[TICKETS.name]
    return [json.loads(json.dumps(record)) for record in islice(table.records(Selection()), number)]


def weeks(number: int) -> list[Window]:
    """Adjacent windows from `SINCE` on."""
    return calendar_of(CONNECTWISE).windows(SINCE, SINCE + number * timedelta(weeks=1))


@contextmanager
def lake() -> Iterator[RawLake]:
    """An empty lake on this machine's disk."""
    with TemporaryDirectory() as root:
        yield RawLake(Folder(Path(root)), lock=lambda _name: nullcontext())


def fill(source: RecordSource, lake: RawLake, windows: Sequence[Window]) -> int:
    """Backfill the tickets of these windows; return how many rows came of it."""
    backfill = TableBackfill(
        tenant="acme",
        service=CONNECTWISE.name,
        table=TICKETS,
        source=source,
        lake=lake,
        dead_letters=MemoryDeadLetters(),
        certificates=MemoryCertificates(),
        job_id="benchmark",
        run_id="benchmark",
        clock=lambda: datetime(2026, 6, 1, tzinfo=UTC),
    )
    rows = 0
    for outcome in backfill.fill(windows, TARGET):
        if not isinstance(outcome, WindowDone):
            raise RuntimeError(outcome.reason)
        rows += outcome.rows
    return rows
