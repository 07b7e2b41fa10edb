"""Two real processes that merge into the same day's file at once lose no version."""

import subprocess
import sys
from pathlib import Path

import pytest

from backfill_assets.adapters.lake.opening import open_storage
from backfill_assets.adapters.state.schema import initialise
from backfill_assets_tests.adapters.lake.tables import TABLE, lake_on

SAMPLE = 20
"""Merges of each process; the whole proof makes 500, a thousand in all."""

MERGE = """
import sys
from contextlib import nullcontext
from pathlib import Path
from backfill_assets.adapters.lake.opening import open_storage
from backfill_assets.adapters.lake.raw import RawLake
from backfill_assets.adapters.state.database import StateDatabase
from backfill_assets.errors import TransientError
from backfill_assets_tests.adapters.lake.tables import DAY, TABLE, arrow, row

url, root, kind, first, merges = sys.argv[1:]
storage = open_storage(root if root.startswith("s3://") else Path(root))
with StateDatabase.open(url) as state:
    lake = RawLake(storage, lock=state.lock if kind == "locked" else lambda name: nullcontext())
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(int(first), 2 * int(merges), 2):
        days = {DAY: arrow([row(number), row(-1, number)])}
        while True:
            try:
                lake.merge(TABLE, days)
                break
            except TransientError:
                if kind == "locked":
                    raise
"""

RUNS = [
    pytest.param(place, kind, merges, id=f"{place} {kind}", marks=marks)
    for place, kind in (("folder", "locked"), ("bucket", "locked"), ("bucket", "lockless"))
    for merges, marks in ((SAMPLE, ()), (500, pytest.mark.proof))
]


def start(arguments: list[str]) -> subprocess.Popen[str]:
    # The environment carries the keys of the stand-in for AWS.
    program = [sys.executable, "-c", MERGE, *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(program, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


@pytest.mark.parametrize(("place", "kind", "merges"), RUNS)
def test_two_processes_that_merge_the_same_day_lose_no_version(
    request: pytest.FixtureRequest, tmp_path: Path, place: str, kind: str, merges: int
) -> None:
    """On S3 the conditional writes alone see to it, also where the lock of the state database is lost."""
    url = f"sqlite:///{tmp_path / 'state.db'}"
    initialise(url)
    root = f"s3://{request.getfixturevalue('bucket')}/lake" if place == "bucket" else str(tmp_path / "lake")
    both = [start([url, root, kind, str(first), str(merges)]) for first in (0, 1)]
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in both:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.communicate()[1] for process in both] == ["", ""]
    storage = open_storage(root if place == "bucket" else tmp_path / "lake")
    stored = [record_id for record_id, _ in lake_on(storage).versions(TABLE)]
    assert stored == [-1] * 2 * merges + list(range(2 * merges))
