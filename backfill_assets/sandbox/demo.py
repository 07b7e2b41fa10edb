"""The demo: everything on one machine, started, watched, verified and stopped again.

Here belongs the order of things. Processes belong to `supervisor.py`, the comparison with the source to
`verification.py`.
"""

import json
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from dagster import DagsterInstance
from dagster._core.execution.backfill import PartitionBackfill
from rich.progress import Progress, TaskID

from backfill_assets import launching
from backfill_assets.adapters.state.schema import initialise
from backfill_assets.cli.command import Output
from backfill_assets.cli.progress import bars
from backfill_assets.core.windows import utc_now
from backfill_assets.errors import BackfillError, ConfigurationError, PermanentError
from backfill_assets.sandbox import connectwise
from backfill_assets.sandbox.dataset import TENANTS
from backfill_assets.sandbox.postgres import EmbeddedPostgres
from backfill_assets.sandbox.supervisor import Program, Supervisor
from backfill_assets.sandbox.verification import verify
from backfill_assets.settings import load_settings, publish
from backfill_assets.tenant_history.backfill import DOMAIN

START_SECONDS = 90
SANDBOX_PORT = 8090
CODE_SERVER = "code-server"


class Stopped(BaseException):
    """Ctrl-C, or being told to end; not an Exception, so that nothing takes it for an error."""


@dataclass(frozen=True, kw_only=True)
class Demo:
    """One demo in the folder `home`, its UI on `port`."""

    home: Path
    port: int
    scale: int
    output: Output

    def run(self, *, once: bool) -> int:
        """Run until everything is verified (`once`) or until Ctrl-C; return the exit code."""
        _refuse_taken(self.port)
        self.home.mkdir(parents=True, exist_ok=True)
        supervisor, postgres = Supervisor(home=self.home), EmbeddedPostgres(self.home / "postgres")
        try:
            with _interruptible():
                self._say("starting the embedded PostgreSQL ...")
                supervisor.stop_leftovers()
                postgres.start()
                self._run(supervisor, postgres, once=once)
        except Stopped:
            return 0 if not once else 1
        except BackfillError as error:
            self.output.remark(f"Error: {error}")
            return 1
        finally:
            self._stop(supervisor, postgres)
        return 0

    def _run(self, supervisor: Supervisor, postgres: EmbeddedPostgres, *, once: bool) -> None:
        ports = {"sandbox": _free_port(SANDBOX_PORT), CODE_SERVER: _free_port(0)}
        self._prepare(postgres, ports)
        with DagsterInstance.from_config(str(self.home / "dagster")) as instance:
            self._start(supervisor, ports)
            self._watch(supervisor, instance)
            self._verify(f"http://127.0.0.1:{ports['sandbox']}")
            while not once:
                supervisor.revive()
                time.sleep(1)

    def _prepare(self, postgres: EmbeddedPostgres, ports: Mapping[str, int]) -> None:
        """Write the files and set the variables that every program of the demo reads."""
        for database in ("dagster", "backfill"):
            postgres.create_database(database)
        dagster_home = self.home / "dagster"
        dagster_home.mkdir(exist_ok=True)
        (dagster_home / "dagster.yaml").write_text(_dagster_yaml())
        _write_yaml(self.home / "tenants.yaml", {"tenants": _tenants(ports["sandbox"])})
        _write_yaml(self.home / "workspace.yaml", {"load_from": [_code_server(ports[CODE_SERVER])]})
        publish(
            {
                "DAGSTER_HOME": str(dagster_home),
                "BACKFILL_DAGSTER_DATABASE_URL": postgres.url("dagster"),
                "BACKFILL_DATABASE_URL": postgres.url("backfill"),
                "BACKFILL_LAKE_ROOT": str(self.home / "lake"),
                "BACKFILL_TENANTS_FILE": str(self.home / "tenants.yaml"),
                **_credentials(),
            }
        )
        initialise(postgres.url("backfill"))

    def _start(self, supervisor: Supervisor, ports: Mapping[str, int]) -> None:
        self._say("starting the stand-in services and Dagster ...")
        python = sys.executable
        code = ["-m", "backfill_assets.definitions", "-h", "127.0.0.1", "-p", str(ports[CODE_SERVER])]
        serve = ["--port", str(ports["sandbox"]), "--scale", str(self.scale), "--until", self._until()]
        supervisor.start(Program(name="sandbox", arguments=[python, "-m", "backfill_assets", "sandbox", *serve]))
        supervisor.start(Program(name=CODE_SERVER, arguments=[python, "-m", "dagster", "api", "grpc", *code]))
        self._wait_for(supervisor, "sandbox", ports["sandbox"])
        self._wait_for(supervisor, CODE_SERVER, ports[CODE_SERVER])
        workspace = ["-w", str(self.home / "workspace.yaml")]
        web = ["-m", "dagster_webserver", "-h", "127.0.0.1", "-p", str(self.port), *workspace]
        supervisor.start(Program(name="daemon", arguments=[python, "-m", "dagster._daemon", "run", *workspace]))
        supervisor.start(Program(name="webserver", arguments=[python, *web]))
        self._say(f"the Dagster UI comes up at http://127.0.0.1:{self.port}")

    def _wait_for(self, supervisor: Supervisor, name: str, port: int) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(port):
            if not supervisor.is_running(name) or time.monotonic() > deadline:
                raise PermanentError(f"the {name} did not start; {supervisor.log(name)} says why")
            time.sleep(0.1)

    def _watch(self, supervisor: Supervisor, instance: DagsterInstance) -> None:
        """Follow the backfills until each tenant's has succeeded, reviving what dies."""
        with bars(self.output) as progress:
            tasks: dict[str, TaskID] = {}
            while True:
                supervisor.revive()
                found = launching.backfills(instance, {launching.DOMAIN_TAG: DOMAIN})
                for backfill in reversed(found):
                    self._show(instance, backfill, progress, tasks)
                newest = list(_newest_of_each_tenant(found))
                if len(newest) == len(TENANTS) and all(map(launching.has_ended, newest)):
                    break
                time.sleep(1)
        if failed := [backfill.backfill_id for backfill in newest if not launching.has_succeeded(backfill)]:
            raise PermanentError(
                f"backfill {', '.join(failed)} did not succeed; the UI shows why: start `make demo` again and resume "
                f"it there, or run `backfill resume {failed[0]}`"
            )

    def _show(
        self, instance: DagsterInstance, backfill: PartitionBackfill, progress: Progress, tasks: dict[str, TaskID]
    ) -> None:
        done, total = launching.progress(instance, backfill)
        if backfill.backfill_id not in tasks:
            tasks[backfill.backfill_id] = progress.add_task(backfill.title or backfill.backfill_id, total=total)
            reason = backfill.tags.get(launching.REASON_TAG, "")
            self._say(
                f"detected {backfill.title}: {reason}; planned {total} partitions in backfill {backfill.backfill_id}"
            )
        progress.update(tasks[backfill.backfill_id], completed=done)

    def _verify(self, sandbox_url: str) -> None:
        self._say("comparing every record in the lake with its source ...")
        report = verify(load_settings(), sandbox_url)
        self.output.table(report.rows(), report.table())
        if report.problem:
            raise PermanentError(report.problem)
        self._say(f"all {report.records} records of the sources are in the lake, each version once")

    def _until(self) -> str:
        """Where the sandbox's records end: the same at each start, so that the truth stays the same."""
        file = self.home / "sandbox.json"
        if not file.exists():
            file.write_text(json.dumps({"until": utc_now().replace(microsecond=0).isoformat()}))
        return str(json.loads(file.read_text())["until"])

    def _stop(self, supervisor: Supervisor, postgres: EmbeddedPostgres) -> None:
        # Deaf from here on: a second Ctrl-C must not leave half of the processes behind.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        self._say("stopping ...")
        left = supervisor.stop(hard=[CODE_SERVER])
        postgres.stop()
        if left:
            self.output.remark(f"Error: processes {left} could not be stopped; end them by hand")

    def _say(self, text: str) -> None:
        self.output.remark(text)


