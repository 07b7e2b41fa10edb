"""Stopping a backfill and going on with it."""

import json
import os
import signal
import time

from dagster import DagsterRunStatus

from backfill_assets import following
from backfill_assets.sandbox.stack import DAEMON
from backfill_assets_tests.end_to_end.conftest import RUNS_AT_ONCE
from backfill_assets_tests.end_to_end.running import Running, until

STOPPED_SECONDS = 5.0
TABLE = "company/contacts"
SPAN = ("2023-06-04", "2024-01-14")
WINDOWS = 32
RUNS = RUNS_AT_ONCE + 1


def test_a_cancelled_backfill_stops_at_a_commit_and_resumes_with_the_rest(running: Running) -> None:
    start, end = SPAN
    slow = running.fault(kind="timeout", seconds=2, tenant="initech", table=TABLE, **{"from": start, "to": end})
    backfill_id = running.trigger("initech", "--start-date", start, "--end-date", end, "--table-name", TABLE)
    until("a commit", lambda: running.materialised(*running.runs(backfill_id)))
    assert len(running.runs(backfill_id)) == RUNS

    # The daemon would stop runs too, half a minute later; while it is dead, all is done by the command.
    os.kill(running.stack.supervisor.pid(DAEMON), signal.SIGKILL)
    until("the death of the daemon", lambda: not running.stack.supervisor.is_running(DAEMON))
    start_up = _seconds_of_starting(running)
    began = time.time()
    stopped = running.backfill("cancel", backfill_id, "--json")
    assert time.time() - began - start_up < STOPPED_SECONDS
    assert stopped.returncode == 0, stopped.stderr
    assert json.loads(stopped.stdout)["runs_stopped"] >= 1
    runs = running.runs(backfill_id)
    assert {run.status for run in runs} <= {DagsterRunStatus.CANCELED, DagsterRunStatus.SUCCESS}
    assert running.stack.supervisor.revive() == [DAEMON]

    running.clear_fault(slow)
    done = running.materialised(*runs)
    assert set(done.values()) == {1}
    assert len(done) < WINDOWS
    resumed = running.backfill("resume", backfill_id, "--wait", "--json")
    assert resumed.returncode == 0, resumed.stderr
    rest = running.materialised(*running.runs(json.loads(resumed.stdout)["backfill_id"]))
    assert set((done + rest).values()) == {1}
    assert len(done + rest) == WINDOWS
    assert following.find(running.instance, backfill_id).status.value == "CANCELED"
    assert [(row.source > 0, row.is_equal) for row in running.compare("initech", start, end) if row.table == TABLE] == [
        (True, True)
    ]

    again = running.backfill("cancel", backfill_id)
    assert again.returncode == 2
    assert again.stderr == (f"Error: backfill {backfill_id} has ended (CANCELED); there is nothing to stop\n")
    nothing_left = running.backfill("resume", backfill_id)
    assert (nothing_left.returncode, nothing_left.stderr.count("\n")) == (2, 1)
    assert "nothing left to do" in nothing_left.stderr


def _seconds_of_starting(running: Running) -> float:
    """What a call costs before it does anything: starting Python, opening the instance."""
    began = time.time()
    assert running.backfill("cancel", "nosuch").returncode == 2
    return time.time() - began
