"""Backfills whose runs are executed by a Celery worker, on the real stack with a real Redis."""

import json
import time
from collections.abc import Iterator

import psutil
import pytest
from dagster import DagsterRun, DagsterRunStatus

from backfill_assets import following
from backfill_assets.sandbox.stack import WORKER
from backfill_assets_tests.end_to_end.conftest import RUNS_AT_ONCE, SERVICE, started
from backfill_assets_tests.end_to_end.running import Running, until
from backfill_assets_tests.end_to_end.test_dying import TABLES, die_and_resume

pytestmark = [pytest.mark.own_stack, pytest.mark.timeout(400)]

SPAN = ("2024-01-07", "2024-03-03")
WEEKS = 8
TABLE = "company/contacts"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A stack whose runs go through Celery."""
    with started(tmp_path_factory.mktemp("celery"), SERVICE, runs_at_once=RUNS_AT_ONCE, celery=True) as running:
        yield running


def test_a_worker_executes_a_backfill(running: Running) -> None:
    start, end = SPAN
    target = ("--tenant-id", "acme", "--service", "connectwise", "--start-date", start, "--end-date", end)
    ended = running.backfill("trigger", *target, "--wait", "--json")
    assert ended.returncode == 0, ended.stderr
    runs = running.runs(json.loads(ended.stdout.splitlines()[0])["backfill_id"])
    assert len(running.materialised(*runs)) == TABLES * WEEKS
    assert all(row.source and row.is_equal for row in running.compare("acme", start, end))
    children = {pid for run in runs for pid in running.pids(run)}
    assert children
    assert str(running.stack.redis.port) in running.stack.supervisor.log(WORKER).read_text()


def test_a_killed_worker_is_noticed_and_the_next_one_does_the_rest(running: Running) -> None:
    def kill(run: DagsterRun) -> None:
        """As losing its machine does, with another one started in its place."""
        worker = psutil.Process(running.stack.supervisor.pid(WORKER))
        children = worker.children()
        assert {child.pid for child in children} >= set(running.pids(run))
        for process in (worker, *children):
            process.kill()
        until("the death of the worker", lambda: not running.stack.supervisor.is_running(WORKER))
        assert running.stack.supervisor.revive() == [WORKER]

    die_and_resume(running, "globex", SPAN, kill)


def test_a_cancelled_backfill_stops_at_a_commit(running: Running) -> None:
    start, end = SPAN
    slow = running.fault(kind="timeout", seconds=2, tenant="initech", table=TABLE, **{"from": start, "to": end})
    backfill_id = running.trigger("initech", "--start-date", start, "--end-date", end, "--table-name", TABLE)
    until("a commit", lambda: running.materialised(*running.runs(backfill_id)))
    began = time.monotonic()
    stopped = running.backfill("cancel", backfill_id, "--json")
    print(f"cancelled after {time.monotonic() - began:.1f} s, the command's start included")
    assert stopped.returncode == 0, stopped.stderr
    assert {run.status for run in running.runs(backfill_id)} == {DagsterRunStatus.CANCELED}
    running.clear_fault(slow)
    done = running.materialised(*running.runs(backfill_id))
    assert 0 < len(done) < WEEKS
    resumed = running.backfill("resume", backfill_id, "--wait", "--json")
    assert resumed.returncode == 0, resumed.stderr
    rest = running.materialised(*running.runs(json.loads(resumed.stdout)["backfill_id"]))
    assert set((done + rest).values()) == {1}
    assert len(done + rest) == WEEKS
    assert following.find(running.instance, backfill_id).status.value == "CANCELED"
