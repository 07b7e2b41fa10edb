"""Metadata fields filled on the real stack: a real product's database, a real Redis, real Celery workers."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import psutil
import pytest
from dagster import DagsterRun, DagsterRunStatus
from sqlalchemy import create_engine, text

from backfill_assets import following, launching
from backfill_assets.process_metadata.letters import DOMAIN
from backfill_assets.resources import open_wiring
from backfill_assets.sandbox.spiffworkflow.installation import DATABASE, KNOWN, MODEL, NEW
from backfill_assets.sandbox.stack import WORKER
from backfill_assets.settings import load_settings
from backfill_assets_tests.end_to_end.conftest import RUNS_AT_ONCE, SERVICE, started
from backfill_assets_tests.end_to_end.running import Running, finish, until

pytestmark = [pytest.mark.own_stack, pytest.mark.timeout(400)]

NOTICED_SECONDS = 30.0
HOLES = """
SELECT id FROM process_instance WHERE id % 20 <> 0 AND created_at_in_seconds >= :since ORDER BY created_at_in_seconds
"""
HOLD = """
INSERT INTO process_instance_metadata (process_instance_id, key, value, updated_at_in_seconds, created_at_in_seconds)
VALUES (:instance, :key, 'held', 0, 0)
"""
COUNT = "SELECT count(*), count(DISTINCT process_instance_id) FROM process_instance_metadata WHERE key = :key"
EMPTY = "DELETE FROM process_instance_metadata WHERE key = :key"
WITH_A_VALUE = 4750


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A stack with the product, whose runs go through Celery."""
    home = tmp_path_factory.mktemp("metadata")
    with started(home, SERVICE, runs_at_once=RUNS_AT_ONCE, celery=True, metadata=True, tenants=("acme",)) as running:
        yield running


def test_a_new_path_reaches_every_old_instance(running: Running) -> None:
    settings = load_settings(running.environment)
    with open_wiring(settings) as wiring:
        until("the model to be known", lambda: MODEL in wiring.fields.known())
    assert running.stack.product.filled().rows == 0
    running.stack.product.extend()
    tags = {launching.DOMAIN_TAG: DOMAIN}
    [backfill] = until("a backfill", lambda: following.backfills(running.instance, tags))
    assert following.has_succeeded(running.ended(backfill.backfill_id))
    assert running.stack.product.filled().is_whole
    (run, *_) = running.runs(backfill.backfill_id)
    # Executed by the worker, and logged as the product logs it.
    assert running.pids(run)
    assert f"celery_task_backfill_metadata[{run.run_id}]: " in running.stack.supervisor.log(WORKER).read_text()


def test_a_killed_worker_is_noticed_and_only_missing_months_are_redone(running: Running) -> None:
    with _stalled(running, year := datetime.now(UTC).year, NEW[0]):
        launched = running.start_backfill("metadata", f"{MODEL}:{NEW[0]}", "--wait", "--json")
        assert launched.stdout is not None
        backfill_id = json.loads(launched.stdout.readline())["backfill_id"]
        [run] = until("months to be done", lambda: _runs_with_commits(running, backfill_id))
        done_before = running.materialised(run)
        killed_at = time.monotonic()
        _kill_the_worker(running)
        until("the death to be noticed", lambda: running.status(run) is DagsterRunStatus.FAILURE)
        noticed_after = time.monotonic() - killed_at
    assert noticed_after < NOTICED_SECONDS
    retry = until("the retry to succeed", lambda: running.retry_of(run))
    print(f"noticed after {noticed_after:.1f} s, the retry had succeeded after {time.monotonic() - killed_at:.1f} s")
    again = running.materialised(retry)
    assert done_before
    assert not done_before.keys() & again.keys()
    assert {f"{year}-01-01" in key for _, key in again} == {True, False}
    assert finish(launched).returncode == 0
    assert running.stack.product.filled().is_whole


def test_a_cancelled_backfill_stops_at_a_commit_and_goes_on(running: Running) -> None:
    key = KNOWN[0]
    with _stalled(running, datetime.now(UTC).year, key):
        asked = running.backfill("metadata", f"{MODEL}:{key}", "--json")
        assert asked.returncode == 0, asked.stderr
        backfill_id = json.loads(asked.stdout)["backfill_id"]
        [run] = until("months to be done", lambda: _runs_with_commits(running, backfill_id))
        cancel = running.start_backfill("cancel", backfill_id, "--json")
        until("the run to hear of it", lambda: running.status(run) is not DagsterRunStatus.STARTED)
    assert finish(cancel).returncode == 0
    assert running.status(run) is DagsterRunStatus.CANCELED
    rows, _ = _count(running, key)
    assert 0 < rows < WITH_A_VALUE
    resumed = running.backfill("resume", backfill_id, "--wait", "--json")
    assert resumed.returncode == 0, resumed.stderr
    assert _count(running, key) == (WITH_A_VALUE, WITH_A_VALUE)


@contextmanager
def _stalled(running: Running, year: int, key: str) -> Iterator[None]:
    """Empty the field, and let whoever fills it wait at this year: its row is being written, and not committed."""
    engine = create_engine(running.stack.postgres.url(DATABASE))
    try:
        with engine.begin() as connection:
            connection.execute(text(EMPTY), {"key": key})
        since = int(datetime(year, 1, 1, tzinfo=UTC).timestamp())
        with engine.connect() as connection:
            instance = connection.execute(text(HOLES), {"since": since}).scalars().first()
            connection.execute(text(HOLD), {"instance": instance, "key": key})
            yield
            connection.rollback()
    finally:
        engine.dispose()


def _count(running: Running, key: str) -> tuple[int, int]:
    engine = create_engine(running.stack.postgres.url(DATABASE))
    try:
        with engine.connect() as connection:
            [(rows, instances)] = connection.execute(text(COUNT), {"key": key})
            return rows, instances
    finally:
        engine.dispose()


def _runs_with_commits(running: Running, backfill_id: str) -> list[DagsterRun]:
    runs = [run for run in running.runs(backfill_id) if running.materialised(run)]
    # Months before the stalled one are empty or few, so all of them are done at once.
    time.sleep(0.5)
    return runs


def _kill_the_worker(running: Running) -> None:
    """As losing its machine does, with another one started in its place."""
    worker = psutil.Process(running.stack.supervisor.pid(WORKER))
    for process in (worker, *worker.children()):
        process.kill()
    until("the death of the worker", lambda: not running.stack.supervisor.is_running(WORKER))
    assert running.stack.supervisor.revive() == [WORKER]
