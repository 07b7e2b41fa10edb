"""What all parts of one running sandbox share: tables, faults, request log and rate limit.

Here belongs only the holding; each part has a module of its own.
"""

from collections.abc import Callable, Mapping
from datetime import datetime

from backfill_assets.sandbox.faults import FaultBook
from backfill_assets.sandbox.table import IdCache, Table
from backfill_assets.sandbox.traffic import RateLimit, RequestLog


class World:
    """One running sandbox; everything in it is touched by the event loop's thread only."""

    def __init__(
        self,
        *,
        requests_per_minute: int | None,
        clock: Callable[[], float],
        until: datetime,
        limit_window_seconds: float = 60,
    ) -> None:
        self.until = int(until.timestamp())
        self.faults = FaultBook()
        self.log = RequestLog()
        self.limit = RateLimit(requests_per_minute, clock=clock, window_seconds=limit_window_seconds)
        self.cache = IdCache()
        self._tables: dict[tuple[str, str], dict[str, Table]] = {}

    def add(self, service: str, tenant: str, tables: Mapping[str, Table]) -> None:
        """Give a tenant its tables at a service."""
        self._tables[service, tenant] = dict(tables)

    def tables(self, service: str, tenant: str) -> Mapping[str, Table] | None:
        """A tenant's tables at a service by name, or None where the service does not know the tenant."""
        return self._tables.get((service, tenant))

    def every_table(self) -> list[Table]:
        """All tables of all tenants."""
        return [table for tables in self._tables.values() for table in tables.values()]
