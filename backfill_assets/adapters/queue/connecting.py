"""Connections to the queue's database, and what their failures mean.

Here belongs the connecting, and how a new installation's tables are made. No message quotes a value or a password.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import URL, Engine, NullPool, create_engine, inspect, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, TimeoutError

from backfill_assets.adapters.queue.tables import OURS, PLATFORM
from backfill_assets.errors import CredentialRefused, PermanentError, TransientError

SETTING = "BACKFILL_QUEUE_DATABASE_URL"
SECONDS_TO_CONNECT = 10
REFUSED = frozenset({"28000", "28P01", "42501", "3D000"})
"""What no other attempt would be allowed either: access, privileges, a database that is not there."""


def engine_for(url: str, *, pooled: bool = True) -> Engine:
    """Connect lazily; values never get into messages."""
    parsed = make_url(url)
    arguments = {"connect_timeout": SECONDS_TO_CONNECT, "application_name": "backfill"}
    given = {name: value for name, value in arguments.items() if name not in parsed.query}
    pool = {} if pooled else {"poolclass": NullPool}
    return create_engine(parsed, hide_parameters=True, pool_pre_ping=pooled, connect_args=given, **pool)


def location(url: URL) -> str:
    """Where the database is, fit for a message: without user and password."""
    return f"PostgreSQL at {url.host or 'the local socket'}:{url.port or 5432}/{url.database or ''}"


@contextmanager
def told(url: URL) -> Iterator[None]:
    """Raise what goes wrong as one of our errors."""
    try:
        yield
    except DBAPIError as error:
        raise _meaning(error, url) from None
    except TimeoutError:
        raise TransientError(f"The queue ({location(url)}) had no connection to give.") from None


def _meaning(error: DBAPIError, url: URL) -> Exception:
    where = f"The queue ({location(url)})"
    code = getattr(error.orig, "pgcode", None)
    if code in REFUSED or "password authentication failed" in str(error.orig):
        return CredentialRefused(
            f"{where} refused us: {_first_line(error, url)}. Check {SETTING}, and that its user may select from and "
            "update queue_backfill_data, and read the tables beside it."
        )
    if error.connection_invalidated or isinstance(error, (OperationalError, InterfaceError)):
        return TransientError(f"{where} did not answer: {_first_line(error, url)}.")
    return PermanentError(
        f"{where} cannot be used: {_first_line(error, url)}. Check that {SETTING} names the platform's database, and "
        "run `backfill init`."
    )


def _first_line(error: DBAPIError, url: URL) -> str:
    line = (str(error.orig).strip().splitlines() or ["no reason was given"])[0].rstrip(".")
    return line.replace(url.password, "***") if url.password else line


def initialise(url: str) -> Sequence[str]:
    """Make the tables that are not there; return their names. What is there stays as it is."""
    engine = engine_for(url, pooled=False)
    try:
        with told(engine.url), engine.begin() as connection:
            # One at a time: two that look at once would both make them.
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtextextended('backfill_assets queue', 0))")
            known = set(inspect(connection).get_table_names())
            made = [table.name for tables in (PLATFORM, OURS) for table in tables.sorted_tables]
            for tables in (PLATFORM, OURS):
                tables.create_all(connection, checkfirst=True)
            return [name for name in made if name not in known]
    finally:
        engine.dispose()
