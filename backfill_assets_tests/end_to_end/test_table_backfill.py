"""Jobs of a platform's queue, from the row to the rows, on the real stack."""

import json
import os
import re
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterRun, DagsterRunStatus, RunsFilter

from backfill_assets import following
from backfill_assets.launching import ACTIVE
from backfill_assets.sandbox.stack import DAEMON
from backfill_assets.sandbox.tables.source import MAKE
from backfill_assets_tests.end_to_end.moving import LAKE, MART, PLATFORM, ROWS, SOURCE, Platform
from backfill_assets_tests.end_to_end.running import Running, until

pytestmark = pytest.mark.timeout(400)

DOCUMENT = Path(__file__).parents[2] / "docs" / "table_backfill.md"


@pytest.fixture
def platform(running: Running) -> Platform:
    """The platform beside the stack, once the histories with which it starts leave the slots to others."""
    instance = running.instance
    until("the end of the histories", lambda: not following.backfills(instance, {}, statuses=ACTIVE), timeout=300)
    return Platform(running=running)


def runs_of(platform: Platform, job_id: int) -> list[DagsterRun]:
    """The runs of a job, oldest first."""
    tags = {"backfill/domain": "table_backfill", "dagster/partition": str(job_id)}
    return list(platform.running.instance.get_runs(RunsFilter(tags=tags)))[::-1]


def test_a_row_in_the_queue_becomes_rows_at_every_destination(platform: Platform) -> None:
    job = platform.queue()
    row = platform.ended(job)
    assert row == {
        "status": "COMPLETED",
        "count_record": ROWS,
        "total_record": ROWS,
        "is_error": False,
        "error_message": None,
        "resume_attempts": 0,
    }
    assert platform.rows(LAKE) == platform.rows(SOURCE)
    assert platform.rows(MART, "eu_orders") == platform.rows(SOURCE, where="region = 'eu'")
    [run] = runs_of(platform, job)
    until("the end of the run", lambda: platform.running.status(run) is DagsterRunStatus.SUCCESS)
    assert run.tags["dagster/run_key"] == f"{job}:0"
    assert platform.running.materialised(run) == Counter({("table_rows", str(job)): 1})


def test_a_filter_with_a_quote_in_it_chooses_its_rows(platform: Platform) -> None:
    """The engine before ended with a parser error."""
    platform.sql(LAKE, "DROP TABLE IF EXISTS orders")
    job = platform.queue("customer = 'O'Brien 7';amount > 1")
    assert platform.ended(job)["status"] == "COMPLETED"
    assert platform.rows(LAKE) == platform.rows(SOURCE, where="customer = 'O''Brien 7'")


def test_groups_with_or_end_with_exactly_their_rows(platform: Platform) -> None:
    """The engine before never ended, since an OR slipped out of its conditions."""
    platform.sql(LAKE, "DROP TABLE IF EXISTS orders")
    condition = '{"column": "id", "operator": "=", "value": "%s"}'
    conditions = ", ".join(condition % number for number in (5, 2900))
    job = platform.queue(f'{{"version": 2, "groups": [{{"conditions": [{conditions}], "intraLogic": "OR"}}]}}')
    row = platform.ended(job)
    assert (row["status"], row["count_record"], row["total_record"]) == ("COMPLETED", 2, 2)
    assert platform.rows(LAKE) == platform.rows(SOURCE, where="id IN (5, 2900)")


def test_what_cannot_be_done_fails_with_its_sentence(platform: Platform) -> None:
    platform.sql(LAKE, "DROP TABLE IF EXISTS orders")
    unmade = platform.queue("id < 10", create_table=False)
    unknown = platform.queue(table="nosuch")
    hostile = platform.queue("id = 1; DROP TABLE orders")
    row = platform.ended(unmade)
    assert (row["status"], row["is_error"]) == ("FAILED", True)
    assert row["error_message"].startswith("Destination lake: ")
    assert "synchronised to no destination" in platform.ended(unknown)["error_message"]
    assert "cannot be read" in platform.ended(hostile)["error_message"]
    assert len(platform.rows(SOURCE)) == ROWS


def test_a_cancelled_job_stops_and_its_rerun_does_the_rest(platform: Platform) -> None:
    with_slow_batches(platform)
    job = platform.queue("id > 0")
    until("a batch", lambda: platform.row(job)["count_record"] > 0)
    stopped = platform.running.backfill("cancel", f"job-{job}", "--json")
    assert stopped.returncode == 0, stopped.stderr
    [run] = runs_of(platform, job)
    until("the end of the run", lambda: platform.running.status(run).value in ("FAILURE", "SUCCESS"))
    halted = platform.row(job)
    assert halted["status"] == "CANCELLED"
    assert 0 < halted["count_record"] < ROWS
    there = len(platform.rows(LAKE))
    assert there >= halted["count_record"]
    time.sleep(6)
    assert len(platform.rows(LAKE)) == there, "a cancelled job goes on"
    without_slow_batches(platform)
    resumed = platform.running.backfill("resume", f"job-{job}", "--wait", "--json")
    assert resumed.returncode == 0, resumed.stderr
    assert platform.row(job)["count_record"] == ROWS
    assert platform.rows(LAKE) == platform.rows(SOURCE)


