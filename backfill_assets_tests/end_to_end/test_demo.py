"""The demo as a person runs it: killed, started again, interrupted, started twice."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from backfill_assets.sandbox.ports import free_port

pytestmark = pytest.mark.own_stack

# A short history of few partitions: what is tested is the demo, not its size.
DAYS = "60"


def _hear_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Started:
    """A demo in a session of its own, its output in a file."""

    def __init__(self, home: Path, *options: str) -> None:
        self.home = home
        self._log = home.parent / f"{home.name}.log"
        size = ["--lookback-days", DAYS, "--service", "connectwise"]
        command = ["-m", "backfill_assets", "demo", "--home", str(home), *size, *options]
        with self._log.open("ab") as log:
            # A program inherits what its parent ignores, and who runs tests in the background ignores Ctrl-C.
            self.process = subprocess.Popen(
                [sys.executable, *command], stdout=log, stderr=log, start_new_session=True, preexec_fn=_hear_ctrl_c
            )

    @property
    def output(self) -> str:
        return self._log.read_text()

    def ends(self, within: float) -> int:
        return self.process.wait(within)


def left_behind(home: Path) -> list[str]:
    """Processes that belong to the demo in this home."""
    found = []
    for process in psutil.process_iter():
        try:
            text = " ".join([*process.cmdline(), process.environ().get("DAGSTER_HOME", "")])
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if str(home) in text and process.status() != psutil.STATUS_ZOMBIE:
            found.append(f"{process.pid}: {text}")
    return found


def wait_until(condition: Callable[[], object], within: float) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    home = tmp_path / "demo"
    yield home
    command = [sys.executable, "-m", "backfill_assets", "demo", "--home", str(home), "--remove"]
    assert subprocess.run(command, check=False, timeout=60).returncode == 0
    assert not home.exists()
    assert left_behind(home) == []


@pytest.mark.timeout(540)
def test_a_demo_that_was_killed_goes_on_where_it_stopped_and_all_is_verified(home: Path) -> None:
    port = free_port()
    first = Started(home, "--port", str(port))
    wait_until(lambda: "planned" in first.output, 60)
    wait_until(lambda: any(home.glob("lake/*/raw/*/*/*.parquet")), 90)
    first.process.kill()
    first.ends(within=10)

    second = Started(home, "--port", str(port), "--once")
    assert second.ends(within=330) == 0, second.output
    assert "records of the sources are in the lake, each version once" in second.output
    assert left_behind(home) == []


@pytest.mark.parametrize("seconds", [0.4, 1.0, 1.8, 3.0, 6.0])
def test_ctrl_c_while_it_starts_leaves_no_process(home: Path, seconds: float) -> None:
    demo = Started(home, "--port", str(free_port()))
    time.sleep(seconds)
    os.killpg(demo.process.pid, signal.SIGINT)
    demo.ends(within=40)
    assert left_behind(home) == []
    assert "Traceback" not in demo.output


def test_a_taken_port_and_a_home_in_use_are_told_in_a_sentence(home: Path) -> None:
    first = Started(home, "--port", str(port := free_port()))
    wait_until(lambda: "starting the stand-in services" in first.output, 60)
    second = Started(home, "--port", str(port))
    assert second.ends(within=30) == 1
    assert "another demo runs in" in second.output
    assert first.process.poll() is None
    os.killpg(first.process.pid, signal.SIGTERM)
    assert first.ends(within=40) == 0
