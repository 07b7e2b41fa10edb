"""Commands about jobs of tables, on a queue in PostgreSQL; what a source holds is a stand-in."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from backfill_assets import resources
from backfill_assets.core.jobs import Claimant, JobStatus, Route, SourceServer
from backfill_assets.core.tables import Column, TableShape
from backfill_assets_tests.cli.conftest import Shell
from backfill_assets_tests.table_backfill.queues import PIPELINES, InSql, a_job, in_sql, rows_of
from backfill_assets_tests.table_backfill.shelves import Shelf, Target

ME = Claimant(engine="here", run_id="run 1")
ORDERS = TableShape(
    schema="public",
    name="orders",
    key=("id",),
    columns=(Column(name="id", type="integer"), Column(name="customer", type="text")),
)


@pytest.fixture
def platform(shell: Shell, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[InSql]:
    """A platform's database, and a source whose pipelines have two tables, one of which is not there."""

    @contextmanager
    def open_source(server: SourceServer) -> Iterator[Any]:
        assert server == PIPELINES[2].source
        yield Shelf(rows={}, shapes={"orders": ORDERS})

    monkeypatch.setenv("BACKFILL_QUEUE_DATABASE_URL", database_url)
    monkeypatch.setattr(resources, "_open_table_source", open_source)
    with in_sql(database_url) as opened:
        yield opened


def refused(shell: Shell, code: int, told: str, *arguments: str) -> None:
    result = shell.run(*arguments)
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    assert told in result.stderr.splitlines()[-1]


def test_a_table_is_queued_with_its_filters_and_options(shell: Shell, platform: InSql) -> None:
    how = ("--on-conflict", "newest", "--version-column", "id", "--create-table")
    facts = shell.json(
        "table", "2", "orders", "--filter", "customer = O'Brien", "--filter", "id IN 1, 2", "--filter",
        "id between 1 and 5", "--filter", "customer is not null", *how
    )  # fmt: skip
    assert (facts["status"], facts["pipeline_id"], facts["source_id"]) == ("PENDING", 2, 1)
    assert facts["filter_sql"] == ("customer = 'O''Brien';id IN ('1','2');id BETWEEN '1' AND '5';customer IS NOT NULL")
    assert rows_of(platform.url, "SELECT * FROM backfill_job_options") == [(facts["id"], "newest", "id", True)]
    assert shell.run("table", "2", "orders", "-q").stdout.startswith("queued job-")


def test_nonsense_is_refused_in_a_sentence_and_queues_nothing(shell: Shell, platform: InSql) -> None:
    refused(shell, 2, "Pipeline with id '9' not found", "table", "9", "orders")
    refused(shell, 2, "synchronises no table 'order'; it has orders, other", "table", "2", "order")
    refused(shell, 2, "Table 'other' does not exist in source", "table", "2", "other")
    for text, told in {
        "customer": "cannot be read; write COLUMN OPERATOR VALUE",
        "nosuch = 5": "names column 'nosuch', which table orders does not have; it has id, customer",
        "id = x": "compares id, which is integer, with 'x', which is none",
        "id IS NULL 5": "IS NULL takes no value",
        "id BETWEEN 5": "BETWEEN takes two values like 1 AND 5",
        "id IN 1,,2": "has an empty value",
    }.items():
        refused(shell, 2, told, "table", "2", "orders", "--filter", text)
    six = [part for _ in range(6) for part in ("--filter", "id = 5")]
    refused(shell, 2, "more than 5 conditions", "table", "2", "orders", *six)
    refused(shell, 2, "name the column with --version-column", "table", "2", "orders", "--on-conflict", "newest")
    refused(shell, 2, "only with --on-conflict newest", "table", "2", "orders", "--version-column", "id")
    newest = ("--on-conflict", "newest", "--version-column", "nosuch")
    refused(shell, 2, "has no column 'nosuch'", "table", "2", "orders", *newest)
    assert platform.queue.jobs() == []


def test_tables_and_columns_that_can_be_queued_are_listed(shell: Shell, platform: InSql) -> None:
    columns = [{"name": "id", "type": "integer"}, {"name": "customer", "type": "text"}]
    assert shell.json("tables", "2") == [
        {"table": "orders", "exists": True, "key": ["id"], "columns": columns},
        {"table": "other", "exists": False, "key": [], "columns": []},
    ]
    assert "not there at the source" in shell.run("tables", "2").stdout
    refused(shell, 2, "Pipeline with id '9' not found", "tables", "9")


def test_jobs_are_listed_newest_first_and_by_status(shell: Shell, platform: InSql) -> None:
    platform.put(a_job(1))
    platform.put(a_job(2, pipeline_id=2, status=JobStatus.FAILED))
    assert [job["id"] for job in shell.json("jobs")] == [2, 1]
    assert [job["id"] for job in shell.json("jobs", "--status", "failed")] == [2]
    assert [job["id"] for job in shell.json("jobs", "--pipeline", "1")] == [1]
    assert "job-1" in shell.run("jobs").stdout
    refused(shell, 2, "Pipeline with id '9' not found", "jobs", "--pipeline", "9")


