"""Connections to the product's database, and what their failures mean.

Here belongs all that differs between PostgreSQL, MySQL and SQLite when connecting. No message of a driver that could
quote a row is ever passed on.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InterfaceError, OperationalError, TimeoutError

from backfill_assets.errors import CredentialRefused, PermanentError, RejectedRecord, TransientError

SECONDS_TO_CONNECT = 10
SECONDS_TO_WAIT_FOR_SQLITE = 60
"""How long a statement waits for the product that writes to the same file."""

REFUSED_BY_POSTGRES = frozenset({"28000", "28P01", "42501", "3D000"})
REFUSED_BY_MYSQL = frozenset({1044, 1045, 1049, 1142, 1143, 1227, 1370})
"""What no other attempt would be allowed either: access, privileges, a database that is not there."""

PASSING_IN_SQLITE = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


def engine_for(url: URL) -> Engine:
    """Connect lazily; values never get into messages."""
    match url.get_backend_name():
        case "sqlite":
            # Opened for what is there: connecting to a file that is not would make an empty one.
            file = f"{Path(url.database or '').absolute().as_uri()}?mode=rw"
            wait: dict[str, Any] = {"timeout": SECONDS_TO_WAIT_FOR_SQLITE, "check_same_thread": False}
            engine = create_engine(url, hide_parameters=True, creator=lambda: sqlite3.connect(file, uri=True, **wait))
            _lock_when_transactions_begin(engine)
        case "mysql":
            engine = create_engine(
                url,
                hide_parameters=True,
                pool_pre_ping=True,
                # What a transaction has looked at must not keep the product from inserting beside it.
                isolation_level="READ COMMITTED",
                connect_args=_unless_given(url, {"connect_timeout": SECONDS_TO_CONNECT, "charset": "utf8mb4"}),
            )
            _count_rows_that_change(engine)
        case _:
            arguments = {"connect_timeout": SECONDS_TO_CONNECT, "application_name": "backfill"}
            engine = create_engine(
                url, hide_parameters=True, pool_pre_ping=True, connect_args=_unless_given(url, arguments)
            )
    return engine


def _unless_given(url: URL, arguments: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if name not in url.query}


def _lock_when_transactions_begin(engine: Engine) -> None:
    """Take SQLite's write lock first: a transaction that reads and then writes would fail instead of waiting."""

    @event.listens_for(engine, "connect")
    def leave_transactions_to_us(connection: Any, record: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        only_reads = connection.get_execution_options().get("only_reads", False)
        connection.exec_driver_sql("BEGIN" if only_reads else "BEGIN IMMEDIATE")


def _count_rows_that_change(engine: Engine) -> None:
    """Let MySQL count a row that it leaves alone as none, where SQLAlchemy asks for rows that match."""
    from pymysql.constants import CLIENT

    @event.listens_for(engine, "do_connect")
    def connect(dialect: object, record: object, arguments: object, parameters: dict[str, Any]) -> None:
        parameters["client_flag"] = parameters.get("client_flag", 0) & ~CLIENT.FOUND_ROWS


def location(url: URL) -> str:
    """Where the database is, fit for a message: without user and password."""
    if url.get_backend_name() == "sqlite":
        return f"SQLite file {url.database}"
    kind, port = ("MySQL", 3306) if url.get_backend_name() == "mysql" else ("PostgreSQL", 5432)
    return f"{kind} at {url.host or 'the local socket'}:{url.port or port}/{url.database or ''}"


@contextmanager
def told(url: URL) -> Iterator[None]:
    """Raise what goes wrong as one of our errors: a sentence without values, and without a cause that has them."""
    try:
        yield
    except DBAPIError as error:
        raise _meaning(error, url) from None
    except TimeoutError:
        raise TransientError(f"The product's database ({location(url)}) had no connection to give.") from None


def _meaning(error: DBAPIError, url: URL) -> Exception:
    where = f"The product's database ({location(url)})"
    if isinstance(error, (DataError, IntegrityError)):
        return RejectedRecord(f"{where} did not take a row ({_code(error)})")
    if _is_refusal(error):
        return CredentialRefused(
            f"{where} refused us: {_first_line(error, url)}. Check SPIFFWORKFLOW_BACKEND_DATABASE_URI, and that its "
            "user may select from process_instance, task, json_data and process_instance_metadata, and insert into and "
            "update the last one."
        )
    if _may_pass(error):
        return TransientError(f"{where} did not answer: {_first_line(error, url)}.")
    return PermanentError(
        f"{where} cannot be used: {_first_line(error, url)}. Check that SPIFFWORKFLOW_BACKEND_DATABASE_URI names the "
        "database of the product."
    )


def _is_refusal(error: DBAPIError) -> bool:
    return _code(error) in REFUSED_BY_POSTGRES | REFUSED_BY_MYSQL or "password authentication failed" in str(error.orig)


def _may_pass(error: DBAPIError) -> bool:
    if isinstance(error.orig, sqlite3.Error):
        return (error.orig.sqlite_errorcode & 0xFF) in PASSING_IN_SQLITE
    return error.connection_invalidated or isinstance(error, (OperationalError, InterfaceError))


def _code(error: DBAPIError) -> object:
    """The driver's own name for what happened: an SQLSTATE, a number of MySQL's, a word of SQLite's."""
    orig: Any = error.orig
    if isinstance(orig, sqlite3.Error):
        return orig.sqlite_errorname
    if code := getattr(orig, "pgcode", None):
        return code
    return orig.args[0] if getattr(orig, "args", ()) and isinstance(orig.args[0], int) else type(orig).__name__


def _first_line(error: DBAPIError, url: URL) -> str:
    """What the driver says, without the password should it quote it; such errors quote no rows."""
    orig: Any = error.orig
    told = orig.args[1] if len(getattr(orig, "args", ())) > 1 and isinstance(orig.args[1], str) else str(orig)
    line = (told.strip().splitlines() or ["no reason was given"])[0].rstrip(".")
    return line.replace(url.password, "***") if url.password else line
