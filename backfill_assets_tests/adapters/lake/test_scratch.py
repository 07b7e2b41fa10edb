"""Scratch folders: empty, gone at the end, and swept when their process was killed."""

import subprocess
import sys
from pathlib import Path

from backfill_assets.adapters.lake.scratch import scratch_in

HOLD = """
import sys
from pathlib import Path
from backfill_assets.adapters.lake.scratch import scratch_in
with scratch_in(Path(sys.argv[1])) as scratch:
    (scratch / "deep").mkdir()
    (scratch / "deep/large").write_bytes(b"x")
    print(scratch, flush=True)
    sys.stdin.readline()
"""


def test_a_scratch_is_empty_private_and_gone_at_the_end(tmp_path: Path) -> None:
    with scratch_in(tmp_path) as scratch:
        assert (scratch.parent, list(scratch.iterdir())) == (tmp_path, [])
        assert scratch.stat().st_mode & 0o777 == 0o700
        (scratch / "deep").mkdir()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_leaves_one_that_the_next_sweeps_and_a_living_ones_stays(tmp_path: Path) -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        other = Path(process.stdout.readline().strip())
        with scratch_in(tmp_path):
            assert (other / "deep/large").exists()
        process.kill()
        process.wait()
        assert (other / "deep/large").exists()
    with scratch_in(tmp_path) as scratch:
        assert list(tmp_path.iterdir()) == [scratch]


def test_what_is_nobodys_scratch_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/file").touch()
    (tmp_path / ".backfill-1.work").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "x.work").mkdir()
    with scratch_in(tmp_path):
        pass
    assert (tmp_path / "elsewhere/file").exists()
    assert (tmp_path / "x.work").exists()
