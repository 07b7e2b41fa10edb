"""The state database, opened: the one place through which ledgers and locks are reached.

Here belongs opening, refusing what does not fit, and closing. Making and migrating the schema belongs to
`adapters/state/schema`, which alone loads Alembic.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from types import TracebackType
from typing import Self

from sqlalchemy import URL, Engine
from sqlalchemy.exc import DBAPIError

from backfill_assets.adapters.state.budgets import SqlBudgets
from backfill_assets.adapters.state.certificates import SqlCertificates
from backfill_assets.adapters.state.connecting import (
    SECONDS_TO_LOOK,
    engine_for,
    engine_for_a_look,
    file_of,
    location,
    parse,
    revision_of,
    told_as_configuration,
)
from backfill_assets.adapters.state.dead_letters import SqlDeadLetters
from backfill_assets.adapters.state.fields import SqlFields
from backfill_assets.adapters.state.handoffs import SqlHandoffs
from backfill_assets.adapters.state.locks import Locks
from backfill_assets.adapters.state.pacing import SqlPaces
from backfill_assets.adapters.state.switches import SqlSwitches
from backfill_assets.adapters.state.tables import SCHEMA_REVISION
from backfill_assets.core.pacing import OpenBreaker, Pace, Pacer
from backfill_assets.errors import ConfigurationError


class StateDatabase:
    """What neither Dagster nor a target can remember; share an instance between threads, not between processes."""

    def __init__(self, engine: Engine) -> None:
        """Use an engine whose schema is known to fit; `open` is the way to get here."""
        self._engine = engine
        self._locks = Locks(engine.url)
        self.dead_letters = SqlDeadLetters(engine)
        self.paces = SqlPaces(engine)
        self.budgets = SqlBudgets(engine)
        self.switches = SqlSwitches(engine)
        self.certificates = SqlCertificates(engine)
        self.handoffs = SqlHandoffs(engine)
        self.fields = SqlFields(engine)

    @classmethod
    def open(cls, url: str) -> Self:
        """Connect; `ConfigurationError` when the database is out of reach or its schema is not the one we need."""
        parsed = parse(url)
        _require_revision(parsed, _found_revision(parsed))
        return cls(engine_for(parsed))

    def pacer(self, service: str, tenant: str, pace: Pace) -> Pacer:
        """See `PaceLedger.pacer`."""
        return self.paces.pacer(service, tenant, pace)

    def breakers(self) -> Sequence[OpenBreaker]:
        """See `PaceLedger.breakers`."""
        return self.paces.breakers()

    def lock(self, name: str) -> AbstractContextManager[None]:
        """Hold the lock of this name: one holder at a time among all threads and processes.

        Waits without end; the holder's death frees it. A thread may hold several names, but takes none twice.
        """
        return self._locks.hold(name)

    def close(self) -> None:
        """Give the connections back."""
        self._locks.close()
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def refuse_another_schema(url: str) -> None:
    """Raise `ConfigurationError` where another version's schema is in the database.

    For the start, which goes on while there is no database, no schema in it, or no way to it: runs refuse that
    themselves, and may find it mended.
    """
    parsed = parse(url)
    engine = engine_for_a_look(parsed)
    found = None
    try:
        with suppress(DBAPIError), engine.connect() as connection:
            if parsed.get_backend_name() == "postgresql":
                # A migration at this moment holds the table.
                connection.exec_driver_sql(f"SET statement_timeout = '{SECONDS_TO_LOOK}s'")
            found = revision_of(connection)
    finally:
        engine.dispose()
    if found is not None:
        _require_revision(parsed, found)


def _found_revision(url: URL) -> str | None:
    file = file_of(url)
    if file is not None and not file.exists():
        return None  # connecting would make an empty one
    engine = engine_for(url)
    try:
        with told_as_configuration(url), engine.connect() as connection:
            return revision_of(connection)
    finally:
        engine.dispose()


def _require_revision(url: URL, found: str | None) -> None:
    if found == SCHEMA_REVISION:
        return
    state = "has no schema yet" if found is None else f"is at revision {found}"
    advice = "" if found is None else f" If {found} is the newer one, update this program instead."
    raise ConfigurationError(
        f"The state database ({location(url)}) {state} and this version needs revision {SCHEMA_REVISION}; "
        f"run `backfill init`.{advice}"
    )