@contextmanager
def _interruptible() -> Iterator[None]:
    def stop(_number: int, _frame: Any) -> None:
        raise Stopped

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    yield


def _newest_of_each_tenant(found: Sequence[PartitionBackfill]) -> Iterator[PartitionBackfill]:
    seen = set()
    for backfill in found:
        if (target := backfill.tags.get(launching.KEY_TAG)) not in seen:
            seen.add(target)
            yield backfill


def _refuse_taken(port: int) -> None:
    if _answers(port):
        raise ConfigurationError(
            f"port {port} is taken by another program; choose one with `make demo PORT={port + 1}`"
        )


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port(wanted: int) -> int:
    """The wanted port when nothing answers there, else a free one."""
    if wanted and not _answers(wanted):
        return wanted
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _dagster_yaml() -> str:
    return (Path(__file__).parents[2] / "dagster.yaml").read_text()


def _tenants(port: int) -> dict[str, Any]:
    return {
        tenant: {"services": {"connectwise": {"base_url": f"http://127.0.0.1:{port}/connectwise/{tenant}"}}}
        for tenant in TENANTS
    }


def _credentials() -> dict[str, str]:
    return {
        f"BACKFILL_{tenant.upper()}_CONNECTWISE_{name.upper()}": value
        for tenant in TENANTS
        for name, value in connectwise.credentials(tenant).items()
    }


def _code_server(port: int) -> dict[str, Any]:
    return {"grpc_server": {"host": "127.0.0.1", "port": port, "location_name": "backfill_assets"}}


def _write_yaml(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(yaml.safe_dump(dict(content), sort_keys=False))
