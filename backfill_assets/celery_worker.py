"""Executes the runs that come from the broker, each in a process of its own.

Here belongs the worker: its one task, how a run hears that it must stop, and what becomes of runs when the worker is
told to end. How runs get here, and who notices a worker's death, belongs to `celery_run_launcher.py`.

The worker loads the code once, before it forks: a run begins within a fraction of a second. Like the code server it
has to be started anew for new code or another services file.
"""

import logging
import os
import signal
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ctypes import c_bool
from multiprocessing.sharedctypes import RawValue
from typing import Any

from celery import Celery, signals
from dagster import DagsterEvent, DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._cli.api import _execute_run_command_body
from dagster._utils.interrupts import capture_interrupts

from backfill_assets.celery_run_launcher import EXECUTE_RUN

_log = logging.getLogger(__name__)

LISTEN_SECONDS = 1.0
"""How often a run looks whether it must stop."""
REPLACE_SECONDS = 0.25
"""How often a worker looks for children that have ended, in whose place the next run could begin."""
GIVEN_UP = (DagsterRunStatus.CANCELING, DagsterRunStatus.CANCELED, DagsterRunStatus.FAILURE)
LAST_EVENTS = (DagsterEventType.RUN_SUCCESS, DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_CANCELED)


def run_worker(app: Celery, *, concurrency: int, queues: Sequence[str], ready: Callable[[], None]) -> int:
    """Execute runs until told to end; return the exit code. `ready` is called when runs can come.

    On the first SIGTERM or SIGINT it takes no more runs, and those under way stop at their next commit; Dagster starts
    them anew, on whichever worker there is, and they do the rest.
    """
    # Seen by the children, and without a lock that one of them could die with.
    is_ending = RawValue(c_bool, False)

    def execute(run_id: str) -> None:
        execute_run(run_id, must_stop=lambda: bool(is_ending.value))

    def end(**_: Any) -> None:
        is_ending.value = True

    app.task(execute, name=EXECUTE_RUN)
    signals.worker_shutting_down.connect(end, weak=False)
    signals.worker_ready.connect(_treat_interrupt_as_end)
    signals.worker_ready.connect(_replace_children_soon)
    signals.worker_ready.connect(lambda **_: ready(), weak=False)
    signals.worker_process_init.connect(_become_deaf_to_the_terminal)
    signals.worker_process_shutdown.connect(_leave_at_once)
    signals.setup_logging.connect(_leave_logging_alone)
    worker = app.Worker(
        hostname=f"backfill-{uuid.uuid4().hex[:8]}@%h",
        concurrency=concurrency,
        queues=list(queues),
        quiet=True,
        # Chatter between workers, which nobody here listens to.
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    worker.start()
    return int(worker.exitcode or 0)


def load_code() -> None:
    """Build the definitions, which every run finds ready then."""
    from backfill_assets.definitions import backfill_assets

    backfill_assets().get_repository_def()


def execute_run(run_id: str, *, must_stop: Callable[[], bool] = lambda: False) -> None:
    """Execute a run, unless it has been cancelled meanwhile or is known to have ended.

    It stops at its next commit when `must_stop` says so, when somebody cancels it, and when Dagster has given it up
    and may have started it anew elsewhere.
    """
    # From here on an interrupt is kept until a place where it can be raised; Celery's children ignore it.
    with capture_interrupts(), DagsterInstance.get() as instance:
        run = instance.get_run_by_id(run_id)
        if run is None:
            _log.error("run %s is not in the storage that this worker's DAGSTER_HOME names", run_id)
        elif run.status is DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run)
        elif not run.is_finished:
            _execute(instance, run, must_stop)


def _execute(instance: DagsterInstance, run: DagsterRun, must_stop: Callable[[], bool]) -> None:
    ended = threading.Event()

    def see(event: DagsterEvent) -> None:
        if event.event_type in LAST_EVENTS:
            ended.set()

    with _interrupted(instance, run.run_id, must_stop, ended):
        _execute_run_command_body(run.run_id, instance, see, set_exit_code_on_failure=True)


@contextmanager
def _interrupted(
    instance: DagsterInstance, run_id: str, must_stop: Callable[[], bool], ended: threading.Event
) -> Iterator[None]:
    """Interrupt this process when the run is to stop; `ended` is set when it has ended by itself."""

    def listen() -> None:
        while not ended.wait(LISTEN_SECONDS):
            if (must_stop() or _is_given_up(instance, run_id)) and not ended.is_set():
                os.kill(os.getpid(), signal.SIGINT)
                return

    listener = threading.Thread(target=listen, name="stop-listener", daemon=True)
    listener.start()
    try:
        yield
    finally:
        ended.set()
        listener.join()


def _is_given_up(instance: DagsterInstance, run_id: str) -> bool:
    try:
        run = instance.get_run_by_id(run_id)
    except Exception as error:  # noqa: BLE001 - the storage is away; what the run itself wants of it will fail too
        _log.warning("run %s cannot ask whether it must stop (%s)", run_id, type(error).__name__)
        return False
    return run is None or run.status in GIVEN_UP


def _leave_logging_alone(**_: Any) -> None:
    """With a listener of its own, Celery keeps its hands off logging, standard output and error."""


def _become_deaf_to_the_terminal(**_: Any) -> None:
    """Ctrl-C is for the worker, which passes it on; a run that heard it twice could be cut short in its cleaning up."""
    os.setpgid(0, 0)


def _treat_interrupt_as_end(**_: Any) -> None:
    """Celery calls it a failure when a person ends a worker with Ctrl-C."""
    signal.signal(signal.SIGINT, signal.getsignal(signal.SIGTERM))


def _leave_at_once(exitcode: int, **_: Any) -> None:
    """Celery would wait for a second, and start the process for the next run only then."""
    os._exit(exitcode)


def _replace_children_soon(sender: Any, **_: Any) -> None:
    """Celery does not always hear a child's end, and looks for it every 5 seconds only."""
    sender.hub.call_repeatedly(REPLACE_SECONDS, sender.pool.maintain_pool)
