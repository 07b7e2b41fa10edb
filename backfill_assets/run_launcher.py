"""Launches runs in the code server's machine, and notices when one's process is gone.

Here belongs what Dagster asks about the worker of a run. The stock launcher cannot tell: a run whose process dies
together with the code server (a reboot) would stay `STARTED` for ever.
"""

import json
from collections.abc import Callable, Iterator
from time import monotonic

import psutil
from dagster import DagsterEventType, DagsterInstance, DagsterRun, DefaultRunLauncher
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._serdes import ConfigurableClassData

THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})
CLOCK_TOLERANCE = 2.0
"""Seconds by which a process may seem to be younger than the event that it logged."""

LONGEST_WAIT_FOR_CODE = 12.0
"""Seconds for which a dead run is kept when its code server is dead too; that one may come back elsewhere."""


class ProcessRunLauncher(DefaultRunLauncher):
    """The default launcher, with a health check that looks for the process of the run."""

    def __init__(
        self, inst_data: ConfigurableClassData | None = None, *, clock: Callable[[], float] = monotonic
    ) -> None:
        super().__init__(inst_data)
        self._clock = clock
        self._away_since: dict[str, float] = {}

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Run monitoring asks us only when this says so."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """FAILED when none of the processes that the run logged is alive.

        Only processes of this machine can be looked for: a run of a code server elsewhere is taken as running. So is,
        for a while, one whose code server is away as well: Dagster tries just once to launch the retry, and needs the
        code for it.
        """
        if json.loads(run.tags.get(GRPC_INFO_TAG, "{}")).get("host", "localhost") not in THIS_MACHINE:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        pids = dict(_logged_processes(self._instance, run.run_id))
        if not pids or any(_is_alive(pid, logged_at) for pid, logged_at in pids.items()):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        away_since = self._away_since.setdefault(run.run_id, self._clock())
        if not _code_server_answers(run) and self._clock() - away_since < LONGEST_WAIT_FOR_CODE:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        text = ", ".join(map(str, pids))
        return CheckRunHealthResult(WorkerStatus.FAILED, f"the process of the run (pid {text}) is gone")


def _code_server_answers(run: DagsterRun) -> bool:
    """Whether the run's code can be reached; a code server that Dagster starts by itself always can."""
    if run.remote_job_origin is None:
        return True
    origin = run.remote_job_origin.repository_origin.code_location_origin
    if not isinstance(origin, GrpcServerCodeLocationOrigin):
        return True
    try:
        origin.create_client().ping("")
    except DagsterUserCodeUnreachableError:
        return False
    return True


def _logged_processes(instance: DagsterInstance, run_id: str) -> Iterator[tuple[int, float]]:
    """The processes that logged themselves as working for the run: pid and time of the event."""
    for entry in instance.all_logs(run_id, of_type=DagsterEventType.ENGINE_EVENT):
        if entry.dagster_event is not None and (pid := entry.dagster_event.engine_event_data.metadata.get("pid")):
            yield int(str(pid.value)), entry.timestamp


def _is_alive(pid: int, logged_at: float) -> bool:
    try:
        process = psutil.Process(pid)
        # A number is used again after a while, and all of them after a reboot: a process that was made after it
        # should have logged is another one.
        return process.create_time() <= logged_at + CLOCK_TOLERANCE and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
