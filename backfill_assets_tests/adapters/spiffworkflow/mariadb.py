"""A MariaDB of the tests' own, run from Debian's binaries.

Here belongs the server's life. It listens on 127.0.0.1, and on a socket in a folder that only its starter may enter.
"""

import getpass
import secrets
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

from sqlalchemy import URL, NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError

SERVER, INSTALLER = Path("/usr/sbin/mariadbd"), Path("/usr/bin/mariadb-install-db")
HOST, USER = "127.0.0.1", "backfill"
PATIENCE = 60

# Nobody will miss what the tests store.
FORGETFUL = ("--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0", "--skip-log-bin", "--sync-binlog=0")
SMALL = ("--innodb-buffer-pool-size=64M", "--innodb-log-file-size=32M", "--performance-schema=OFF")


class MariaDb:
    """One server with its data below `root`."""

    def __init__(self, root: Path, port: int, password: str) -> None:
        self._root = root
        self._port = port
        self._password = password

    def url(self, database: str = "") -> str:
        """The SQLAlchemy URL of a database, password included."""
        url = URL.create("mysql+pymysql", USER, self._password, HOST, self._port, database)
        return url.render_as_string(hide_password=False)

    def execute(self, *statements: str) -> None:
        """Run statements as the owner of all databases."""
        engine = create_engine(self.url(), poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for statement in statements:
                connection.execute(text(statement))

    def user(self, name: str, *grants: str) -> URL:
        """A new user who may do just this; the URL has yet to name a database."""
        password = secrets.token_hex(12)
        made = f"CREATE OR REPLACE USER '{name}'@'{HOST}' IDENTIFIED BY '{password}'"
        self.execute(made, *(f"GRANT {grant} TO '{name}'@'{HOST}'" for grant in grants))
        return URL.create("mysql+pymysql", name, password, HOST, self._port)


@contextmanager
def running_mariadb(root: Path) -> Iterator[MariaDb]:
    """A server that is there and empty, until the block ends."""
    root.chmod(0o700)
    password, port = secrets.token_hex(12), _free_port()
    shared = [f"--datadir={root / 'data'}", f"--user={getpass.getuser()}"]
    _run([str(INSTALLER), "--no-defaults", "--auth-root-authentication-method=socket", "--skip-test-db", *shared])
    accounts = root / "accounts.sql"
    accounts.write_text(
        # The server takes each line as one statement.
        f"CREATE USER '{USER}'@'{HOST}' IDENTIFIED BY '{password}';\n"
        f"GRANT ALL ON *.* TO '{USER}'@'{HOST}' WITH GRANT OPTION;\n"
    )
    listens = [f"--bind-address={HOST}", f"--port={port}", f"--socket={root / 'socket'}", "--skip-name-resolve"]
    files = [f"--pid-file={root / 'pid'}", f"--init-file={accounts}", f"--log-error={root / 'log'}"]
    text_as = ["--character-set-server=utf8mb4", "--collation-server=utf8mb4_unicode_ci"]
    command = [str(SERVER), "--no-defaults", *shared, *listens, *files, *text_as, *FORGETFUL, *SMALL]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        server = MariaDb(root, port, password)
        try:
            _wait(server, process, root / "log")
            yield server
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            finally:
                process.kill()


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stderr[-500:]}")


def _wait(server: MariaDb, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = monotonic() + PATIENCE
    while True:
        try:
            return server.execute("SELECT 1")
        except DBAPIError as error:
            if process.poll() is not None or monotonic() > deadline:
                told = log.read_text()[-500:] if log.exists() else str(error.orig)
                raise RuntimeError(f"MariaDB does not start: {told}") from None
        sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
