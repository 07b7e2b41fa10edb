"""Runs on real workers: executed, cancelled, handed back, and lost with the worker that executed them."""

import json
import os
import signal
import time
from base64 import b64decode
from collections.abc import Iterator
from functools import partial
from typing import cast

import psutil
import pytest
from dagster import DagsterRun, DagsterRunStatus
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import WorkerStatus
from redis import Redis

from backfill_assets_tests.celery.installation import Installation, Worker, installed
from backfill_assets_tests.end_to_end.running import until

STOPPED_SECONDS = 20.0
NOTICED_SECONDS = 30.0
ROUND_SECONDS = 1.0
"""How often tests ask after a run; Dagster does every few seconds."""


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installed(tmp_path_factory.mktemp("celery")) as installation:
        yield installation


@pytest.fixture(scope="module")
def worker(installation: Installation) -> Iterator[Worker]:
    """One that executes one run at a time."""
    with installation.worker("--concurrency", "1", "--queue", "kept") as worker:
        yield worker


def begin(installation: Installation, queue: str = "dagster") -> DagsterRun:
    """Launch the slow job and wait until it is in the middle of its work."""
    run = installation.launch("slow", queue)
    until("a few commits", lambda: len(installation.diary(run)) > 2)
    return run


def settled(installation: Installation, run: DagsterRun) -> DagsterRunStatus:
    """How a run ends; what it had begun is not gone on with."""
    until("the end of the run", lambda: installation.status(run) not in (_STARTED, _CANCELING))
    written = len(installation.diary(run))
    time.sleep(1)
    assert len(installation.diary(run)) == written
    return installation.status(run)


_STARTED, _CANCELING = DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING


def has_succeeded(installation: Installation, run: DagsterRun) -> bool:
    return installation.status(run) is DagsterRunStatus.SUCCESS


def test_each_run_has_a_process_of_its_own_forked_from_the_worker(installation: Installation, worker: Worker) -> None:
    processes = set()
    for _ in range(2):
        run = installation.launch("quick", "kept")
        until("the run to succeed", partial(has_succeeded, installation, run))
        [line] = installation.diary(run)
        _, process, _, parent = line.split()
        assert int(parent) == worker.process.pid
        processes.add(process)
    assert len(processes) == 2


@pytest.mark.usefixtures("worker")
def test_a_cancelled_run_stops_between_two_commits(installation: Installation) -> None:
    run = begin(installation, "kept")
    assert installation.health(run).status is WorkerStatus.RUNNING
    began = time.monotonic()
    assert installation.launcher.terminate(run.run_id)
    assert settled(installation, run) is DagsterRunStatus.CANCELED
    assert time.monotonic() - began < STOPPED_SECONDS
    assert "DagsterExecutionInterruptedError" in installation.errors(run)
    assert not installation.launcher.terminate(run.run_id)


@pytest.mark.usefixtures("worker")
def test_a_run_that_dagster_has_given_up_stops_by_itself(installation: Installation) -> None:
    """As when a worker lost its broker, and its run was started anew elsewhere."""
    run = begin(installation, "kept")
    installation.instance.report_run_failed(run, "lost")
    until("the process to hear it", lambda: "already in a failure state" in installation.events(run))
    assert settled(installation, run) is DagsterRunStatus.FAILURE


@pytest.mark.usefixtures("worker")
def test_a_run_that_has_ended_already_is_not_executed(installation: Installation) -> None:
    run = begin(installation, "kept")
    second = installation.launch("quick", "kept")
    installation.instance.report_run_failed(second, "took too long to start")
    cancelled = installation.launch("quick", "kept")
    assert installation.launcher.terminate(cancelled.run_id)
    installation.launcher.terminate(run.run_id)
    until("the worker to drop it", lambda: installation.status(cancelled) is DagsterRunStatus.CANCELED)
    assert not installation.diary(cancelled) + installation.diary(second)
    assert installation.status(second) is DagsterRunStatus.FAILURE


@pytest.mark.usefixtures("worker")
def test_code_that_a_worker_cannot_load_fails_the_run(installation: Installation) -> None:
    run = installation.launch("quick", "kept", module="no_such_module")
    until("the run to fail", lambda: installation.status(run) is DagsterRunStatus.FAILURE)
    assert "No module named 'no_such_module'" in installation.errors(run)


def test_a_run_waits_for_a_worker_that_takes_its_queue(installation: Installation, worker: Worker) -> None:
    waiting = installation.launch("quick", "big")
    other = installation.launch("quick", "kept")
    until("the other run to succeed", lambda: installation.status(other) is DagsterRunStatus.SUCCESS)
    assert installation.status(waiting) is DagsterRunStatus.STARTING
    found = installation.instance.get_run_by_id(waiting.run_id)
    assert found is not None
    assert "waits in queue big" in str(installation.launcher.get_run_worker_debug_info(found))
    with installation.worker("--concurrency", "1", "--queue", "big", "--queue", "dagster"):
        until("the run to succeed", lambda: installation.status(waiting) is DagsterRunStatus.SUCCESS)
    assert worker.process.poll() is None


