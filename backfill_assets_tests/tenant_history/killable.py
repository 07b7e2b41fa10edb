"""A backfill that stops before and after every step that a kill may fall between, run as a program by `test_kill.py`.

Here belong the account that it reads and the steps; it waits at each of them for a line from its parent.
"""

import os
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from threading import Lock
from typing import Any

from backfill_assets.adapters.lake.folder import Folder
from backfill_assets.adapters.lake.raw import RawLake
from backfill_assets.adapters.rest.memory import MemorySource
from backfill_assets.adapters.state.database import StateDatabase
from backfill_assets.core.chunks import ChunkTarget
from backfill_assets.tenant_history.backfill import Outcome, TableBackfill
from backfill_assets_tests.tenant_history.worlds import NOW, TICKETS, in_week, ticket, weeks

WINDOWS = weeks(1, 6)
ONE_STEP_AT_A_TIME = Lock()
BAD_IDS = frozenset({5, 23, 40})


def account() -> list[dict[str, Any]]:
    """Three tickets a day over six weeks of which three days are quiet; some do not fit."""
    moments = [in_week(1, 8 * n) for n in range(6 * 7 * 3) if n % 20 > 2]
    bad = {n: {"hours": "many"} for n in BAD_IDS}
    return [ticket(n, moment + timedelta(minutes=n), **bad.get(n, {})) for n, moment in enumerate(moments, 1)]


def fill(url: str, root: Path, *, step: Callable[[str], None]) -> list[Outcome]:
    """Fill the lake below `root`, and call `step` with what has just been done."""
    outcomes: list[Outcome] = []
    with StateDatabase.open(url) as state:
        backfill = TableBackfill(
            tenant="acme",
            service="desk",
            table=TICKETS,
            source=MemorySource({TICKETS.name: account()}, page_size=7),
            lake=RawLake(Folder(root), lock=state.lock),
            dead_letters=state.dead_letters,
            certificates=state.certificates,
            job_id="job",
            run_id="run",
            clock=lambda: NOW,
        )
        for outcome in backfill.fill(WINDOWS, ChunkTarget(days=14)):
            outcomes.append(outcome)
            step(f"told of {outcome.window.key}")
    return outcomes


def wait_for_the_parent(done: str) -> None:
    """Say what was done and go on when the parent says so, if it ever does."""
    with ONE_STEP_AT_A_TIME:  # files are written by several threads
        print(done, flush=True)
        os.read(sys.stdin.fileno(), 1)


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    """Stop before each file is opened for writing, linked or put in its place, and before each connection."""
    if event == "open" and str(arguments[0]).endswith(".draft"):
        wait_for_the_parent("opens a draft")
    elif event in ("os.rename", "os.link"):
        wait_for_the_parent(f"puts a file in its place ({event})")
    elif event == "sqlite3.connect":
        wait_for_the_parent("connects to the state")


if __name__ == "__main__":
    sys.addaudithook(watch)
    fill(sys.argv[1], Path(sys.argv[2]), step=wait_for_the_parent)
