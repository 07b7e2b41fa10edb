"""Hand-offs in the state database.

Here belong the statements behind `core.handoff.HandoffLedger` and nothing else. Each change is one statement whose
condition the database checks, so that nobody has to lock.
"""

from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter

from sqlalchemy import Engine, Update, and_, select, update

from backfill_assets.adapters.state.connecting import transaction
from backfill_assets.adapters.state.tables import HANDOFFS
from backfill_assets.adapters.state.upserts import insert_if_absent
from backfill_assets.core.handoff import Handoff


class SqlHandoffs:
    """A `HandoffLedger` on PostgreSQL or SQLite."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def handoffs(self, *, service: str | None = None, tenant: str | None = None) -> Sequence[Handoff]:
        """See `HandoffLedger.handoffs`."""
        columns = HANDOFFS.c
        wanted = select(
            columns.tenant,
            columns.service,
            columns.table_name.label("table"),
            columns.history_from,
            columns.first_request_at,
        )
        if service is not None:
            wanted = wanted.where(columns.service == service)
        if tenant is not None:
            wanted = wanted.where(columns.tenant == tenant)
        with transaction(self._engine) as connection:
            found = [Handoff(**row._mapping) for row in connection.execute(wanted)]
        return sorted(found, key=attrgetter("place"))

    def plan(self, tenant: str, service: str, table: str, *, start: datetime) -> None:
        """See `HandoffLedger.plan`."""
        columns = HANDOFFS.c
        row = {"tenant": tenant, "service": service, "table_name": table, "history_from": start}
        earlier = _of(tenant, service, table).where(columns.history_from > start)
        with transaction(self._engine) as connection:
            connection.execute(insert_if_absent(self._engine, HANDOFFS), row)
            connection.execute(earlier.values(history_from=start))

    def begin(self, tenant: str, service: str, table: str, at: datetime) -> None:
        """See `HandoffLedger.begin`."""
        first = _of(tenant, service, table).where(HANDOFFS.c.first_request_at.is_(None))
        with transaction(self._engine) as connection:
            connection.execute(first.values(first_request_at=at))

    def advance(self, tenant: str, service: str, table: str, *, covered_from: datetime, began: datetime) -> bool:
        """See `HandoffLedger.advance`."""
        moment = HANDOFFS.c.first_request_at
        covered = _of(tenant, service, table).where(moment >= covered_from, moment < began)
        with transaction(self._engine) as connection:
            return connection.execute(covered.values(first_request_at=began)).rowcount > 0


def _of(tenant: str, service: str, table: str) -> Update:
    columns = HANDOFFS.c
    return update(HANDOFFS).where(
        and_(columns.tenant == tenant, columns.service == service, columns.table_name == table)
    )
