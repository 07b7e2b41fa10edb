"""Stopping backfills and their runs, and knowing whether anybody carries them out."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus
from dagster._core.instance.types import InstanceType
from dagster._core.launcher.sync_in_memory_run_launcher import SyncInMemoryRunLauncher
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.run_coordinator import RunCoordinator, SubmitRunContext
from dagster._core.storage.event_log import InMemoryEventLogStorage
from dagster._core.storage.noop_compute_log_manager import NoOpComputeLogManager
from dagster._core.storage.root import LocalArtifactStorage
from dagster._core.storage.runs import InMemoryRunStorage
from dagster._core.storage.tags import BACKFILL_ID_TAG
from dagster._daemon.types import DaemonHeartbeat
from dagster_shared.error import DagsterError

from backfill_assets.errors import TransientError, UsageError
from backfill_assets.following import find, has_succeeded, is_daemon_alive
from backfill_assets.launching import cancel
from backfill_assets_tests.test_launching import end, start

# Dagster writes queries that SQLAlchemy grumbles about.
pytestmark = pytest.mark.filterwarnings("ignore:Coercing Subquery:sqlalchemy.exc.SAWarning")


ORIGIN = RemoteJobOrigin(RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("here"), "all"), "job")
"""Where a run comes from, which every queued one must say."""


class Coordinator(RunCoordinator[dg.DagsterInstance]):
    """Stops runs at once, but for those of `lost`, whose code server is gone."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.lost: list[str] = []

    def submit_run(self, context: SubmitRunContext) -> dg.DagsterRun:
        """Nothing is submitted here."""
        return context.dagster_run

    def cancel_run(self, run_id: str) -> bool:
        """See the class."""
        if run_id in self.lost:
            raise DagsterError("no code server answers")
        run = self._instance.get_run_by_id(run_id)
        assert run is not None
        self._instance.report_run_canceled(run)
        return True


@pytest.fixture
def coordinator() -> Coordinator:
    return Coordinator()


