"""Launches runs on Celery workers, and notices when the worker of one is gone.

Here belongs how a run reaches a worker, and what Dagster asks about it afterwards. Executing it belongs to
`celery_worker.py`. The stock launcher believes the last word of a worker, so that a run whose worker was killed would
stay `STARTED`; this one asks the workers that are alive.

Only the id of a run goes through the broker, and nothing comes back: what has come of it is in Dagster's storage. A
worker takes a run's message away before it begins, so the broker never hands out the same run twice: the one who
starts a lost run anew is Dagster.
"""

import logging
from collections.abc import Callable, Mapping, Set
from time import monotonic
from typing import Any, Self

from celery.exceptions import CeleryError
from dagster import DagsterRun, DagsterRunStatus, Field, Noneable, StringSource
from dagster._config import UserConfigSchema
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster._serdes import ConfigurableClassData
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tags import DAGSTER_CELERY_QUEUE_TAG, DAGSTER_CELERY_TASK_ID_TAG
from kombu.exceptions import KombuError
from kombu.exceptions import OperationalError as BrokerAway
from kombu.utils.url import maybe_sanitize_url

from backfill_assets.settings import load_broker

_log = logging.getLogger(__name__)

QUEUE = "dagster"
EXECUTE_RUN = "backfill_assets.execute_run"
"""The name of the one task."""

PREFIX = "backfill_assets:"
"""Begins every key in a Redis that other programs use too, the product's own workers among them."""

ANSWER_SECONDS = 2.0
"""How long all workers are given to say what they are executing."""
FRESH_SECONDS = 3.0
"""How long an answer is good for the other runs that Dagster asks about in the same round."""
LOST_SECONDS = 6.0
"""How long no worker may know of a run before it is called lost: at least two rounds."""
RECONNECT_SECONDS = 60.0
"""After the broker was away, workers come back at pauses of up to half a minute."""

CONNECT_SECONDS = 5


class WorkerRunLauncher(CeleryRunLauncher):
    """The launcher of dagster-celery, with a health check that asks the workers, and a cancel that runs can hear."""

    def __init__(
        self,
        *,
        broker: str,
        inst_data: ConfigurableClassData | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        super().__init__(QUEUE, broker=broker, config_source=_celery_config(broker), inst_data=inst_data)
        self._clock = clock
        self._heard: tuple[float, Set[str]] | None = None
        self._lost_since: dict[str, float] = {}
        self._patient_until = -1.0

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """Nothing has to be said: the broker is the one of the settings."""
        return {"broker": Field(Noneable(StringSource), is_required=False)}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]) -> Self:
        """The launcher as `dagster.yaml` asks for it; raises `ConfigurationError` where Celery is not enabled."""
        return cls(broker=config_value.get("broker") or load_broker().get_secret_value(), inst_data=inst_data)

    @property
    def address(self) -> str:
        """The broker as people may see it, without its password."""
        return str(maybe_sanitize_url(self.broker))

    def require_broker(self) -> None:
        """Raise `kombu.exceptions.OperationalError` when the broker cannot be reached."""
        with self.celery.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0.2, timeout=CONNECT_SECONDS)

    def launch_run(self, context: LaunchRunContext) -> None:
        """Put the run's id into the queue of the workers."""
        run = context.dagster_run
        task = self.celery.signature(EXECUTE_RUN, args=(run.run_id,), immutable=True)
        try:
            self._launch_celery_task_run(run, task, EXECUTE_RUN)
        except BrokerAway as error:
            # The one error after which Dagster puts the run back into its own queue, and tries for five minutes.
            raise DagsterUserCodeUnreachableError(f"the broker {self.address} cannot be reached") from error

    @property
    def supports_resume_run(self) -> bool:
        """A lost run is retried as a new one, which knows what is done already."""
        return False

    def terminate(self, run_id: str) -> bool:
        """Ask the run to stop at its next commit.

        Its process looks every second whether this was asked, wherever it runs; one that waits for a worker is dropped
        by the worker that takes it. A signal through the broker could hit the run that came next.
        """
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """FAILED when no living worker has known of the run for a while.

        Only started runs are asked about: one that waits in the queue is no worker's yet. While the broker cannot be
        reached nobody can be asked; the run may well go on, and without the broker it could not be started anew.
        """
        try:
            known = self._ask_workers()
        except (KombuError, CeleryError, OSError) as error:
            self._lost_since.clear()
            self._patient_until = self._clock() + RECONNECT_SECONDS
            _log.warning("the broker %s cannot be reached (%s)", self.address, type(error).__name__)
            return CheckRunHealthResult(WorkerStatus.RUNNING, "the broker cannot be reached")
        if run.run_id in known:
            self._lost_since.pop(run.run_id, None)
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        since = self._lost_since.setdefault(run.run_id, self._clock())
        if self._clock() < max(since + LOST_SECONDS, self._patient_until):
            return CheckRunHealthResult(WorkerStatus.RUNNING, "no Celery worker knows of it")
        del self._lost_since[run.run_id]
        return CheckRunHealthResult(WorkerStatus.FAILED, "the Celery worker that executed it is gone")

    def get_run_worker_debug_info(self, run: DagsterRun, include_container_logs: bool | None = True) -> str | None:
        """What to say of a run that nobody has started."""
        if run.status is not DagsterRunStatus.STARTING:
            return None
        queue, task = run.tags.get(DAGSTER_CELERY_QUEUE_TAG, self.default_queue), DAGSTER_CELERY_TASK_ID_TAG
        return f"Task {run.tags.get(task)} waits in queue {queue}; start a worker for it with `backfill worker`."

    def _ask_workers(self) -> Set[str]:
        """The ids of the runs that are being executed."""
        if self._heard is None or self._clock() - self._heard[0] > FRESH_SECONDS:
            self.require_broker()
            answers = self.celery.control.inspect(timeout=ANSWER_SECONDS).active() or {}
            tasks = [task for tasks in answers.values() for task in tasks if task["name"] == EXECUTE_RUN]
            self._heard = (self._clock(), frozenset(task["args"][0] for task in tasks))
        return self._heard[1]


def _celery_config(broker: str) -> dict[str, Any]:
    """What launcher and workers must agree on."""
    options: dict[str, Any] = {"max_retries": 3, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.5}
    if is_redis := broker.startswith(("redis", "rediss", "sentinel")):
        options |= {"global_keyprefix": PREFIX, "socket_connect_timeout": CONNECT_SECONDS, "socket_keepalive": True}
    return {
        "broker_transport_options": options,
        "task_ignore_result": True,
        # The message goes before the run begins: one whose worker dies is not handed out again.
        "task_acks_late": False,
        # Each run gets a process of its own, forked from one that has loaded the code: nothing of one run, memory
        # included, is left for the next.
        "worker_max_tasks_per_child": 1,
        # A busy worker takes no run that an idle one could begin.
        "worker_prefetch_multiplier": 1,
        "worker_disable_prefetch": is_redis,
        "worker_lost_wait": 2.0,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
    }
