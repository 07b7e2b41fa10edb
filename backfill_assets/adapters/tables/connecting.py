"""Connections to PostgreSQL for moving rows, and what their failures mean.

Here belong the settings of a session and the translation of errors. What a driver says of a row is never passed on.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from backfill_assets.errors import CredentialRefused, PermanentError, TransientError

SECONDS_TO_CONNECT = 10

# Both ends write the same value as the same text under these, whatever their servers are set to.
_SESSION = b"""
    SET datestyle = 'ISO, YMD'; SET intervalstyle = 'postgres'; SET timezone = 'UTC'; SET extra_float_digits = 1;
    SET bytea_output = 'hex'; SET lc_monetary = 'C'; SET client_encoding = 'UTF8'; SET statement_timeout = 0
"""

_REFUSED = frozenset({"28000", "28P01", "3D000"})
_ROW_CLASSES = frozenset({"22", "23"})
_PASSING_CLASSES = frozenset({"08", "40", "57", "58"})

Connection = psycopg.Connection[tuple[Any, ...]]


def connected(conninfo: str) -> Connection:
    """A connection that commits each statement, outside of a transaction."""
    with told(conninfo):
        connection = psycopg.connect(
            conninfo,
            autocommit=True,
            prepare_threshold=None,
            connect_timeout=SECONDS_TO_CONNECT,
            application_name="backfill",
        )
        connection.execute(_SESSION)
        return connection


def location(conninfo: str) -> str:
    """Where the database is, fit for a message: without user and password."""
    parts = conninfo_to_dict(conninfo)
    return f"PostgreSQL at {parts.get('host', 'the local socket')}:{parts.get('port', 5432)}/{parts.get('dbname', '')}"


@contextmanager
def told(conninfo: str) -> Iterator[None]:
    """Raise what goes wrong as one of our errors: a sentence without values, and without a cause that has them."""
    try:
        yield
    except psycopg.Error as error:
        raise _meaning(error, location(conninfo)) from None


def _meaning(error: psycopg.Error, where: str) -> Exception:
    code = error.sqlstate or ""
    said = (error.diag.message_primary or str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    if code in _REFUSED or "password authentication failed" in said or (not code and "authentication" in said):
        return CredentialRefused(f"{where} refused us ({code or 'sign-in failed'}); check its user and password")
    if code == "42501":
        return CredentialRefused(f"{where} refused us: {said}; grant that right, then run the job again")
    if code[:2] == "53":
        return PermanentError(f"{where} has no room ({said}); make room there, then run the job again")
    if code[:2] in _ROW_CLASSES:
        place = error.diag.constraint_name or error.diag.column_name or type(error).__name__
        return PermanentError(f"{where} did not take a row ({place}, {code}); correct the row or the table")
    if code[:2] in _PASSING_CLASSES or (not code and isinstance(error, psycopg.OperationalError)):
        return TransientError(f"{where} did not answer ({code or 'connection lost'}).")
    return PermanentError(f"{where} cannot do what was asked: {said} ({code})")
