"""Programs are started, revived and stopped for real, and none is left behind."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from backfill_assets.errors import PermanentError
from backfill_assets.sandbox.supervisor import MOST_REVIVALS, Program, Supervisor

SLEEP = "import time; time.sleep(60)"
PARENT = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {SLEEP!r}])
print(child.pid, flush=True)
"""
"""A program that says the pid of its child."""

SUPERVISE = """
import os, signal, sys
from pathlib import Path
from backfill_assets.sandbox.supervisor import Program, Supervisor
supervisor = Supervisor(home=Path(sys.argv[1]))
supervisor.start(Program(name="sleeper", arguments=[sys.executable, "-c", sys.argv[2]]))
print(supervisor.pid("sleeper"), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def program(code: str, name: str = "sleeper") -> Program:
    return Program(name=name, arguments=[sys.executable, "-c", code])


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    supervisor = Supervisor(home=tmp_path)
    yield supervisor
    assert supervisor.stop() == []


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own that no supervisor has started."""
    with subprocess.Popen([sys.executable, "-c", SLEEP], start_new_session=True) as process:
        yield process
        process.kill()


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def child_of(supervisor: Supervisor, name: str = "sleeper") -> int:
    """The child's pid, as its parent has printed it."""
    log = supervisor.log(name)
    wait_for(lambda: log.read_text().endswith("\n"))
    return int(log.read_text())


def test_stopping_ends_what_was_started_and_forgets_it(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start(program(SLEEP))
    pid = supervisor.pid("sleeper")
    assert supervisor.is_running("sleeper")
    assert supervisor.stop() == []
    assert not is_alive(pid)
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]


def test_what_a_killed_supervisor_left_running_is_stopped_by_the_next(tmp_path: Path) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", SUPERVISE, str(tmp_path), SLEEP], stdout=subprocess.PIPE, text=True, check=False
    )
    left = int(killed.stdout)
    assert is_alive(left)
    assert Supervisor(home=tmp_path).stop_leftovers() == []
    assert not is_alive(left)
    assert not (tmp_path / "processes.json").exists()


def test_a_session_whose_leader_died_is_still_stopped(supervisor: Supervisor) -> None:
    supervisor.start(program(PARENT))
    child = child_of(supervisor)
    wait_for(lambda: not supervisor.is_running("sleeper"))
    assert is_alive(child)
    assert supervisor.stop() == []
    assert not is_alive(child)


def test_numbers_of_an_earlier_boot_are_strangers_and_live(tmp_path: Path, stranger: subprocess.Popen[bytes]) -> None:
    sessions = {str(stranger.pid): time.time() + 3600}
    (tmp_path / "processes.json").write_text(json.dumps({"boot": "the one before", "sessions": sessions}))
    assert Supervisor(home=tmp_path).stop_leftovers() == []
    assert is_alive(stranger.pid)
    assert not (tmp_path / "processes.json").exists()


def test_a_number_that_was_given_anew_since_is_a_stranger_and_lives(
    supervisor: Supervisor, tmp_path: Path, stranger: subprocess.Popen[bytes]
) -> None:
    supervisor.start(program(SLEEP))
    file = tmp_path / "processes.json"
    known = json.loads(file.read_text())
    known["sessions"][str(stranger.pid)] = psutil.Process(stranger.pid).create_time() - 10
    file.write_text(json.dumps(known))
    assert supervisor.stop() == []
    assert is_alive(stranger.pid)


def test_a_program_that_died_is_started_again_and_the_others_are_left_alone(supervisor: Supervisor) -> None:
    for name in ("one", "two"):
        supervisor.start(program(SLEEP, name))
    pids = [supervisor.pid(name) for name in ("one", "two")]
    psutil.Process(pids[0]).kill()
    wait_for(lambda: not supervisor.is_running("one"))
    assert supervisor.revive() == ["one"]
    assert supervisor.revive() == []
    assert supervisor.is_running("one")
    assert supervisor.pid("one") != pids[0]
    assert supervisor.pid("two") == pids[1]


def test_a_program_that_dies_again_and_again_is_given_up_with_the_path_of_its_log(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    supervisor.start(Program(name="loser", arguments=["sh", "-c", "echo no luck; exit 1"]))
    for _ in range(MOST_REVIVALS):
        wait_for(lambda: not supervisor.is_running("loser"))
        assert supervisor.revive() == ["loser"]
    wait_for(lambda: not supervisor.is_running("loser"))
    log = tmp_path / "logs" / "loser.log"
    with pytest.raises(PermanentError, match=f"the loser dies again and again; {log} says why"):
        supervisor.revive()
    assert log.read_text() == "no luck\n" * (MOST_REVIVALS + 1)


POLITE = """
import signal, sys, time
def say(*_):
    print("asked", flush=True)
    sys.exit()
signal.signal(signal.SIGTERM, say)
print("ready", flush=True)
time.sleep(60)
"""
"""A program that tells when it is asked to end."""

FOSTER = f"""
import signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {POLITE!r}])
def end(*_):
    child.terminate()
    child.wait()
    sys.exit()
signal.signal(signal.SIGTERM, end)
signal.pause()
"""
"""A program that hands on what it is asked to its child."""


@pytest.mark.parametrize(("hard", "said"), [(["sleeper"], "ready\n"), ([], "ready\nasked\n")])
def test_children_of_hard_programs_are_killed_without_being_asked(
    supervisor: Supervisor, hard: list[str], said: str
) -> None:
    supervisor.start(program(FOSTER))
    log = supervisor.log("sleeper")
    wait_for(lambda: log.read_text() == "ready\n")
    assert supervisor.stop(hard=hard) == []
    assert log.read_text() == said


def test_an_interrupt_between_start_and_note_is_held_back(tmp_path: Path) -> None:
    noted: list[bool] = []

    class Shield:
        def __enter__(self) -> None:
            noted.append((tmp_path / "processes.json").exists())

        def __exit__(self, *_: object) -> None:
            noted.append((tmp_path / "processes.json").exists())

    supervisor = Supervisor(home=tmp_path, shield=Shield)
    supervisor.start(program(SLEEP))
    assert noted == [False, True]
    assert supervisor.stop() == []


def test_programs_see_the_environment_they_are_given(tmp_path: Path) -> None:
    supervisor = Supervisor(home=tmp_path, environment={"GREETING": "hello"})
    supervisor.start(program("import os; print(os.environ['GREETING'])"))
    wait_for(lambda: not supervisor.is_running("sleeper"))
    assert supervisor.stop() == []
    assert supervisor.log("sleeper").read_text() == "hello\n"
