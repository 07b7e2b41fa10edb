"""A PostgreSQL of our own for the demo and the tests, run from the binaries of a wheel.

Here belongs the server's life: made, started, found again, stopped, removed. Its folders and its account belong to
`sandbox/postgres_home`. It listens on 127.0.0.1 and on a Unix socket and lets nobody in without the password, which
is kept in `root/password`. A server outlives the process that started it; whoever starts it next finds it.
"""

import fcntl
import os
import secrets
import shlex
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Self

import psutil
from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, text
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from backfill_assets.errors import ConfigurationError
from backfill_assets.sandbox.postgres_home import Home, installed, settle, socket_folder_of
from backfill_assets.sandbox.postgres_processes import family, postmaster, run, still_there

HOST = "127.0.0.1"
USER = "postgres"
SECONDS_TO_CONNECT = 5
SECONDS_TO_LEAVE = 2

SETTINGS = {
    "listen_addresses": HOST,
    "shared_buffers": "128MB",
    "max_connections": "200",
    "unix_socket_permissions": "0700",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
}
FORGETFUL = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""What a server whose data nobody will miss need not wait for."""


class EmbeddedPostgres:
    """One server whose cluster, password and port are kept under `root`, a folder of its own.

    `durable=False` trades safety against a crash of the machine for speed; `install` is the folder of the binaries,
    the wheel's by default; a server that neither starts nor stops within `patience` seconds is given up. Every failure
    is a `ConfigurationError`.
    """

    def __init__(self, root: Path, *, durable: bool = True, install: Path | None = None, patience: int = 60) -> None:
        self._root = root.resolve()
        self._durable = durable
        self._install = install
        self._patience = patience

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Make the cluster at the first use and start its server; one that runs already is used as it is."""
        with self._told("started"):
            self._root.mkdir(parents=True, exist_ok=True)
            with self._alone():
                home = settle(self._root, self._install or installed())
                if self._answers(home):
                    return
                self._halt(home, "immediate")
                if not home.data.exists():
                    self._make_cluster(home)
                self._password()  # were it missing, nobody could connect
                self._launch(home)

    def stop(self) -> None:
        """Stop the server, ending the sessions it has, and wait until its processes are gone."""
        if not (self._root / "cluster").exists():
            return
        with self._told("stopped"), self._alone():
            self._halt(settle(self._root, self._install or installed()), "fast")

    def remove(self) -> None:
        """Stop the server and delete its data, password and folders, also those outside of `root`."""
        self.stop()
        cluster = self._root / "cluster"
        with self._told("removed"):
            for folder in (socket_folder_of(cluster.resolve()), cluster.resolve()):
                if folder.exists():
                    shutil.rmtree(folder)
            if cluster.is_symlink():
                cluster.unlink()
            for name in ("password", "port", "lock"):
                (self._root / name).unlink(missing_ok=True)
            # What is left then is not ours.
            with suppress(OSError):
                self._root.rmdir()

    def url(self, database: str = "postgres") -> str:
        """The SQLAlchemy URL of a database, password included."""
        with self._told("addressed"):
            port = int((self._root / "port").read_text())
            url = URL.create("postgresql+psycopg2", USER, self._password(), HOST, port, database)
        return url.render_as_string(hide_password=False)

    def create_database(self, name: str) -> None:
        """Create this database unless it exists."""
        with self._administration() as engine, engine.connect() as connection:
            if _is_known(connection, name):
                return
            try:
                connection.execute(text(f"CREATE DATABASE {self._quoted(engine, name)}"))
            except (ProgrammingError, IntegrityError):
                # Another process may have been faster.
                if not _is_known(connection, name):
                    raise

    def drop_database(self, name: str) -> None:
        """Drop this database if it exists, ending the sessions it has."""
        with self._administration() as engine, engine.connect() as connection:
            connection.execute(text(f"DROP DATABASE IF EXISTS {self._quoted(engine, name)} WITH (FORCE)"))

    @property
    def log(self) -> Path:
        """What the server writes about itself."""
        return self._root / "cluster" / "postgres.log"

    @contextmanager
    def _administration(self) -> Iterator[Engine]:
        patience = {"connect_timeout": min(SECONDS_TO_CONNECT, self._patience)}
        engine = create_engine(self.url(), isolation_level="AUTOCOMMIT", poolclass=NullPool, connect_args=patience)
        try:
            yield engine
        finally:
            engine.dispose()

    @staticmethod
    def _quoted(engine: Engine, name: str) -> str:
        return engine.dialect.identifier_preparer.quote_identifier(name).replace(":", r"\:")

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Tell an error of the operating system as what it means here."""
        try:
            yield
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            raise ConfigurationError(
                f"The embedded PostgreSQL under {self._root} cannot be {what}: {error.strerror or error}{where}."
            ) from error

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes from starting or stopping the same server meanwhile."""
        with (self._root / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _password(self) -> str:
        return (self._root / "password").read_text()

    def _answers(self, home: Home) -> bool:
        """Whether our server runs and lets us in; one that is on its way up or down does not."""
        if postmaster(home) is None or not (self._root / "port").exists():
            return False
        try:
            with self._administration() as engine, engine.connect():
                return True
        except OperationalError:
            return False

    def _make_cluster(self, home: Home) -> None:
        """Run initdb beside the final place, so that an interrupted one is not mistaken for a cluster."""
        unfinished, pwfile = home.cluster / "data.part", home.cluster / "password.part"
        shutil.rmtree(unfinished, ignore_errors=True)
        pwfile.unlink(missing_ok=True)
        password = secrets.token_urlsafe(24)
        _write_secret(self._root / "password.part", password)
        _write_secret(pwfile, password)
        home.own(pwfile)
        flags = [] if self._durable else ["--no-sync"]
        cluster = [f"--pgdata={unfinished}", "--encoding=UTF8", "--locale=C", "--no-instructions"]
        # The password is random, so slow hashing protects nothing, and Dagster opens a connection for every event:
        # one takes 1.8 ms instead of 4.3 ms.
        cluster.append("--set=scram_iterations=1")
        access = [f"--username={USER}", "--auth=scram-sha-256", f"--pwfile={pwfile}"]
        self._checked(run(home, "initdb", *cluster, *access, *flags), home)
        pwfile.unlink()
        (self._root / "password.part").replace(self._root / "password")
        unfinished.rename(home.data)

    def _launch(self, home: Home) -> None:
        """Start the server, on another port when ours is taken, after its killed predecessor has quite gone."""
        deadline = monotonic() + self._patience
        while True:
            port = self._choose_port()
            written = _size(home.log)
            outcome = self._start_server(home, port)
            if outcome.returncode == 0:
                return
            reason = _tail(home.log, written)
            passing = "is still in use" in reason or not _is_free(port)
            if not passing or monotonic() > deadline:
                raise self._refusal(home, written, outcome)
            sleep(0.1)

    def _start_server(self, home: Home, port: int) -> subprocess.CompletedProcess[str]:
        own = {"port": str(port), "unix_socket_directories": f'"{home.sockets}"'}
        settings = {**SETTINGS, **own, **({} if self._durable else FORGETFUL)}
        # pg_ctl starts the server in a session of its own, so that Ctrl-C in this terminal does not reach it.
        options = ["-D", str(home.data), "-l", str(home.log), "-t", str(self._patience), "-o", _options(settings)]
        return run(home, "pg_ctl", "start", "-w", "-s", *options)

    def _choose_port(self) -> int:
        """The port of last time while it is free, else a new one, remembered."""
        file = self._root / "port"
        if file.exists() and _is_free(port := int(file.read_text())):
            return port
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port = int(probe.getsockname()[1])
        file.write_text(str(port))
        return port

    def _halt(self, home: Home, mode: str) -> None:
        """Stop what runs on this cluster, also what a killed server has left behind."""
        processes = family(home)
        if postmaster(home) is not None:
            run(home, "pg_ctl", "stop", "-s", "-D", str(home.data), "-m", mode, "-t", str(self._patience))
        for process in still_there(processes, timeout=SECONDS_TO_LEAVE):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        if not still_there(processes, timeout=SECONDS_TO_LEAVE):
            # Files of a killed server: they name a pid, which may by now be another program's.
            for leftover in (home.data / "postmaster.pid", *home.sockets.glob(".s.PGSQL.*")):
                leftover.unlink(missing_ok=True)

    def _checked(self, outcome: subprocess.CompletedProcess[str], home: Home) -> None:
        if outcome.returncode != 0:
            raise self._refusal(home, _size(home.log), outcome)

    def _refusal(self, home: Home, written: int, outcome: subprocess.CompletedProcess[str]) -> ConfigurationError:
        reason = _telling(_tail(home.log, written)) or _telling(outcome.stderr) or f"exit code {outcome.returncode}"
        return ConfigurationError(
            f"The embedded PostgreSQL under {self._root} cannot be started: {reason}. Its log is {self.log}."
        )


def _is_known(connection: Connection, database: str) -> bool:
    known = text("SELECT FROM pg_database WHERE datname = :database")
    return connection.execute(known, {"database": database}).first() is not None


def _options(settings: Mapping[str, str]) -> str:
    """The settings as one text for the shell that pg_ctl starts the server through."""
    return shlex.join(word for name, value in settings.items() for word in ("-c", f"{name}={value}"))


def _write_secret(path: Path, secret: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secret)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def _tail(log: Path, start: int) -> str:
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(start)
        return file.read().decode(errors="replace")


def _telling(output: str) -> str:
    """The line that says what went wrong: the last fatal one, since PostgreSQL's very last is often a goodbye."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    fatal = [line for line in lines if any(word in line for word in ("FATAL:", "PANIC:", "error:", "could not"))]
    return (fatal or lines or [""])[-1].rstrip(".")
