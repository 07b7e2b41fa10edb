"""Everything that a backfill needs, on one machine: databases, stand-in services, and the programs of Dagster.

Here belongs what is started, with which settings, and in which order. Care for the processes belongs to
`supervisor.py`; what is done with the running stack to the demo and to the tests.
"""

import fcntl
import json
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import yaml

from backfill_assets.adapters.state.schema import initialise
from backfill_assets.configuration.credentials import variable_name
from backfill_assets.configuration.process_metadata import CELERY_BROKER_URL, CELERY_ENABLED
from backfill_assets.core.windows import utc_now
from backfill_assets.errors import ConfigurationError, PermanentError
from backfill_assets.sandbox.accounts import ACCOUNTS
from backfill_assets.sandbox.dataset import TENANTS
from backfill_assets.sandbox.ports import answers, free_port
from backfill_assets.sandbox.postgres import EmbeddedPostgres
from backfill_assets.sandbox.redis import EmbeddedRedis
from backfill_assets.sandbox.spiffworkflow.installation import Installation
from backfill_assets.sandbox.supervisor import Program, Supervisor
from backfill_assets.sandbox.writer import Writer

START_SECONDS = 90
SANDBOX, CODE_SERVER, DAEMON, WEBSERVER = "sandbox", "code-server", "daemon", "webserver"
REDIS, WORKER = "redis", "worker"
"""Where runs go through Celery."""
REQUESTS_PER_MINUTE = 6000
"""The pace of every service: stand-ins on this machine have nobody to be protected from."""
SYNC_FREQUENCY = "10min"
"""Often enough to be seen, while a person watches."""
CURSOR_OFFSET = "1000"
"""How many events the backfill daemon reads again at each look. Runs write side by side, so an event with a lower
number can come later; without this Dagster would never see it, and call a partition failed that is there."""

DAGSTER_YAML = Path(__file__).parents[2] / "dagster.yaml"


