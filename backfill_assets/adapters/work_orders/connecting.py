"""Connections to the database of work orders, and what their failures mean.

No message of the driver that could quote a row is ever passed on.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from backfill_assets.adapters.work_orders.tables import STAGING
from backfill_assets.errors import (
    ConfigurationError,
    CredentialRefused,
    PermanentError,
    RejectedRecord,
    SourceUnreachable,
    TransientError,
)

SECONDS_TO_CONNECT = 10
MOST_CONNECTIONS = 4
VARIABLE = "BACKFILL_WORK_ORDERS_DATABASE_URL"

REFUSALS = ("28000", "28P01", "42501")
MISSING = ("3D000", "3F000", "42P01", "42703", "42704")
PASSING = ("40001", "40P01", "53", "55P03", "57P")
"""SQLSTATEs, or what they begin with: what no other attempt would be allowed, what `backfill init` would make, and
what may pass by itself."""


def conninfo(url: str) -> str:
    """A SQLAlchemy URL as libpq reads it."""
    return url.replace("postgresql+psycopg2://", "postgresql://", 1).replace(
        "postgresql+psycopg://", "postgresql://", 1
    )


def location(url: str) -> str:
    """Where the database is, fit for a message: without user and password."""
    parts = urlsplit(conninfo(url))
    return f"PostgreSQL at {parts.hostname or 'the local socket'}:{parts.port or 5432}{parts.path}"


def pool_for(url: str) -> ConnectionPool[psycopg.Connection[Any]]:
    """Connections that are made when they are first asked for."""
    return ConnectionPool(
        conninfo(url),
        kwargs={"connect_timeout": SECONDS_TO_CONNECT, "application_name": "backfill"},
        configure=_prepare,
        min_size=0,
        max_size=MOST_CONNECTIONS,
        timeout=SECONDS_TO_CONNECT,
        check=ConnectionPool.check_connection,
        open=True,
    )


def _prepare(connection: psycopg.Connection[Any]) -> None:
    with connection.transaction():
        # Snapshots of time zones differ; what is read is in UTC whatever the server says.
        connection.execute("SET TIME ZONE 'UTC'")
        for name, columns in STAGING.items():
            connection.execute(f"CREATE TEMP TABLE IF NOT EXISTS {name} ({columns})")


@contextmanager
def told(url: str) -> Iterator[None]:
    """Raise what goes wrong as one of our errors: a sentence without values, and without a cause that has them."""
    try:
        yield
    except PoolTimeout:
        _raise_why_not(url)
    except psycopg.Error as error:
        raise _meaning(error, url) from None


def _raise_why_not(url: str) -> None:
    """The pool says only that it has no connection; one connection of our own says why."""
    try:
        psycopg.connect(conninfo(url), connect_timeout=SECONDS_TO_CONNECT).close()
    except psycopg.Error as error:
        raise _meaning(error, url) from None
    raise TransientError(f"The database of work orders ({location(url)}) had no connection to give.")


def _meaning(error: psycopg.Error, url: str) -> Exception:
    where, state = f"The database of work orders ({location(url)})", error.sqlstate or ""
    if isinstance(error, (psycopg.DataError, psycopg.IntegrityError)):
        return RejectedRecord(f"{where} did not take a row ({state})")
    line = _first_line(error, url)
    if state in REFUSALS or "authentication failed" in str(error):
        return CredentialRefused(f"{where} refused us: {line}. Check {VARIABLE} and what its user may do.")
    if state in MISSING or "does not exist" in str(error):
        return ConfigurationError(f"{where} lacks what we need: {line}. Run `backfill init`, and check {VARIABLE}.")
    if state.startswith(PASSING):
        return TransientError(f"{where} did not answer: {line}.")
    if not state and isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)):
        return SourceUnreachable(f"{where} cannot be reached: {line}. Check {VARIABLE} and that the database runs.")
    return PermanentError(f"{where} cannot be used: {line}. Check {VARIABLE}.")


def _first_line(error: psycopg.Error, url: str) -> str:
    """What the server says, without the password should it quote it; such errors quote no rows."""
    told = error.diag.message_primary or str(error)
    line = (told.strip().splitlines() or ["no reason was given"])[0].rstrip(".")
    password = urlsplit(conninfo(url)).password
    return line.replace(password, "***") if password else line
