"""Service switches in the state database.

Here belong the statements behind `core.switches.SwitchLedger` and nothing else.
"""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Engine, select

from backfill_assets.adapters.state.connecting import transaction
from backfill_assets.adapters.state.tables import SERVICE_SWITCHES
from backfill_assets.adapters.state.upserts import upsert


class SqlSwitches:
    """A `SwitchLedger` on PostgreSQL or SQLite."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def seen(self) -> Mapping[tuple[str, str], bool]:
        """See `SwitchLedger.seen`."""
        columns = SERVICE_SWITCHES.c
        with transaction(self._engine) as connection:
            rows = connection.execute(select(columns.tenant, columns.service, columns.enabled))
            return {(tenant, service): enabled for tenant, service, enabled in rows}

    def note(self, enabled: Mapping[tuple[str, str], bool], at: datetime) -> None:
        """See `SwitchLedger.note`; all of them in one transaction, in an order that is the same for all writers."""
        if not enabled:
            return
        statement = upsert(self._engine, SERVICE_SWITCHES, key=["tenant", "service"])
        seen = [
            {"tenant": tenant, "service": service, "enabled": is_on, "seen_at": at}
            for (tenant, service), is_on in sorted(enabled.items())
        ]
        with transaction(self._engine) as connection:
            connection.execute(statement, seen)
