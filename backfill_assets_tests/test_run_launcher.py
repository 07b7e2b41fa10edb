"""Whether the process of a run is alive, as the instance's log of it tells."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import dagster as dg
import pytest
from dagster import DagsterRun
from dagster._core.events import EngineEventData
from dagster._core.launcher.base import WorkerStatus
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.storage.tags import GRPC_INFO_TAG

from backfill_assets.run_launcher import LONGEST_WAIT_FOR_CODE, ProcessRunLauncher
from backfill_assets.sandbox.ports import free_port


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def launcher(instance: dg.DagsterInstance) -> ProcessRunLauncher:
    launcher = ProcessRunLauncher()
    launcher.register_instance(instance)
    return launcher


@pytest.fixture
def child() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def start_run(
    instance: dg.DagsterInstance, *pids: int, host: str = "localhost", origin: RemoteJobOrigin | None = None
) -> DagsterRun:
    """A run whose processes with these numbers logged themselves now."""
    job = dg.JobDefinition(graph_def=dg.GraphDefinition(name="job"))
    tags = {GRPC_INFO_TAG: json.dumps({"host": host, "port": 1})}
    run = instance.create_run_for_job(job, tags=tags, remote_job_origin=origin)
    for pid in pids:
        instance.report_engine_event("started", run, EngineEventData.in_process(pid))
    return run


def test_run_monitoring_is_told_that_it_may_ask(launcher: ProcessRunLauncher) -> None:
    assert launcher.supports_check_run_worker_health


def test_a_living_process_is_running(instance: dg.DagsterInstance, launcher: ProcessRunLauncher) -> None:
    run = start_run(instance, os.getpid())
    assert launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING


def test_a_run_that_logged_no_process_yet_is_running(
    instance: dg.DagsterInstance, launcher: ProcessRunLauncher
) -> None:
    assert launcher.check_run_worker_health(start_run(instance)).status is WorkerStatus.RUNNING


def test_a_process_that_is_gone_has_failed(
    instance: dg.DagsterInstance, launcher: ProcessRunLauncher, child: subprocess.Popen[str]
) -> None:
    run = start_run(instance, child.pid)
    assert launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING
    child.kill()
    child.wait()
    health = launcher.check_run_worker_health(run)
    assert (health.status, health.msg) == (
        WorkerStatus.FAILED,
        f"the process of the run (pid {child.pid}) is gone",
    )


def test_a_process_that_died_and_was_not_collected_has_failed(
    instance: dg.DagsterInstance, launcher: ProcessRunLauncher, child: subprocess.Popen[str]
) -> None:
    run = start_run(instance, child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert launcher.check_run_worker_health(run).status is WorkerStatus.FAILED


def test_a_run_lives_as_long_as_one_of_its_processes(
    instance: dg.DagsterInstance, launcher: ProcessRunLauncher, child: subprocess.Popen[str]
) -> None:
    run = start_run(instance, child.pid, os.getpid())
    child.kill()
    child.wait()
    assert launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING


def test_a_process_younger_than_the_event_is_another_one_with_the_same_number(
    instance: dg.DagsterInstance, launcher: ProcessRunLauncher, child: subprocess.Popen[str]
) -> None:
    run = start_run(instance)
    # As after a reboot: the run logged this number an hour ago, and now it belongs to somebody else.
    entry = dg.EventLogEntry(  # type: ignore[no-untyped-call]
        error_info=None,
        level=20,
        user_message="started",
        run_id=run.run_id,
        timestamp=time.time() - 3600,
        job_name="job",
        dagster_event=dg.DagsterEvent(
            event_type_value=dg.DagsterEventType.ENGINE_EVENT.value,
            job_name="job",
            event_specific_data=EngineEventData.in_process(child.pid),
        ),
    )
    instance.handle_new_event(entry)
    assert launcher.check_run_worker_health(run).status is WorkerStatus.FAILED


def test_a_run_of_a_code_server_elsewhere_is_taken_as_running(
    instance: dg.DagsterInstance, launcher: ProcessRunLauncher, child: subprocess.Popen[str]
) -> None:
    run = start_run(instance, child.pid, host="code-server.internal")
    child.kill()
    child.wait()
    assert launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING


def test_a_dead_run_waits_a_while_for_its_dead_code_server(instance: dg.DagsterInstance) -> None:
    """Dagster tries once to launch the retry; without the code it would give the run up."""
    now = 100.0
    launcher = ProcessRunLauncher(clock=lambda: now)
    launcher.register_instance(instance)
    code = GrpcServerCodeLocationOrigin(host="localhost", port=free_port(), location_name="code")
    origin = RemoteJobOrigin(RemoteRepositoryOrigin(code, "repository"), "job")
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    run = start_run(instance, process.pid, origin=origin)

    assert launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING
    now += LONGEST_WAIT_FOR_CODE - 1
    assert launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING
    now += 1
    assert launcher.check_run_worker_health(run).status is WorkerStatus.FAILED
