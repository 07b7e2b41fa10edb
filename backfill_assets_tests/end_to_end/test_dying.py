"""Processes killed in the middle of a backfill: noticed, resumed without doing anything twice, and nothing is lost."""

import json
import os
import signal
import time
from collections.abc import Callable

from dagster import DagsterRun, DagsterRunStatus

from backfill_assets import following
from backfill_assets.sandbox.stack import CODE_SERVER
from backfill_assets_tests.end_to_end.running import Running, finish, until

NOTICED_SECONDS = 30.0
TABLES = 4


def test_a_killed_run_is_retried_and_does_only_the_rest(running: Running) -> None:
    def kill(run: DagsterRun) -> None:
        for pid in running.pids(run):
            os.kill(pid, signal.SIGKILL)

    die_and_resume(running, "acme", ("2024-01-07", "2024-03-03"), kill)


def test_a_reboot_is_noticed_and_the_rest_is_done(running: Running) -> None:
    def kill_everything(run: DagsterRun) -> None:
        """As a reboot does: run and code server are gone at once, and only the code server comes back."""
        for pid in (running.stack.supervisor.pid(CODE_SERVER), *running.pids(run)):
            os.kill(pid, signal.SIGKILL)
        until("the death of the code server", lambda: not running.stack.supervisor.is_running(CODE_SERVER))
        assert running.stack.supervisor.revive() == [CODE_SERVER]

    die_and_resume(running, "globex", ("2024-01-07", "2024-03-03"), kill_everything)


def die_and_resume(running: Running, tenant: str, span: tuple[str, str], kill: Callable[[DagsterRun], None]) -> None:
    """Kill what executes a run in the middle of a backfill; what was done is not done again, and nothing is missing."""
    start, end = span
    # Stalls the second of the two chunks of companies, so that the run is in the middle of its work.
    stalled = {"table": "company/companies", "from": "2024-02-05", "to": "2024-03-02", "times": 1}
    fault = running.fault(kind="timeout", seconds=600, tenant=tenant, **stalled)
    target = ("--tenant-id", tenant, "--service", "connectwise", "--start-date", start, "--end-date", end)
    trigger = running.start_backfill("trigger", *target, "--wait", "--json")
    assert trigger.stdout is not None
    backfill_id = json.loads(trigger.stdout.readline())["backfill_id"]
    until("the run to be in the middle of a chunk", lambda: running.hits(fault))
    (run,) = running.runs(backfill_id)
    done_before = running.materialised(run)
    assert done_before[("company_companies", f"{tenant}|2024-01-28")] == 1

    running.sandbox.delete("/_sandbox/requests").raise_for_status()
    killed_at = time.monotonic()
    kill(run)
    until("the death to be noticed", lambda: running.status(run) is DagsterRunStatus.FAILURE)
    noticed_after = time.monotonic() - killed_at
    assert noticed_after < NOTICED_SECONDS

    retry = until("the retry to succeed", lambda: running.retry_of(run))
    print(f"noticed after {noticed_after:.1f} s, the retry had succeeded after {time.monotonic() - killed_at:.1f} s")
    # Each partition once, by one run or the other; and the source was not asked again for what was done.
    assert running.materialised(run) == done_before
    assert set((done_before + running.materialised(retry)).values()) == {1}
    assert len(done_before + running.materialised(retry)) == TABLES * 8
    assert not _requests(running, tenant, "service/tickets", start)
    waited = finish(trigger)
    assert waited.returncode == 0, waited.stderr
    assert f"{TABLES * 8}/{TABLES * 8}" in waited.stderr
    assert following.has_succeeded(running.ended(backfill_id))
    assert all(row.source and row.is_equal for row in running.compare(tenant, start, end))


def _requests(running: Running, tenant: str, table: str, day: str) -> list[str]:
    """Requests for a table's records from a day on."""
    lines = running.sandbox.get("/_sandbox/requests").raise_for_status().json()["requests"]
    wanted = [f"{line['path']}?{line['query']}" for line in lines if f"/{tenant}/" in line["path"]]
    return [line for line in wanted if table in line and day in line]
