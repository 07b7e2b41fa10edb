"""Two real processes that merge into the same files at once lose nothing."""

import subprocess
import sys
from pathlib import Path

from backfill_assets.adapters.state.schema import initialise
from backfill_assets_tests.adapters.lake.tables import TABLE, lake_at

MERGES = 25

MERGE = """
import sys
from pathlib import Path
from backfill_assets.adapters.lake.raw import RawLake
from backfill_assets.adapters.state.database import StateDatabase
from backfill_assets_tests.adapters.lake.tables import DAY, TABLE, arrow, row
with StateDatabase.open(sys.argv[1]) as state:
    lake = RawLake(Path(sys.argv[2]), lock=state.lock)
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(int(sys.argv[3]), int(sys.argv[4]), 2):
        lake.merge(TABLE, {DAY: arrow([row(number), row(-1, number)])})
"""


def start(url: str, root: Path, first: int) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", MERGE, url, str(root), str(first), str(2 * MERGES)]
    return subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_processes_that_merge_at_once_lose_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    initialise(url)
    both = [start(url, tmp_path / "lake", first) for first in (0, 1)]
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in both:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.communicate()[1] for process in both] == ["", ""]
    stored = [record_id for record_id, _ in lake_at(tmp_path / "lake").versions(TABLE)]
    assert stored == [-1] * 2 * MERGES + list(range(2 * MERGES))