def test_a_job_is_cancelled_resumed_and_removed(shell: Shell, platform: InSql) -> None:
    platform.put(a_job())
    platform.queue.claim(7, ME)
    platform.queue.advance(7, ME, rows=500, total=2500)
    refused(shell, 2, "Cannot delete job that is currently executing. Cancel it first.", "delete", "job-7")
    [standing] = shell.json("status", "job-7")
    assert (standing["status"], standing["count_record"], standing["total_record"]) == ("EXECUTING", 500, 2500)
    assert shell.json("cancel", "job-7")["status"] == "CANCELLED"
    refused(shell, 2, "Cannot cancel job with status CANCELLED", "cancel", "job-7")
    assert shell.json("resume", "job-7")["status"] == "PENDING"
    refused(shell, 2, "Cannot resume job with status PENDING", "resume", "job-7")
    assert shell.json("delete", "job-7")["job_id"] == 7
    assert platform.queue.find(7) is None
    for command in ("delete", "status", "cancel", "resume"):
        refused(shell, 2, "backfill jobs` lists those that there are", command, "job-7")
    for text in ("job-x", "job-", "job-٣"):
        refused(shell, 2, "is no id of a job; write it like job-7", "delete", text)


def test_watching_a_job_that_failed_ends_with_its_reason(shell: Shell, platform: InSql) -> None:
    platform.put(a_job())
    platform.queue.claim(7, ME)
    platform.queue.fail(7, ME, "there is no table")
    result = shell.run("status", "job-7", "--watch")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == "Error: job-7 ended FAILED: there is no table"


def test_a_table_is_compared_again_and_queued_where_it_differs(
    shell: Shell, platform: InSql, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = Target(rows={1: "eu"})

    @contextmanager
    def open_destination(route: Route) -> Iterator[Any]:
        yield target

    @contextmanager
    def open_source(server: SourceServer) -> Iterator[Any]:
        yield Shelf(rows={1: "eu", 2: "us"}, shapes={"orders": ORDERS})

    monkeypatch.setattr(resources, "_open_table_source", open_source)
    monkeypatch.setattr(resources, "_open_table_destination", open_destination)
    result = shell.run("reconcile", "table", "2", "orders", "--json")
    assert result.exit_code == 1
    assert "lake: (start, 2]: 1 missing, 0 different" in result.stderr
    [facts] = json.loads(result.stdout)
    assert (facts["is_equal"], facts["source_rows"], facts["ranges"][0]["missing"]) == (False, 2, 1)
    assert platform.queue.jobs() == []
    assert "queued job-1" in shell.run("reconcile", "table", "2", "orders", "--repair").stderr
    assert [job.table_name for job in platform.queue.pending()] == ["orders"]
    target.rows[2] = "us"
    [facts] = shell.json("reconcile", "table", "2", "orders")
    assert facts["is_equal"]
    [facts] = shell.json("reconcile", "table", "2", "orders", "--filter", "id = 1")
    assert facts["source_rows"] == 1
    for arguments, told in {
        ("9", "orders"): "Pipeline with id '9' not found",
        ("2", "nosuch"): "does not exist in source",
        ("2", "orders", "--filter", "id = x"): "compares id",
    }.items():
        refused(shell, 2, told, "reconcile", "table", *arguments)


def test_init_makes_what_a_new_installation_lacks_and_touches_nothing_else(
    shell: Shell, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKFILL_QUEUE_DATABASE_URL", database_url)
    refused(shell, 1, "run `backfill init`", "jobs")
    first = shell.json("init")
    assert set(first["created"]) >= {"queue_backfill_data", "backfill_job_options", "backfill_job_claims", "sources"}
    before = json.dumps(rows_of(database_url, "SELECT table_name, column_name FROM information_schema.columns"))
    assert shell.json("init")["created"] == []
    assert json.dumps(rows_of(database_url, "SELECT table_name, column_name FROM information_schema.columns")) == before
    assert shell.json("jobs") == []


def test_without_a_queue_it_says_how_to_switch_it_on(shell: Shell) -> None:
    for command in (("jobs",), ("table", "1", "orders"), ("cancel", "job-1"), ("delete", "1")):
        refused(shell, 1, "table backfill is switched off; set BACKFILL_QUEUE_DATABASE_URL", *command)


def test_a_queue_that_is_away_is_a_sentence_without_its_password(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKFILL_QUEUE_DATABASE_URL", "postgresql://me:hidden@127.0.0.1:1/platform")
    result = shell.run("jobs")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: The queue (PostgreSQL at 127.0.0.1:1/platform) did not answer")
    assert "hidden" not in result.output
