"""A Dagster instance with the queue and the limits of `dagster.yaml`, and runs that are put into it.

Here belongs what tests of the queue start from. Nothing runs: a test says when a run has ended.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import dagster as dg
import yaml
from dagster import DagsterRun, DagsterRunStatus
from dagster._core.instance.types import InstanceType
from dagster._core.launcher import LaunchRunContext
from dagster._core.launcher.sync_in_memory_run_launcher import SyncInMemoryRunLauncher
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.run_coordinator.queued_run_coordinator import QueuedRunCoordinator
from dagster._core.storage.event_log import InMemoryEventLogStorage
from dagster._core.storage.noop_compute_log_manager import NoOpComputeLogManager
from dagster._core.storage.root import TemporaryLocalArtifactStorage
from dagster._core.storage.runs import InMemoryRunStorage
from dagster._core.workspace.context import IWorkspaceProcessContext
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon
from dagster._serdes import ConfigurableClassData

from backfill_assets.sandbox.stack import DAGSTER_YAML

Tags = Mapping[str, str]
ORIGIN = RemoteJobOrigin(
    RemoteRepositoryOrigin(GrpcServerCodeLocationOrigin(host="localhost", port=1, location_name="code"), "repository"),
    "job",
)
TICKETS = dg.AssetKey(["connectwise", "service_tickets"])


class IdleLauncher(SyncInMemoryRunLauncher):
    """Launches nothing, so that a run stays as the daemon leaves it: starting."""

    def launch_run(self, context: LaunchRunContext) -> None:
        """Let it be."""


def window(tenant: str, day: str) -> Tags:
    """The tags of a run of one partition, as Dagster puts them on."""
    return {"dagster/partition": f"{tenant}|{day}", "dagster/partition/tenant": tenant, "dagster/partition/window": day}


def span(first: str, last: str) -> Tags:
    """The tags of a run of a range of partitions, as Dagster puts them on."""
    return {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}


@dataclass(frozen=True, kw_only=True)
class Queue:
    """The queue of an instance."""

    instance: dg.DagsterInstance
    _daemon: QueuedRunCoordinatorDaemon = field(default_factory=lambda: QueuedRunCoordinatorDaemon(interval_seconds=2))

    def submit(self, tags: Tags | None = None, *, assets: Sequence[dg.AssetKey] | None = (TICKETS,)) -> DagsterRun:
        """Hand a run of these assets (None: of a job of ops) to the coordinator; return it as it is stored."""
        run = DagsterRun(
            job_name="job",
            tags=dict(tags or {}),
            asset_selection=None if assets is None else frozenset(assets),
            remote_job_origin=ORIGIN,
        )
        self.instance.add_run(run)
        coordinator = cast("QueuedRunCoordinator[Any]", self.instance.run_coordinator)
        return coordinator.submit_run(cast("Any", SimpleNamespace(dagster_run=run, workspace=None)))

    def tick(self) -> set[str]:
        """Let the daemon look at the queue once; return the ids of the runs that it launched."""
        before = self._active()
        context = SimpleNamespace(instance=self.instance, create_request_context=lambda: None)
        list(self._daemon.run_iteration(cast("IWorkspaceProcessContext[Any]", context)))
        return self._active() - before

    def end(self, run: DagsterRun) -> None:
        """Let a run succeed."""
        success = dg.DagsterEvent(event_type_value=dg.DagsterEventType.RUN_SUCCESS.value, job_name=run.job_name)
        self.instance.report_dagster_event(success, run_id=run.run_id)

    def _active(self) -> set[str]:
        return {run.run_id for run in self.instance.get_runs(dg.RunsFilter(statuses=[DagsterRunStatus.STARTING]))}


@contextmanager
def open_queue() -> Iterator[Queue]:
    """An instance in memory whose coordinator and limits are those of `dagster.yaml`."""
    said = yaml.safe_load(DAGSTER_YAML.read_text())
    named = said["run_coordinator"]
    coordinator = ConfigurableClassData(named["module"], named["class"], yaml.safe_dump(named["config"]))
    with dg.DagsterInstance(
        instance_type=InstanceType.EPHEMERAL,
        local_artifact_storage=TemporaryLocalArtifactStorage(),  # type: ignore[no-untyped-call]
        run_storage=InMemoryRunStorage(),
        event_storage=InMemoryEventLogStorage(),
        compute_log_manager=NoOpComputeLogManager(),
        run_coordinator=coordinator.rehydrate(as_type=QueuedRunCoordinator),
        run_launcher=IdleLauncher(),
        settings={"concurrency": said["concurrency"]},
    ) as instance:
        yield Queue(instance=instance)
