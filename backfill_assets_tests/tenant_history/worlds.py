"""A small service with two tables, tenants whose accounts are lists in memory, and what a backfill works with.

Here belongs what the tests of the domain start from; nothing here knows a real service.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Any

from backfill_assets.adapters.lake.folder import Folder
from backfill_assets.adapters.lake.raw import RawLake
from backfill_assets.adapters.rest.memory import MemorySource
from backfill_assets.core.certificates import MemoryCertificates
from backfill_assets.core.chunks import ChunkTarget
from backfill_assets.core.dead_letters import MemoryDeadLetters
from backfill_assets.core.handoff import MemoryHandoffs
from backfill_assets.core.source import ColumnType, Record, RecordSource, ServiceSpec, TableSpec
from backfill_assets.core.switches import MemorySwitches
from backfill_assets.core.windows import Window, midnight
from backfill_assets.resources import Wiring
from backfill_assets.settings import Settings, Tenant, TenantService
from backfill_assets.tenant_history.backfill import Outcome, TableBackfill
from backfill_assets.tenant_history.plan import calendar_of
from backfill_assets.tenant_history.reading import raw_table

TICKETS = TableSpec(
    name="service/tickets",
    version_field="_info/lastUpdated",
    incremental_field="lastUpdated",
    columns={
        "id": ColumnType.INTEGER,
        "summary": ColumnType.STRING,
        "hours": ColumnType.NUMBER,
        "open": ColumnType.BOOLEAN,
        "due": ColumnType.DATE,
    },
    priority=20,
)
NOTES = TableSpec(
    name="Notes",
    version_field="changed",
    incremental_field="changed",
    columns={"id": ColumnType.INTEGER},
    priority=30,
)
DESK = ServiceSpec(
    name="desk",
    tables=(TICKETS, NOTES),
    credential_fields=("key",),
    lookback_days=50,
    chunk_size_days=14,
    chunks_per_run=3,
    requests_per_minute=200,
    history_start=date(2024, 1, 1),
)
NOW = datetime(2024, 3, 20, 12, tzinfo=UTC)
"""A Wednesday: its window is the week of 2024-03-17."""

WEEK = timedelta(days=7)
FIRST = midnight(date(2023, 12, 31))
"""The start of the first window, which holds the start of history."""


def ticket(record_id: Any, moment: datetime | str, **fields: Any) -> dict[str, Any]:
    """A ticket that was last updated then."""
    text = moment if isinstance(moment, str) else moment.isoformat().replace("+00:00", "Z")
    return {"id": record_id, "summary": f"ticket {record_id}", "_info": {"lastUpdated": text}, **fields}


def note(record_id: int, moment: datetime) -> dict[str, Any]:
    """A note that was last changed then."""
    return {"id": record_id, "changed": moment.isoformat()}


def week(number: int) -> Window:
    """The window with this number, 0 being the first of all."""
    return calendar_of(DESK).window((FIRST + number * WEEK).date())


def weeks(first: int, last: int) -> list[Window]:
    """Adjacent windows, both ends included."""
    return [week(number) for number in range(first, last + 1)]


def in_week(number: int, hours: float = 1) -> datetime:
    """A moment of that window, so many hours after it begins."""
    return FIRST + number * WEEK + timedelta(hours=hours)


def tickets_in(*numbers: int, each: int = 3) -> list[dict[str, Any]]:
    """Tickets in these windows, on different days, with ids in order."""
    moments = [in_week(number, 1 + 30 * nth) for number in numbers for nth in range(each)]
    return [ticket(record_id, moment) for record_id, moment in enumerate(moments, 1)]


@dataclass(kw_only=True)
class World:
    """Tenants, their accounts, a lake and the ledgers; change any of it between two runs."""

    root: Path
    sources: dict[str, MemorySource] = field(default_factory=dict)
    spec: ServiceSpec = DESK
    now: datetime = NOW
    dead_letters: MemoryDeadLetters = field(default_factory=MemoryDeadLetters)
    switches: MemorySwitches = field(default_factory=MemorySwitches)
    certificates: MemoryCertificates = field(default_factory=MemoryCertificates)
    handoffs: MemoryHandoffs = field(default_factory=MemoryHandoffs)
    accounts: dict[str, TenantService] = field(default_factory=dict)
    opened: list[MemorySource] = field(default_factory=list)
    mutex: Any = field(default_factory=Lock)
    pauses: list[float] = field(default_factory=list)

    def add(self, tenant: str, tables: Mapping[str, Sequence[Record]] | None = None, **account: Any) -> MemorySource:
        """Add a tenant with an account that holds these records; `account` replaces parts of its settings."""
        source = MemorySource({TICKETS.name: [], NOTES.name: [], **(tables or {})}, page_size=4)
        said = {"spec": self.spec, "enabled": True, "missing": (), "base_url": "https://desk.example.com", **account}
        self.sources[tenant] = source
        self.accounts[tenant] = TenantService(tenant=tenant, credential={}, credential_names=("DESK_KEY",), **said)
        return source

    @property
    def lake(self) -> RawLake:
        """The lake in the world's folder."""
        return RawLake(Folder(self.root), lock=lambda name: self.mutex)

    @property
    def wiring(self) -> Wiring:
        """What runs, sensors and commands work with."""
        tenants = {
            name: Tenant(id=name, enabled=True, time_zone="UTC", services={self.spec.name: account})
            for name, account in self.accounts.items()
        }
        return Wiring(
            settings=Settings(services={self.spec.name: self.spec}, tenants=tenants, lake_root=self.root),
            lake=self.lake,
            dead_letters=self.dead_letters,
            switches=self.switches,
            certificates=self.certificates,
            handoffs=self.handoffs,
            lock=lambda name: self.mutex,
            connect=self._connect,
            probe=self._connect,
            clock=lambda: self.now,
        )

    def _connect(self, service: TenantService) -> RecordSource:
        source = self.sources[service.tenant]
        self.opened.append(source)
        return source

    def backfill(self, tenant: str = "acme", *, table: TableSpec = TICKETS, run_id: str = "run 1") -> TableBackfill:
        """The use case for one tenant's table."""
        return TableBackfill(
            tenant=tenant,
            service=self.spec.name,
            table=table,
            source=self.sources[tenant],
            lake=self.lake,
            dead_letters=self.dead_letters,
            certificates=self.certificates,
            job_id=f"job of {run_id}",
            run_id=run_id,
            clock=lambda: self.now,
            sleep=self.pauses.append,
            random=lambda: 0.5,
        )

    def fill(
        self, windows: Sequence[Window], *, days: int = 14, run_id: str = "run 1", tenant: str = "acme", **target: Any
    ) -> list[Outcome]:
        """Fill these windows of a tenant's tickets."""
        return list(self.backfill(tenant, run_id=run_id).fill(windows, ChunkTarget(days=days, **target)))

    def stored(self, tenant: str = "acme", table: TableSpec = TICKETS) -> list[tuple[Any, datetime]]:
        """Every (id, version) in the lake, by id."""
        return sorted(self.lake.versions(raw_table(tenant, self.spec.name, table)))

    def files(self) -> dict[Path, tuple[int, bytes]]:
        """Every file of the lake: when it was written, and its bytes."""
        return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in self.root.rglob("*") if path.is_file()}


def versions_of(records: Sequence[Record]) -> list[tuple[Any, datetime]]:
    """The (id, version) of these tickets, by id."""
    return sorted((record["id"], datetime.fromisoformat(record["_info"]["lastUpdated"])) for record in records)
