"""Compares the lake with the sandbox's truth, record by record and version by version; canonical tables by their ids.

The sandbox must hold still meanwhile, and the newest of its changes must have been synced.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
from rich.box import SIMPLE
from rich.table import Table

from backfill_assets.adapters.lake.canonical import CanonicalFile, CanonicalLake
from backfill_assets.core.source import TableSpec
from backfill_assets.core.windows import Window
from backfill_assets.resources import Wiring, open_wiring
from backfill_assets.settings import Settings, TenantService
from backfill_assets.tenant_history.canonical.mapping import CanonicalTable, canonical_tables
from backfill_assets.tenant_history.onboarding import whole_history
from backfill_assets.tenant_history.partitions import CANONICAL
from backfill_assets.tenant_history.reading import raw_table

Versions = set[tuple[Any, datetime]]


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One table of one tenant: how many records the source holds, and where the lake differs.

    `superseded` are versions that the source held when they were read and has replaced since.
    """

    tenant: str
    service: str
    table: str
    source: int
    lake: int
    superseded: int
    missing: int
    unknown: int
    doubled: int

    @property
    def is_equal(self) -> bool:
        """Whether the lake holds each version of the source once, and nothing else."""
        return not (self.missing or self.unknown or self.doubled)


@dataclass(frozen=True, kw_only=True)
class Report:
    """All tables of all tenants."""

    compared: Sequence[Compared]

    @property
    def records(self) -> int:
        """How many records the sources hold."""
        return sum(row.source for row in self.compared if not row.table.startswith(CANONICAL))

    @property
    def problem(self) -> str:
        """The tables that differ, in a sentence; empty when none does."""
        wrong = [f"{row.tenant} {row.service} {row.table}" for row in self.compared if not row.is_equal]
        return f"the lake differs from the source in {', '.join(wrong)}" if wrong else ""

    def rows(self) -> list[dict[str, Any]]:
        """The report as plain values."""
        return [asdict(row) for row in self.compared]

    def table(self) -> Table:
        """The report as a table for a terminal."""
        whose = 3
        numbers = [field.name for field in fields(Compared)][whose:]
        table = Table(title="source against lake", box=SIMPLE)
        # Folded, not cut: which table it is must be legible on a narrow terminal.
        table.add_column("table", overflow="fold")
        for name in numbers:
            table.add_column(name, justify="right", no_wrap=True)
        for row in self.compared:
            cells = list(map(str, astuple(row)))
            table.add_row(" ".join(cells[:whose]), *cells[whose:], style="" if row.is_equal else "bold red")
        return table


def verify(settings: Settings, sandbox_url: str) -> Report:
    """Compare every table of every tenant, over the windows that their backfills covered."""
    with open_wiring(settings) as wiring, httpx.Client(base_url=sandbox_url, timeout=60) as client:
        return Report(compared=list(_compare_all(wiring, client)))


def _compare_all(wiring: Wiring, client: httpx.Client) -> Iterator[Compared]:
    for tenant in wiring.settings.tenants.values():
        for service in tenant.services.values():
            plan = whole_history(wiring, service)
            for table in plan.tables:
                yield compare_table(wiring, client, service, table, plan.windows)
            for canonical in canonical_tables(service.spec):
                yield compare_canonical(wiring, client, service, canonical, plan.windows)


def compare_table(
    wiring: Wiring, client: httpx.Client, service: TenantService, table: TableSpec, windows: Sequence[Window]
) -> Compared:
    """Compare adjacent windows of one tenant's table; `client` speaks to the sandbox."""
    name = service.spec.name
    start, end = windows[0].reads_from, windows[-1].end
    truth = _truth(client, f"{name}/{service.tenant}/{table.name}", start, end)
    stored = [v for v in wiring.lake.versions(raw_table(service.tenant, name, table)) if start <= v[1] < end]
    held, newest = set(stored), dict(truth)
    others = held - truth
    superseded = {(record_id, at) for record_id, at in others if record_id in newest and at < newest[record_id]}
    return Compared(
        tenant=service.tenant,
        service=name,
        table=table.name,
        source=len(truth),
        lake=len(held),
        superseded=len(superseded),
        missing=len(truth - held),
        unknown=len(others - superseded),
        doubled=len(stored) - len(held),
    )


def compare_canonical(
    wiring: Wiring, client: httpx.Client, service: TenantService, table: CanonicalTable, windows: Sequence[Window]
) -> Compared:
    """Compare the ids that are current in a canonical table with the records that the source has not deleted."""
    name, start, end = service.spec.name, windows[0].reads_from, windows[-1].end
    paths = (f"{name}/{service.tenant}/{source.table.name}" for source in table.sources)
    truth = {str(record_id) for path in paths for record_id, _ in _truth(client, path, start, end, gone="0")}
    file = CanonicalFile(tenant=service.tenant, entity=table.entity, service=name)
    current = _current_ids(CanonicalLake(raw=wiring.lake).place(file))
    held = set(current)
    return Compared(
        tenant=service.tenant,
        service=name,
        table=f"{CANONICAL}/{table.entity}",
        source=len(truth),
        lake=len(held),
        superseded=0,
        missing=len(truth - held),
        unknown=len(held - truth),
        doubled=len(current) - len(held),
    )


def _current_ids(place: str) -> list[str]:
    if not Path(place).exists():
        return []
    rows = pq.read_table(place, columns=["source_id"], filters=[("is_current", "=", True)])
    return [str(record_id) for record_id in rows["source_id"].to_pylist()]


def _truth(client: httpx.Client, path: str, start: datetime, end: datetime, **more: str) -> Versions:
    found: Versions = set()
    bounds = {"from": start.isoformat(), "to": end.isoformat(), **more}
    with client.stream("GET", f"/_sandbox/truth/{path}", params=bounds) as response:
        response.raise_for_status()
        for line in response.iter_lines():
            record_id, version = json.loads(line)
            found.add((record_id, datetime.fromisoformat(version)))
    return found
