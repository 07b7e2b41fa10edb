"""Connections to the state database, on PostgreSQL and on SQLite, and what their failures mean.

Here belongs all that differs between the two when connecting. Locks, tables and ledgers belong to the modules beside
this one.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, NullPool, Pool, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError

from backfill_assets.adapters.state.tables import SCHEMA, VERSION_TABLE
from backfill_assets.errors import ConfigurationError, TransientError

SECONDS_TO_CONNECT = 10
SECONDS_TO_LOOK = 2
SECONDS_TO_WAIT_FOR_SQLITE = 60
"""How long a statement waits for another process that writes to the same file."""


def parse(url: str) -> URL:
    """Read a database URL; the driver is added where only the database is named."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise _unreadable() from None  # the cause may quote the password
    if "@" in f"{parsed.host}{parsed.database}" and not parsed.drivername.startswith("sqlite"):
        raise _unreadable()  # part of the password was taken for the host
    if parsed.drivername in ("postgres", "postgresql", "postgresql+psycopg2"):
        return parsed.set(drivername="postgresql+psycopg2")
    if parsed.drivername in ("sqlite", "sqlite+pysqlite") and parsed.database not in (None, "", ":memory:"):
        return parsed
    raise ConfigurationError(
        f"BACKFILL_DATABASE_URL names {parsed.drivername}, which cannot keep the state; "
        "use postgresql:// or, for the smallest set-up, sqlite:// with the path of a file."
    )


def _unreadable() -> ConfigurationError:
    return ConfigurationError(
        "BACKFILL_DATABASE_URL is not a database URL; write postgresql://user:password@host:port/database or "
        "sqlite:////folder/state.db. Characters such as @ and / in a password are written as %40 and %2F."
    )


def location(url: URL) -> str:
    """Where the database is, fit for a message: without user and password."""
    if url.drivername.startswith("sqlite"):
        return f"SQLite file {url.database}"
    return f"PostgreSQL at {url.host or 'the local socket'}:{url.port or 5432}/{url.database or ''}"


def file_of(url: URL) -> Path | None:
    """The file of a SQLite database, None for PostgreSQL."""
    return Path(url.database or "") if url.drivername.startswith("sqlite") else None


def engine_for(
    url: URL, *, poolclass: type[Pool] | None = None, patience: float = SECONDS_TO_WAIT_FOR_SQLITE
) -> Engine:
    """Connect lazily; `patience` is how many seconds SQLite waits for another writer."""
    if url.drivername.startswith("sqlite"):
        engine = create_engine(url, poolclass=poolclass, connect_args={"timeout": patience})
        engine = engine.execution_options(schema_translate_map={SCHEMA: None})
        _lock_when_transactions_begin(engine)
        return engine
    arguments = {"connect_timeout": SECONDS_TO_CONNECT, "application_name": "backfill"}
    given = {name: value for name, value in arguments.items() if name not in url.query}
    return create_engine(url, poolclass=poolclass, pool_pre_ping=True, connect_args=given)


def engine_for_a_look(url: URL) -> Engine:
    """Connect to what is there or fail soon; takes no lock and makes no file."""
    file = file_of(url)
    if file is None:
        arguments = {"connect_timeout": SECONDS_TO_LOOK, "application_name": "backfill"}
        return create_engine(url, poolclass=NullPool, connect_args=arguments)
    existing = f"{file.absolute().as_uri()}?mode=rw"
    return create_engine(
        "sqlite://", poolclass=NullPool, creator=lambda: sqlite3.connect(existing, uri=True, timeout=SECONDS_TO_LOOK)
    )


def _lock_when_transactions_begin(engine: Engine) -> None:
    """Take SQLite's write lock first: a transaction that reads and then writes would fail instead of waiting."""

    @event.listens_for(engine, "connect")
    def leave_transactions_to_us(connection: Any, record: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def revision_of(connection: Connection) -> str | None:
    """The revision that the schema is at; None where there is no schema of ours."""
    schema = SCHEMA if connection.dialect.name == "postgresql" else None
    if not inspect(connection).has_table(VERSION_TABLE, schema=schema):
        return None
    prefix = f"{schema}." if schema else ""
    return connection.execute(text(f"SELECT version_num FROM {prefix}{VERSION_TABLE}")).scalar()  # noqa: S608


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """Run a ledger's statements in one transaction; trouble with the connection is worth another try."""
    with told_as_transient(engine.url), engine.begin() as connection:
        yield connection


@contextmanager
def told_as_transient(url: URL) -> Iterator[None]:
    """Raise what goes wrong with an open database as `TransientError`."""
    try:
        yield
    except OperationalError as error:
        raise TransientError(f"The state database ({location(url)}) did not answer: {_reason(error, url)}.") from error


@contextmanager
def told_as_configuration(url: URL) -> Iterator[None]:
    """Raise what goes wrong on the first contact as `ConfigurationError`."""
    try:
        yield
    except DBAPIError as error:
        raise ConfigurationError(
            f"The state database ({location(url)}) cannot be used: {_reason(error, url)}. "
            "Check BACKFILL_DATABASE_URL and that the database is running."
        ) from error


def _reason(error: DBAPIError, url: URL) -> str:
    """The first line of the driver's message, without the password should it quote it."""
    line = (str(error.orig).strip().splitlines() or ["no reason was given"])[0].rstrip(".")
    secrets = [secret for secret in (url.password, url.query.get("password")) if secret]
    return reduce(lambda told, secret: told.replace(str(secret), "***"), secrets, line)
