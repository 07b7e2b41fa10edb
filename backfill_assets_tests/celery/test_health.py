"""What the launcher says of a run when it has asked the workers; the workers and the clock are the test's."""

from collections.abc import Set

import pytest
from dagster import DagsterInstance, DagsterRun, GraphDefinition, JobDefinition
from dagster._core.launcher import WorkerStatus
from kombu.exceptions import OperationalError

from backfill_assets.celery_run_launcher import LOST_SECONDS, RECONNECT_SECONDS, WorkerRunLauncher

RUNNING, FAILED = WorkerStatus.RUNNING, WorkerStatus.FAILED


class Asked(WorkerRunLauncher):
    """A launcher whose workers answer what the test says; None: the broker is away."""

    def __init__(self) -> None:
        super().__init__(broker="redis://:secret@localhost", clock=lambda: self.now)
        self.now = 100.0
        self.known: Set[str] | None = frozenset()

    def _ask_workers(self) -> Set[str]:
        if self.known is None:
            raise OperationalError("refused")
        return self.known


@pytest.fixture
def run() -> DagsterRun:
    with DagsterInstance.ephemeral() as instance:
        return instance.create_run_for_job(JobDefinition(graph_def=GraphDefinition(name="job")))


@pytest.fixture
def launcher() -> Asked:
    return Asked()


def test_a_run_that_a_worker_executes_is_running(launcher: Asked, run: DagsterRun) -> None:
    launcher.known = {run.run_id}
    assert launcher.check_run_worker_health(run).status is RUNNING


def test_a_run_that_no_worker_knows_of_is_lost_after_a_while(launcher: Asked, run: DagsterRun) -> None:
    """One answer that came too late must not start a run a second time."""
    assert launcher.check_run_worker_health(run).status is RUNNING
    launcher.now += LOST_SECONDS - 0.1
    assert launcher.check_run_worker_health(run).status is RUNNING
    launcher.now += 0.1
    assert launcher.check_run_worker_health(run).status is FAILED


def test_a_run_that_is_known_again_is_not_lost(launcher: Asked, run: DagsterRun) -> None:
    launcher.check_run_worker_health(run)
    launcher.now += LOST_SECONDS - 1
    launcher.known = {run.run_id}
    launcher.check_run_worker_health(run)
    launcher.now += 2
    launcher.known = frozenset()
    assert launcher.check_run_worker_health(run).status is RUNNING


def test_nobody_is_lost_while_the_broker_is_away_nor_right_after(launcher: Asked, run: DagsterRun) -> None:
    launcher.check_run_worker_health(run)
    launcher.known = None
    launcher.now += 3600
    assert launcher.check_run_worker_health(run).status is RUNNING
    launcher.known = frozenset()
    assert launcher.check_run_worker_health(run).status is RUNNING
    launcher.now += RECONNECT_SECONDS - 0.1
    assert launcher.check_run_worker_health(run).status is RUNNING
    launcher.now += 0.1
    assert launcher.check_run_worker_health(run).status is FAILED


def test_no_password_is_shown(launcher: Asked) -> None:
    assert launcher.address == "redis://:**@localhost/"
