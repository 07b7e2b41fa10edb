"""What all parts of one running sandbox share: tables, faults, request log, rate limits, sessions.

Here belongs only the holding; each part has a module of its own.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic, time

from backfill_assets.sandbox.faults import FaultBook
from backfill_assets.sandbox.salesforce.sessions import Sessions
from backfill_assets.sandbox.table import IdCache, Table
from backfill_assets.sandbox.traffic import Allowance, RateLimit, RequestLog

UNLIMITED = 1_000_000
"""So many requests are told to be allowed where there is no limit."""


@dataclass(frozen=True, kw_only=True)
class Customs:
    """How the services behave, apart from what they hold; see `SandboxConfig`."""

    allowances: Mapping[str, Allowance | None] = field(default_factory=dict)
    latency_seconds: float = 0
    salesforce_page_size: int = 2000
    requests_per_token: int | None = None


class World:
    """One running sandbox; everything in it is touched by the event loop's thread only."""

    def __init__(
        self,
        *,
        until: datetime,
        customs: Customs | None = None,
        clock: Callable[[], float] = monotonic,
        now: Callable[[], float] = time,
    ) -> None:
        self.until = int(until.timestamp())
        self.customs = customs or Customs()
        self.now = now
        self.faults = FaultBook()
        self.log = RequestLog()
        self.cache = IdCache()
        self.sessions = Sessions(requests_per_token=self.customs.requests_per_token)
        self._clock = clock
        self._limits: dict[str, RateLimit] = {}
        self._admitted: Counter[tuple[str, str]] = Counter()
        self._tables: dict[tuple[str, str], dict[str, Table]] = {}

    def add(self, service: str, tenant: str, tables: Mapping[str, Table]) -> None:
        """Give a tenant its tables at a service."""
        self._tables[service, tenant] = dict(tables)

    def tables(self, service: str, tenant: str) -> Mapping[str, Table] | None:
        """A tenant's tables at a service by name, or None where the service does not know the tenant."""
        return self._tables.get((service, tenant))

    def limit(self, service: str) -> RateLimit:
        """How often each tenant may ask this service."""
        if service not in self._limits:
            self._limits[service] = RateLimit(self.customs.allowances.get(service), clock=self._clock)
        return self._limits[service]

    def admit(self, service: str, tenant: str) -> int:
        """Let a request in and return 0, or return the whole seconds to wait before the next try."""
        wait = self.limit(service).wait(tenant)
        self._admitted[service, tenant] += not wait
        return wait

    def usage(self, service: str, tenant: str) -> tuple[int, int]:
        """How many requests a tenant made and may make; without a limit, of all and of very many."""
        limit = self.limit(service)
        if limit.allowance is None:
            return self._admitted[service, tenant], UNLIMITED
        return limit.used(tenant), limit.allowance.requests

    def every_table(self) -> list[Table]:
        """All tables of all tenants."""
        return [table for tables in self._tables.values() for table in tables.values()]
