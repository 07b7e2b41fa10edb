"""Service switches in the state database.

Here belong the statements behind `core.switches.SwitchLedger` and nothing else.
"""

from datetime import datetime

from sqlalchemy import Engine, select

from backfill_assets.adapters.state.connecting import transaction
from backfill_assets.adapters.state.tables import SERVICE_SWITCHES
from backfill_assets.adapters.state.upserts import upsert


class SqlSwitches:
    """A `SwitchLedger` on PostgreSQL or SQLite."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def last_seen(self, tenant: str, service: str) -> bool | None:
        """See `SwitchLedger.last_seen`."""
        columns = SERVICE_SWITCHES.c
        wanted = select(columns.enabled).where(columns.tenant == tenant, columns.service == service)
        with transaction(self._engine) as connection:
            return connection.execute(wanted).scalar()

    def note(self, tenant: str, service: str, enabled: bool, at: datetime) -> None:
        """See `SwitchLedger.note`."""
        statement = upsert(self._engine, SERVICE_SWITCHES, key=["tenant", "service"])
        seen = {"tenant": tenant, "service": service, "enabled": enabled, "seen_at": at}
        with transaction(self._engine) as connection:
            connection.execute(statement, [seen])