@dataclass(kw_only=True)
class Stack:
    """The programs and their folder `home`; the UI is served on `port`.

    `until` is where the sandbox's records end; it is kept in `home`, so that the truth stays the same at each start.
    `lookback_days` is that of the service where it is None. `say` hears what is being done; `shield` holds back
    interrupts where one would leave a process behind. With `celery`, runs are executed by a worker instead of by
    processes beside the code server; with `metadata`, which needs that, SpiffWorkflow is there too.
    """

    home: Path
    port: int
    scale: int = 1
    lookback_days: int | None = None
    tenants: tuple[str, ...] = TENANTS
    services: tuple[str, ...] = tuple(ACCOUNTS)
    until: datetime = field(default_factory=lambda: utc_now().replace(microsecond=0))
    durable: bool = True
    celery: bool = False
    metadata: bool = False
    environment: Mapping[str, str] | None = None
    say: Callable[[str], None] = field(default=lambda _text: None)
    shield: Callable[[], AbstractContextManager[None]] = nullcontext
    variables: dict[str, str] = field(default_factory=dict, init=False)
    _ports: dict[str, int] = field(default_factory=dict, init=False)

    _home_lock: IO[str] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.supervisor = Supervisor(home=self.home, shield=self.shield)
        self.postgres = EmbeddedPostgres(self.home / "postgres", durable=self.durable)
        self.redis = EmbeddedRedis(self.home / "redis")
        self.product = Installation(home=self.home / "spiffworkflow", postgres=self.postgres)

    @property
    def sandbox_url(self) -> str:
        """Where the stand-in services are."""
        return f"http://127.0.0.1:{self._ports[SANDBOX]}"

    @cached_property
    def writer(self) -> Writer:
        """Who changes records of the stand-ins, once started."""
        return Writer(url=self.sandbox_url, journal=self.home / "changes.jsonl")

    @property
    def url(self) -> str:
        """Where the Dagster UI is."""
        return f"http://127.0.0.1:{self.port}"

    def prepare(self) -> Mapping[str, str]:
        """End what a killed stack left, start the database, write every file; return the variables to be set."""
        self._take_home()
        self.supervisor.stop_leftovers()
        if answers(self.port):
            raise ConfigurationError(
                f"port {self.port} is taken by another program; try `make demo PORT={self.port + 1}`"
            )
        self.say("starting the embedded PostgreSQL ...")
        with self.shield():
            self.postgres.start()
        for database in ("dagster", "backfill"):
            self.postgres.create_database(database)
        initialise(self.postgres.url("backfill"))
        self._ports = {SANDBOX: free_port(), CODE_SERVER: free_port(self._code_port_of_last_time())}
        if self.celery:
            self.redis.prepare()
        if self.metadata:
            self.say("making an installation of SpiffWorkflow ...")
            self.product.prepare()
        self._write_files()
        self.variables = self._variables()
        self._write_environment()
        if self.environment is not None:
            self.supervisor.environment = {**self.environment, **self.variables}
        return self.variables

    def start(self) -> None:
        """Start every program; the daemon and the UI once the code is loaded."""
        self.say("starting the stand-in services and Dagster ...")
        if self.celery:
            self.start_program(REDIS)
            self.wait_for(REDIS, self.redis.port)
        self.start_program(SANDBOX)
        self.start_program(CODE_SERVER)
        self.wait_for(SANDBOX, self._ports[SANDBOX])
        self.writer.replay()
        self.wait_for(CODE_SERVER, self._ports[CODE_SERVER])
        if self.celery:
            self.start_program(WORKER)
        self.start_program(DAEMON)
        self.start_program(WEBSERVER)

    def start_program(self, name: str) -> None:
        """Start one of the programs."""
        command = self.redis.command if name == REDIS else [sys.executable, "-m", *self._arguments(name)]
        self.supervisor.start(Program(name=name, arguments=command))

    def wait_for(self, name: str, port: int) -> None:
        """Wait until the program listens; raises `PermanentError` that names its log when it does not."""
        deadline = time.monotonic() + START_SECONDS
        # Looked at in this order: another program that took the port meanwhile answers, and ours ends.
        while not (answers(port) and self.supervisor.is_running(name)):
            if not self.supervisor.is_running(name) or time.monotonic() > deadline:
                raise PermanentError(f"the {name} did not start; {self.supervisor.log(name)} says why")
            time.sleep(0.1)

    def stop(self) -> list[int]:
        """Stop everything; return the pids that resisted.

        Runs under way are killed, not asked: asked ones would be cancelled, killed ones go on at the next start.
        """
        if self._home_lock is None:
            return []
        if self._ports:
            self.writer.stop()
        left = self.supervisor.stop(hard=[CODE_SERVER, WORKER])
        self.postgres.stop()
        self._home_lock.close()
        self._home_lock = None
        return left

    def remove(self) -> None:
        """Delete the whole stack, running or not; raises `ConfigurationError` while somebody looks after it."""
        self._take_home()
        self.stop()
        self.postgres.remove()
        shutil.rmtree(self.home)

    def _take_home(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        lock = (self.home / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise ConfigurationError(
                f"another demo runs in {self.home}; stop it first, or wait until it ends"
            ) from None
        self._home_lock = lock

    def _arguments(self, name: str) -> list[str]:
        workspace = ["-w", str(self.home / "workspace.yaml")]
        port = str(self._ports.get(name, self.port))
        match name:
            case "sandbox":
                return [
                    "backfill_assets",
                    "sandbox",
                    "--port",
                    port,
                    "--scale",
                    str(self.scale),
                    "--until",
                    self._end(),
                ]
            case "code-server":
                return ["dagster", "api", "grpc", "-m", "backfill_assets.definitions", "-h", "127.0.0.1", "-p", port]
            case "worker":
                return ["backfill_assets", "worker"]
            case "daemon":
                return ["dagster._daemon", "run", *workspace]
            case _:
                return ["dagster_webserver", "-h", "127.0.0.1", "-p", port, *workspace]

    def _end(self) -> str:
        file = self.home / "sandbox.json"
        if not file.exists():
            file.write_text(json.dumps({"until": self.until.isoformat()}))
        return str(json.loads(file.read_text())["until"])

    def _code_port_of_last_time(self) -> int:
        """Runs that were under way know the code server by its port; 0 at the first start."""
        file = self.home / "workspace.yaml"
        if not file.exists():
            return 0
        return int(yaml.safe_load(file.read_text())["load_from"][0]["grpc_server"]["port"])

    def _write_files(self) -> None:
        (self.home / "dagster").mkdir(exist_ok=True)
        text = DAGSTER_YAML.read_text()
        (self.home / "dagster" / "dagster.yaml").write_text(_on_workers(text) if self.celery else text)
        code = {"host": "127.0.0.1", "port": self._ports[CODE_SERVER], "location_name": "backfill_assets"}
        _write_yaml(self.home / "workspace.yaml", {"load_from": [{"grpc_server": code}]})
        tenants = {
            tenant: {"services": {service: self._account(service, tenant) for service in self.services}}
            for tenant in self.tenants
        }
        _write_yaml(self.home / "tenants.yaml", {"tenants": tenants})
        said = {"requests_per_minute": REQUESTS_PER_MINUTE, "sync_frequency": SYNC_FREQUENCY}
        _write_yaml(self.home / "services.yaml", {"services": dict.fromkeys(self.services, said)})

    def _write_environment(self) -> None:
        """Write the variables as a shell reads them, for commands in another terminal."""
        file = self.home / "environment"
        file.touch(mode=0o600)
        file.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in self.variables.items()))

    def _account(self, service: str, tenant: str) -> dict[str, Any]:
        lookback = {} if self.lookback_days is None else {"lookback_days": self.lookback_days}
        return {"base_url": f"{self.sandbox_url}/{service}/{tenant}", **lookback}

    def _variables(self) -> dict[str, str]:
        credentials = {
            variable_name(tenant, service, name): value
            for tenant in self.tenants
            for service in self.services
            for name, value in ACCOUNTS[service].credentials(tenant).items()
        }
        celery = {CELERY_ENABLED: "true", CELERY_BROKER_URL: self.redis.url} if self.celery else {}
        return {
            "DAGSTER_HOME": str(self.home / "dagster"),
            "ASSET_BACKFILL_CURSOR_OFFSET": CURSOR_OFFSET,
            "BACKFILL_DAGSTER_DATABASE_URL": self.postgres.url("dagster"),
            "BACKFILL_DATABASE_URL": self.postgres.url("backfill"),
            "BACKFILL_LAKE_ROOT": str(self.home / "lake"),
            "BACKFILL_SERVICES_FILE": str(self.home / "services.yaml"),
            "BACKFILL_TENANTS_FILE": str(self.home / "tenants.yaml"),
            **celery,
            **(self.product.variables if self.metadata else {}),
            **credentials,
        }


def _on_workers(text: str) -> str:
    """The instance with the launcher of Celery workers, the first of which may take a while to load the code."""
    instance = yaml.safe_load(text)
    instance["run_launcher"] = {"module": "backfill_assets.celery_run_launcher", "class": "WorkerRunLauncher"}
    instance["run_monitoring"]["start_timeout_seconds"] = START_SECONDS
    return yaml.safe_dump(instance, sort_keys=False)


def _write_yaml(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(yaml.safe_dump(dict(content), sort_keys=False))