def test_a_busy_worker_leaves_the_next_run_to_an_idle_one(installation: Installation) -> None:
    options = ("--concurrency", "1", "--queue", "shared")
    with installation.worker(*options), installation.worker(*options):
        for _ in range(2):
            run = begin(installation, "shared")
            quick = [installation.launch("quick", "shared") for _ in range(3)]
            for each in quick:
                until("the idle worker", partial(has_succeeded, installation, each), timeout=30)
            assert installation.status(run) is _STARTED
            installation.launcher.terminate(run.run_id)


def test_a_run_whose_worker_was_killed_is_called_failed_within_seconds(installation: Installation) -> None:
    # Beside it another one, which knows nothing of the run.
    with installation.worker("--concurrency", "1") as worker, installation.worker("--concurrency", "1", "--queue", "b"):
        run = begin(installation)
        broker = Redis.from_url(installation.redis.url)
        # What it may hand out a second time.
        assert not broker.hlen("backfill_assets:unacked")
        began = time.monotonic()
        children = worker.kill_only_the_parent()
        until("the death to be noticed", lambda: _is_lost(installation, run), timeout=NOTICED_SECONDS)
        print(f"noticed after {time.monotonic() - began:.1f} s")
        _, alive = psutil.wait_procs(children, timeout=5)
        assert not alive
        # The broker does not hand it out again: the one who starts it anew is Dagster.
        assert not Redis.from_url(installation.redis.url).llen("backfill_assets:dagster")
        assert installation.status(run) is _STARTED


def _is_lost(installation: Installation, run: DagsterRun) -> bool:
    time.sleep(ROUND_SECONDS)
    health = installation.health(run)
    return (health.status, health.msg) == (WorkerStatus.FAILED, "the Celery worker that executed it is gone")


def test_a_run_whose_process_alone_was_killed_is_called_failed(installation: Installation) -> None:
    with installation.worker("--concurrency", "2") as worker:
        run = begin(installation)
        [process] = installation.processes(run)
        assert process in [child.pid for child in psutil.Process(worker.process.pid).children()]
        os.kill(process, signal.SIGKILL)
        until("the death to be noticed", lambda: _is_lost(installation, run), timeout=NOTICED_SECONDS)
        next_run = installation.launch("quick")
        until("the worker to go on", lambda: installation.status(next_run) is DagsterRunStatus.SUCCESS)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_is_told_to_end_hands_its_runs_back(installation: Installation, number: signal.Signals) -> None:
    with installation.worker("--concurrency", "1") as worker:
        run = begin(installation)
        began = time.monotonic()
        assert worker.end(number) == 0
        assert time.monotonic() - began < STOPPED_SECONDS
    assert settled(installation, run) is DagsterRunStatus.FAILURE
    # Which Dagster retries: it is no failure of a step.
    assert "Execution was interrupted unexpectedly" in installation.events(run)


def test_a_broker_that_is_away_for_a_while_costs_nothing(installation: Installation) -> None:
    with installation.worker("--concurrency", "2"):
        run = begin(installation)
        installation.redis.stop()
        assert installation.health(run).msg == "the broker cannot be reached"
        assert installation.health(run).status is WorkerStatus.RUNNING
        with pytest.raises(DagsterUserCodeUnreachableError, match=r"redis://:\*\*@127.0.0.1"):
            installation.launch("quick")
        installation.redis.start()
        began = time.monotonic()
        while time.monotonic() - began < 12:
            assert installation.health(run).status is WorkerStatus.RUNNING
            time.sleep(ROUND_SECONDS)
        assert installation.status(run) is _STARTED
        next_run = installation.launch("quick")
        until("the worker to be back", lambda: installation.status(next_run) is DagsterRunStatus.SUCCESS)
        assert installation.launcher.terminate(run.run_id)
        assert settled(installation, run) is DagsterRunStatus.CANCELED


def test_only_the_id_of_a_run_goes_through_the_broker(installation: Installation) -> None:
    run = installation.launch("quick", "nobodys")
    store = Redis.from_url(installation.redis.url)
    keys = cast(list[bytes], store.keys("*"))
    assert all(key.startswith(b"backfill_assets:") for key in keys)
    [message] = store.lrange("backfill_assets:nobodys", 0, -1)
    body = json.loads(b64decode(json.loads(message)["body"]))
    assert body[:2] == [[run.run_id], {}]
    assert not [key for key in keys if b"celery-task-meta" in key]
