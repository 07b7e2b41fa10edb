"""The processes of one embedded PostgreSQL cluster: running its programs, and finding what runs.

Here belongs what asks the operating system about processes. When to start and stop belongs to `sandbox/postgres`.
"""

import subprocess
from collections.abc import Sequence
from time import monotonic, sleep

import psutil

from backfill_assets.sandbox.postgres_home import Home


def run(home: Home, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of PostgreSQL's programs to its end, under the account of the cluster and without our environment."""
    drop = home.account.popen_arguments if home.account else {}
    return subprocess.run(
        [str(home.binaries / program), *arguments],
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        **drop,
    )


def postmaster(home: Home) -> psutil.Process | None:
    """The server of this cluster, if its pid file names one; a pid that another program was given since is not it."""
    try:
        pid = int((home.data / "postmaster.pid").read_text().split("\n", 1)[0])
        process = psutil.Process(pid)
        return process if str(home.data) in process.cmdline() else None
    except (FileNotFoundError, ValueError, psutil.Error):
        return None


def family(home: Home) -> list[psutil.Process]:
    """Every process of this cluster: they all work in its data folder."""
    found = psutil.process_iter(["name", "cwd"])
    return [
        process for process in found if process.info["name"] == "postgres" and process.info["cwd"] == str(home.data)
    ]


def still_there(processes: Sequence[psutil.Process], timeout: float) -> Sequence[psutil.Process]:
    """Those that have not ended when the time is up; one that only waits to be reaped by its parent has ended."""
    deadline = monotonic() + timeout
    while (alive := [process for process in processes if _is_alive(process)]) and monotonic() < deadline:
        sleep(0.02)
    return alive


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