@pytest.fixture
def instance(coordinator: Coordinator, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance in memory whose runs the coordinator stops."""
    with dg.DagsterInstance(
        instance_type=InstanceType.EPHEMERAL,
        local_artifact_storage=LocalArtifactStorage(str(tmp_path)),
        run_storage=InMemoryRunStorage(),
        event_storage=InMemoryEventLogStorage(),
        run_coordinator=coordinator,
        compute_log_manager=NoOpComputeLogManager(),
        run_launcher=SyncInMemoryRunLauncher(),
    ) as made:
        # A database in memory is not told, as a new one on disk is, that backfills can be found by their tags.
        made.run_storage.migrate()
        yield made


def run_of(instance: dg.DagsterInstance, backfill_id: str, status: str = "STARTED") -> str:
    job = dg.JobDefinition(graph_def=dg.GraphDefinition(name="job"))
    tags, at = {BACKFILL_ID_TAG: backfill_id}, dg.DagsterRunStatus[status]
    return str(instance.create_run_for_job(job, tags=tags, status=at, remote_job_origin=ORIGIN).run_id)


def status_of(instance: dg.DagsterInstance, run_id: str) -> str:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status.value


def no_sleep(_: float) -> None:
    """Let no time go by."""


def test_cancelling_asks_dagster_to_stop_it(instance: dg.DagsterInstance) -> None:
    launched = start(instance)
    assert cancel(instance, launched.backfill_id, sleep=no_sleep) == 0
    assert find(instance, launched.backfill_id).status is BulkActionStatus.CANCELING


@pytest.mark.parametrize("status", ["COMPLETED_SUCCESS", "COMPLETED_FAILED", "CANCELED", "FAILED"])
def test_one_that_has_ended_cannot_be_cancelled_and_keeps_its_status(instance: dg.DagsterInstance, status: str) -> None:
    launched = start(instance)
    end(instance, launched.backfill_id, status=status)
    with pytest.raises(UsageError, match=rf"has ended \({status}\); there is nothing to stop"):
        cancel(instance, launched.backfill_id)
    ended = find(instance, launched.backfill_id)
    assert ended.status.value == status
    assert has_succeeded(ended) is (status == "COMPLETED_SUCCESS")


def test_only_runs_of_the_backfill_that_have_not_ended_are_stopped(instance: dg.DagsterInstance) -> None:
    backfill_id = start(instance).backfill_id
    mine = [run_of(instance, backfill_id, status) for status in ("QUEUED", "STARTED")]
    done, stranger = run_of(instance, backfill_id, "SUCCESS"), run_of(instance, "another")
    assert cancel(instance, backfill_id, sleep=no_sleep) == 2
    assert [status_of(instance, run_id) for run_id in mine] == ["CANCELED", "CANCELED"]
    assert (status_of(instance, done), status_of(instance, stranger)) == ("SUCCESS", "STARTED")


def test_a_daemon_that_writes_back_what_it_read_before_does_not_undo_it(instance: dg.DagsterInstance) -> None:
    """The daemon reads a backfill, starts runs for it, and writes the whole of it back."""
    backfill_id = start(instance).backfill_id
    read = find(instance, backfill_id)
    late: list[str] = []

    def daemon(_: float) -> None:
        if not late:
            instance.update_backfill(read)
            late.append(run_of(instance, backfill_id, "QUEUED"))

    assert cancel(instance, backfill_id, sleep=daemon) == 1
    assert find(instance, backfill_id).status is BulkActionStatus.CANCELING
    assert status_of(instance, late[0]) == "CANCELED"


@pytest.mark.parametrize("status", ["CANCELED", "COMPLETED_SUCCESS"])
def test_one_that_the_daemon_ends_meanwhile_stays_ended(instance: dg.DagsterInstance, status: str) -> None:
    backfill_id = start(instance).backfill_id
    ends = iter([status])

    def daemon(_: float) -> None:
        for ended in ends:
            end(instance, backfill_id, status=ended)

    cancel(instance, backfill_id, sleep=daemon)
    assert find(instance, backfill_id).status.value == status


def test_a_run_that_cannot_be_told_to_stop_hinders_no_other_and_is_named_in_the_end(
    instance: dg.DagsterInstance, coordinator: Coordinator, caplog: pytest.LogCaptureFixture
) -> None:
    backfill_id = start(instance).backfill_id
    first, lost, last = (run_of(instance, backfill_id) for _ in range(3))
    coordinator.lost = [lost]
    with pytest.raises(TransientError) as left:
        cancel(instance, backfill_id, timeout=0.3, sleep=lambda _: time.sleep(0.02))
    assert str(left.value) == (
        f"1 runs of backfill {backfill_id} did not stop: {lost}; run `backfill cancel {backfill_id}` again, or "
        "terminate them in the UI"
    )
    assert [status_of(instance, run_id) for run_id in (first, lost, last)] == ["CANCELED", "STARTED", "CANCELED"]
    assert f"run {lost} could not be told to stop (DagsterError)" in caplog.messages
    coordinator.lost = []
    assert cancel(instance, backfill_id, sleep=no_sleep) == 1


@pytest.mark.parametrize(("ages", "alive"), [([], False), ([0], True), ([3600], False), ([3600, 0], True)])
def test_a_daemon_lives_as_long_as_it_is_heard_of(tmp_path: Path, ages: Sequence[float], alive: bool) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as on_disk:
        for age in ages:
            beat = DaemonHeartbeat(timestamp=time.time() - age, daemon_type="BACKFILL", daemon_id="one")
            on_disk.add_daemon_heartbeat(beat)
        assert is_daemon_alive(on_disk) is alive


def test_an_instance_in_memory_which_no_daemon_can_see_has_none(instance: dg.DagsterInstance) -> None:
    assert not is_daemon_alive(instance)
