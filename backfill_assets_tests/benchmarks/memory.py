"""How much memory a run holds at its peak, over few records and over many."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from backfill_assets.core.source import Identity, Record, RecordId, TableSpec
from backfill_assets_tests.benchmarks.measured import Measured
from backfill_assets_tests.benchmarks.worlds import SINCE, fill, lake, tickets, weeks

FEW, MANY = 100_000, 1_000_000
A_DAY = 5_500
"""Records a day: a window of a week holds fewer than a chunk may, and one of 28 days many more."""

MEGABYTES = 400
PAGE = 1000
FLAT = 1.15


class Stream:
    """A source whose records are made page by page: the days one after another, each with as many records."""

    def __init__(self, template: Sequence[Record]) -> None:
        self._template = template

    def check(self) -> str:
        """See `RecordSource.check`."""
        return "a stream"

    def records(self, table: TableSpec, start: datetime, end: datetime) -> Iterator[Sequence[Record]]:
        """See `RecordSource.records`."""
        day = start
        while day < end:
            for first in range(0, A_DAY, PAGE):
                yield [self._record(day, number) for number in range(first, min(first + PAGE, A_DAY))]
            day += timedelta(days=1)

    def count(self, table: TableSpec, start: datetime, end: datetime) -> int:
        """See `RecordSource.count`."""
        return (end - start).days * A_DAY

    def identities(self, table: TableSpec, start: datetime, end: datetime) -> Iterator[Sequence[Identity]]:
        """See `RecordSource.identities`."""
        raise RuntimeError("no record is bad")

    def fetch(self, table: TableSpec, ids: Sequence[RecordId]) -> Sequence[Record]:
        """See `RecordSource.fetch`."""
        raise RuntimeError("no record is bad")

    def close(self) -> None:
        """See `RecordSource.close`."""

    def _record(self, day: datetime, number: int) -> Record:
        base = self._template[number % len(self._template)]
        moment = (day + timedelta(seconds=number)).isoformat().replace("+00:00", "Z")
        record_id = (day - SINCE).days * A_DAY + number
        return {**base, "id": record_id, "_info": {**base["_info"], "lastUpdated": moment}}


def measure() -> list[Measured]:
    """The peak of a run over many records, and how much more that is than over few."""
    few, many = (_peak_of(number) for number in (FEW, MANY))
    return [
        Measured(
            what=f"peak memory of a run over {MANY:,} records",
            asked=f"under {MEGABYTES} MB",
            told=f"{many:.0f} MB",
            holds=many < MEGABYTES,
        ),
        Measured(
            what=f"the same, beside {FEW:,} records",
            asked=f"flat (at most {FLAT} times)",
            told=f"{many / few:.2f} times {few:.0f} MB",
            holds=many / few <= FLAT,
        ),
    ]


def _peak_of(number: int) -> float:
    """In megabytes, of a process of its own: a peak never goes down again."""
    command = [sys.executable, "-m", "backfill_assets_tests.benchmarks.memory", str(number)]
    return float(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def _run(number: int) -> None:
    template = tickets(200)
    with lake() as empty:
        rows = fill(Stream(template), empty, weeks(round(number / (7 * A_DAY))))
    if abs(rows - number) > 4 * A_DAY:
        raise RuntimeError(f"{rows} rows instead of about {number}")
    # Not getrusage: its peak is the parent's where that was larger at the start of this process.
    [peak] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    print(json.dumps(int(peak.split()[1]) / 1024))


if __name__ == "__main__":
    _run(int(sys.argv[1]))
