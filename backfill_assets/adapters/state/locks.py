"""Locks between processes and threads, which end with their holder, on both kinds of state database.

Here belongs how a lock is taken and given back. What a lock protects belongs to its caller.

PostgreSQL keeps each lock as an advisory lock of one transaction on a connection of its own. SQLite has one lock for
all names, the write lock of a second file beside the database, so that a holder can still write to the state; and one
more for those of canonical tables, since building one may take minutes in which nobody else should wait.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import URL, Connection, Engine, NullPool, text
from sqlalchemy.exc import OperationalError

from backfill_assets.adapters.state.connecting import engine_for, told_as_transient

ROUND = 1.0
"""Seconds of waiting at once: a driver that waits hears no signal, so Ctrl-C gets its turn between two rounds."""

LOCKS, LONG_LOCKS = ".locks", ".canonical.locks"
LONG = "canonical:"
"""What the names of locks begin with that may be held for minutes."""

LOCK_NOT_AVAILABLE = "55P03"
SQLITE_BUSY = 5

POSTGRES_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")
POSTGRES_SETTINGS = (
    f"SET LOCAL lock_timeout = {int(ROUND * 1000)}",
    # The holder is silent for as long as its work takes; a holder whose machine died is noticed all the same.
    "SET LOCAL idle_in_transaction_session_timeout = 0",
    "SET LOCAL tcp_keepalives_idle = 10",
    "SET LOCAL tcp_keepalives_interval = 5",
    "SET LOCAL tcp_keepalives_count = 3",
)


class Locks:
    """The named locks of one state database."""

    def __init__(self, url: URL) -> None:
        self._url = url
        self._is_postgres = url.get_backend_name() == "postgresql"
        suffixes = [""] if self._is_postgres else [LOCKS, LONG_LOCKS]
        self._engines = {suffix: self._beside(suffix) for suffix in suffixes}
        self._mine = threading.local()

    def close(self) -> None:
        """Give up the engines; no lock may be held."""
        for engine in self._engines.values():
            engine.dispose()

    def _beside(self, suffix: str) -> Engine:
        url = self._url.set(database=f"{self._url.database}{suffix}")
        return engine_for(url, poolclass=NullPool, patience=ROUND)

    def _file(self, name: str) -> str:
        """Which of the databases keeps this lock."""
        if self._is_postgres:
            return ""
        return LONG_LOCKS if name.startswith(LONG) else LOCKS

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        """Wait for this lock and hold it; raises `TransientError` when the connection that carries it breaks."""
        held = self._held_here()
        if name in held:
            raise RuntimeError(f"this thread holds the lock {name!r} already and would wait for itself")
        if not self._is_postgres and any(self._file(other) == self._file(name) for other in held):
            yield  # the one lock there is, is ours
            return
        held.add(name)
        try:
            with self._locked(name):
                yield
        finally:
            held.remove(name)

    def _held_here(self) -> set[str]:
        held: set[str] = self._mine.__dict__.setdefault("names", set())
        return held

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        with told_as_transient(self._url):
            connection = self._engines[self._file(name)].connect()
        with connection:
            with told_as_transient(self._url):
                while not self._try(connection, name):
                    connection.rollback()
            yield
            with told_as_transient(self._url):
                # The commit fails if the lock was lost on the way, which the caller must hear about.
                connection.commit()

    def _try(self, connection: Connection, name: str) -> bool:
        """Wait one round for the lock; whether we have it."""
        try:
            connection.begin()
            if self._is_postgres:
                for setting in POSTGRES_SETTINGS:
                    connection.exec_driver_sql(setting)
                connection.execute(POSTGRES_LOCK, {"name": name})
        except OperationalError as error:
            if _is_held_by_another(error):
                return False
            raise
        return True


def _is_held_by_another(error: OperationalError) -> bool:
    codes = (getattr(error.orig, "pgcode", None), getattr(error.orig, "sqlite_errorcode", None))
    return LOCK_NOT_AVAILABLE in codes or SQLITE_BUSY in codes