def test_a_killed_run_is_taken_up_again_where_it_was(platform: Platform) -> None:
    with_slow_batches(platform)
    job = platform.queue("id > 0;amount >= 0")
    until("a batch", lambda: platform.row(job)["count_record"] > 0)
    [run] = runs_of(platform, job)
    for pid in platform.running.pids(run):
        os.kill(pid, signal.SIGKILL)
    until("the end of the run", lambda: platform.running.status(run) is DagsterRunStatus.FAILURE)
    without_slow_batches(platform)
    row = platform.ended(job)
    assert (row["status"], row["count_record"], row["resume_attempts"]) == ("COMPLETED", ROWS, 1)
    assert platform.rows(LAKE) == platform.rows(SOURCE)
    _, second = runs_of(platform, job)
    assert second.tags["dagster/run_key"] == f"{job}:1"


def test_a_run_terminated_in_dagster_is_a_cancelled_job(platform: Platform) -> None:
    with_slow_batches(platform)
    job = platform.queue("id > 0;amount >= 0.0")
    until("a batch", lambda: platform.row(job)["count_record"] > 0)
    [run] = runs_of(platform, job)
    platform.graphql("mutation($id: String!) { terminateRun(runId: $id) { __typename } }", id=run.run_id)
    row = platform.ended(job)
    assert (row["status"], row["resume_attempts"]) == ("CANCELLED", 0)
    assert 0 < len(platform.rows(LAKE)) < ROWS


def test_no_job_is_lost_while_the_daemon_is_dead(platform: Platform) -> None:
    platform.sql(LAKE, "DROP TABLE IF EXISTS orders")
    supervisor = platform.running.stack.supervisor
    first = platform.queue("id < 100")
    os.kill(supervisor.pid(DAEMON), signal.SIGKILL)
    until("the death of the daemon", lambda: not supervisor.is_running(DAEMON))
    second = platform.queue("id < 200")
    assert supervisor.revive() == [DAEMON]
    for job, count in ((first, 99), (second, 199)):
        row = platform.ended(job)
        assert (row["status"], row["count_record"]) == ("COMPLETED", count)
        assert len(runs_of(platform, job)) == 1


def test_the_guides_graphql_starts_lists_shows_cancels_and_deletes(platform: Platform) -> None:
    """Every query of the guide, in its order."""
    found = re.findall(r"```graphql\n# (\w+)\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    queries: dict[str, str] = dict(found)
    assert list(queries) == ["start", "list", "show", "cancel", "delete"]
    with_slow_batches(platform)
    [example] = re.findall(r"```json\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    before = newest(platform)
    launched = platform.graphql(queries["start"], config=json.loads(example))["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    job = until("the job", lambda: added if (added := newest(platform)) > before else 0)
    [listed] = until("a run of the job", lambda: matching(platform.graphql(queries["list"]), job))
    shown = platform.graphql(queries["show"], runId=listed["runId"])["runOrError"]
    assert (shown["__typename"], shown["runId"]) == ("Run", listed["runId"])
    until("a batch", lambda: platform.row(job)["count_record"] > 0)
    assert platform.graphql(queries["cancel"], runId=listed["runId"])["terminateRun"]["__typename"] == (
        "TerminateRunSuccess"
    )
    assert platform.ended(job)["status"] == "CANCELLED"
    deleted = platform.graphql(queries["delete"], runId=listed["runId"])["deleteRun"]
    assert deleted == {"__typename": "DeletePipelineRunSuccess", "runId": listed["runId"]}
    assert not runs_of(platform, job)


def newest(platform: Platform) -> int:
    """The id of the newest job."""
    [(job_id,)] = platform.sql(PLATFORM, "SELECT coalesce(max(id), 0) FROM queue_backfill_data")
    return int(job_id)


def matching(listed: dict[str, Any], job: int) -> list[dict[str, Any]]:
    """The runs of a job among those listed."""
    return [
        run
        for run in listed["runsOrError"]["results"]
        if {"key": "dagster/partition", "value": str(job)} in run["tags"]
    ]


@pytest.mark.proof
@pytest.mark.timeout(1200)
def test_fifty_jobs_at_once_all_end_with_their_rows(platform: Platform) -> None:
    platform.sql(LAKE, "DROP TABLE IF EXISTS orders")
    jobs = [platform.queue(f"id > {number * 60};id <= {number * 60 + 60}") for number in range(50)]
    assert {platform.ended(job, timeout=1000)["status"] for job in jobs} == {"COMPLETED"}
    assert platform.rows(LAKE) == platform.rows(SOURCE)
    assert {len(runs_of(platform, job)) for job in jobs} == {1}


def with_slow_batches(platform: Platform) -> None:
    """An empty table at the first destination that takes a second for a batch, so that there is time to interrupt."""
    platform.sql(LAKE, "DROP TABLE IF EXISTS orders")
    platform.sql(LAKE, MAKE)
    body = "BEGIN PERFORM pg_sleep(0.002); RETURN NEW; END"
    platform.sql(LAKE, f"CREATE OR REPLACE FUNCTION take_time() RETURNS trigger LANGUAGE plpgsql AS $${body}$$")
    platform.sql(LAKE, "CREATE TRIGGER slowly BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION take_time()")


def without_slow_batches(platform: Platform) -> None:
    """The same table as quick as any."""
    platform.sql(LAKE, "DROP TRIGGER slowly ON orders")
