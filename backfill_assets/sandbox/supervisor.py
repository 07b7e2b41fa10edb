"""Starts programs, starts them again when they die, and leaves none behind.

Here belongs the care for processes, whatever they are. Which programs make up the demo belongs to `stack.py`.
"""

import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from backfill_assets.errors import PermanentError

GRACE_SECONDS = 8.0
MOST_REVIVALS = 5
KILL_ROUNDS = 5
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, kw_only=True)
class Program:
    """One program: its name and what to start."""

    name: str
    arguments: Sequence[str]


@dataclass(kw_only=True)
class Supervisor:
    """Looks after programs; each gets a session of its own, so that Ctrl-C reaches only the supervisor.

    Programs see `environment`, or that of this process where it is None. `shield` holds back interrupts: one between
    the start of a program and its being written down would leave it behind.

    The sessions are written to a file in `home`, by which a later supervisor finds what a killed one left running.
    """

    home: Path
    environment: Mapping[str, str] | None = None
    shield: Callable[[], AbstractContextManager[None]] = nullcontext
    _running: dict[str, tuple[Program, subprocess.Popen[bytes]]] = field(default_factory=dict)
    _revivals: Counter[str] = field(default_factory=Counter)

    def start(self, program: Program) -> None:
        """Start a program; its output goes to `<home>/logs/<name>.log`."""
        logs = self.home / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        with self.shield(), (logs / f"{program.name}.log").open("ab") as log:
            process = subprocess.Popen(
                program.arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                start_new_session=True,
            )
            self._running[program.name] = (program, process)
            self._write_down()

    def revive(self) -> list[str]:
        """Start again what has died; return the names. Raises `PermanentError` for one that dies again and again."""
        dead = [program for program, process in self._running.values() if process.poll() is not None]
        for program in dead:
            self._revivals[program.name] += 1
            if self._revivals[program.name] > MOST_REVIVALS:
                raise PermanentError(f"the {program.name} dies again and again; {self.log(program.name)} says why")
            self.start(program)
        return [program.name for program in dead]

    def is_running(self, name: str) -> bool:
        """Whether the program is alive."""
        return name in self._running and self._running[name][1].poll() is None

    def pid(self, name: str) -> int:
        """The program's process id."""
        return self._running[name][1].pid

    def log(self, name: str) -> Path:
        """Where the program's output goes."""
        return self.home / "logs" / f"{name}.log"

    def stop(self, *, hard: Iterable[str] = ()) -> list[int]:
        """Stop every program, last started first, then whatever is left of their sessions; return what resisted.

        The children of `hard` ones are killed at once, without being asked: a run that is asked to end would be
        written down as cancelled, while one that is killed goes on at the next start.
        """
        for name in reversed(list(self._running)):
            program, process = self._running.pop(name)
            if program.name in hard:
                _kill(_children(process.pid))
            _end(process)
        return self.stop_leftovers()

    def stop_leftovers(self) -> list[int]:
        """Kill what is left of the sessions that were written down; return the pids that are still there."""
        sessions = self._written_down()
        # In rounds: one that was being started while the others were listed is seen in the next.
        for _ in range(KILL_ROUNDS):
            if not (members := _members(sessions)):
                break
            _kill(members)
        left = [process.pid for process in _members(sessions)]
        if not left:
            self._file.unlink(missing_ok=True)
        return left

    @property
    def _file(self) -> Path:
        return self.home / "processes.json"

    def _write_down(self) -> None:
        known = self._written_down()
        for _, process in self._running.values():
            known.setdefault(process.pid, time.time())
        draft = self._file.with_suffix(".draft")
        draft.write_text(json.dumps({"boot": _boot(), "sessions": known}))
        draft.replace(self._file)

    def _written_down(self) -> dict[int, float]:
        """Session ids, and when each was first known; none of before a reboot, which gives the numbers to strangers."""
        if not self._file.exists():
            return {}
        known = json.loads(self._file.read_text())
        return {int(session): since for session, since in known["sessions"].items()} if known["boot"] == _boot() else {}


def _boot() -> str:
    """What tells this run of the machine from the one before."""
    return BOOT_ID.read_text().strip() if BOOT_ID.exists() else str(round(psutil.boot_time(), -1))


def _members(sessions: Mapping[int, float]) -> list[psutil.Process]:
    """The living processes of these sessions; a session id that was used anew since is another one."""
    found = []
    for process in psutil.process_iter(["create_time", "status"]):
        try:
            session = os.getsid(process.pid)
        except (ProcessLookupError, PermissionError):
            continue
        if session not in sessions or process.info["status"] == psutil.STATUS_ZOMBIE:
            continue
        if not _is_newer(session, sessions[session]):
            found.append(process)
    return found


def _is_newer(session: int, since: float) -> bool:
    try:
        return psutil.Process(session).create_time() > since + 2
    except psutil.NoSuchProcess:
        return False


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _kill(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    # One that its parent has not collected yet is dead all the same.
    until = time.monotonic() + GRACE_SECONDS
    while any(map(_is_alive, processes)) and time.monotonic() < until:
        time.sleep(0.02)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
