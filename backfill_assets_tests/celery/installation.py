"""A small installation: a Redis, a Dagster instance on SQLite, and workers of the real command.

Here belongs what tests do with it; there is no daemon, so tests launch runs, and ask about them, as it would.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

import psutil
import pytest
import yaml
from dagster import DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus, reconstructable
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.launcher import CheckRunHealthResult
from dagster_celery.tags import DAGSTER_CELERY_QUEUE_TAG

from backfill_assets.adapters.state.schema import initialise
from backfill_assets.celery_run_launcher import WorkerRunLauncher
from backfill_assets.sandbox.redis import EmbeddedRedis
from backfill_assets_tests.celery import jobs
from backfill_assets_tests.end_to_end.running import PATIENCE, until

ROOT = Path(__file__).parents[2]
OPS = {"slow": "commit_again_and_again", "quick": "tell_the_process"}
LAUNCHER = {"module": "backfill_assets.celery_run_launcher", "class": "WorkerRunLauncher"}


@dataclass(frozen=True, kw_only=True)
class Installation:
    """A running Redis, and the instance whose runs it carries."""

    home: Path
    redis: EmbeddedRedis
    instance: DagsterInstance
    environment: Mapping[str, str]

    @property
    def launcher(self) -> WorkerRunLauncher:
        """The launcher of the instance."""
        launcher = self.instance.run_launcher
        assert isinstance(launcher, WorkerRunLauncher)
        return launcher

    def launch(self, name: str, queue: str = "dagster", *, module: str | None = None) -> DagsterRun:
        """Launch one of the jobs, as the daemon does; `module` is where a worker looks for its code."""
        job = reconstructable(getattr(jobs, name))
        origin = job.get_python_origin()
        if module is not None:
            pointer = ModuleCodePointer(module, name)
            origin = origin._replace(repository_origin=origin.repository_origin._replace(code_pointer=pointer))
        run = self.instance.create_run_for_job(
            job.get_definition(),
            tags={DAGSTER_CELERY_QUEUE_TAG: queue},
            job_code_origin=origin,
            run_config={"ops": {OPS[name]: {"config": {"file": str(self.home / f"diary-{uuid4().hex}")}}}},
        )
        return self.instance.launch_run(run.run_id, None)  # type: ignore[arg-type]

    def status(self, run: DagsterRun) -> DagsterRunStatus:
        """How a run stands."""
        found = self.instance.get_run_by_id(run.run_id)
        assert found is not None
        return found.status

    def health(self, run: DagsterRun) -> CheckRunHealthResult:
        """What the launcher says of a run, asked anew."""
        return self.launcher.check_run_worker_health(run)

    def diary(self, run: DagsterRun) -> list[str]:
        """What the run's job has written."""
        ops: Any = run.run_config["ops"]
        [op] = ops.values()
        file = Path(op["config"]["file"])
        return file.read_text().splitlines() if file.exists() else []

    def errors(self, run: DagsterRun) -> str:
        """All that the run's events say of what went wrong."""
        events = [entry.dagster_event for entry in self.instance.all_logs(run.run_id) if entry.dagster_event]
        return "\n".join(str(event.event_specific_data) for event in events)

    def processes(self, run: DagsterRun) -> list[int]:
        """The processes that said of themselves that they work for the run."""
        entries = self.instance.all_logs(run.run_id, of_type=DagsterEventType.ENGINE_EVENT)
        found = {e.dagster_event.engine_event_data.metadata.get("pid") for e in entries if e.dagster_event}
        return sorted({int(str(pid.value)) for pid in found if pid is not None})

    def events(self, run: DagsterRun) -> str:
        """All that the events of a run say."""
        return "\n".join(str(entry.message) for entry in self.instance.all_logs(run.run_id))

    @contextmanager
    def worker(self, *options: str) -> Iterator["Worker"]:
        """A worker that is ready; it is killed at the end, if it still runs."""
        log = self.home / f"worker-{uuid4().hex}.log"
        with log.open("w") as stderr, self._command(["worker", *options], stderr) as process:
            worker = Worker(process=process, log=log)
            try:
                until("the worker to be ready", lambda: worker.is_ready)
                yield worker
            finally:
                worker.kill()

    def backfill(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the `backfill` command to its end."""
        environment = {**self.environment, **variables}
        command = [sys.executable, "-m", "backfill_assets", *arguments]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, cwd=ROOT, check=False, timeout=PATIENCE
        )

    def _command(self, arguments: list[str], stderr: IO[str]) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "backfill_assets", *arguments]
        return subprocess.Popen(command, env=dict(self.environment), stdout=stderr, stderr=stderr, text=True, cwd=ROOT)


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A worker's process and what it has written."""

    process: subprocess.Popen[str]
    log: Path

    @property
    def is_ready(self) -> bool:
        """Whether it takes runs; fails when it has ended."""
        assert self.process.poll() is None, self.log.read_text()
        return "executing up to" in self.log.read_text()

    def kill(self) -> None:
        """Kill the worker and its children, as losing its machine does."""
        if self.process.poll() is not None:
            return
        children = psutil.Process(self.process.pid).children(recursive=True)
        for each in [psutil.Process(self.process.pid), *children]:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        self.process.wait()

    def kill_only_the_parent(self) -> list[psutil.Process]:
        """Kill the worker alone; return its children."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        self.process.wait()
        return children

    def end(self, number: signal.Signals) -> int:
        """Tell it to end; return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


@contextmanager
def installed(home: Path) -> Iterator[Installation]:
    """The installation, without workers."""
    environment = {
        **os.environ,  # noqa: TID251
        "DAGSTER_HOME": str(home),
        "SPIFFWORKFLOW_BACKEND_CELERY_ENABLED": "true",
    }
    (home / "dagster.yaml").write_text(
        yaml.safe_dump({"run_launcher": LAUNCHER, "run_monitoring": {"enabled": True}, "telemetry": {"enabled": False}})
    )
    initialise(f"sqlite:///{home / 'backfill.sqlite3'}")
    with EmbeddedRedis(home / "redis") as redis, pytest.MonkeyPatch.context() as patch:
        environment["SPIFFWORKFLOW_BACKEND_CELERY_BROKER_URL"] = redis.url
        for name in ("SPIFFWORKFLOW_BACKEND_CELERY_ENABLED", "SPIFFWORKFLOW_BACKEND_CELERY_BROKER_URL"):
            patch.setenv(name, environment[name])
        with DagsterInstance.from_config(str(home)) as instance:
            yield Installation(home=home, redis=redis, instance=instance, environment=environment)
