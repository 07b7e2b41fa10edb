"""Compares the lake with the sandbox's truth, record by record and version by version."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
from rich.table import Table

from backfill_assets.core.source import TableSpec
from backfill_assets.core.windows import Window
from backfill_assets.resources import Wiring, open_wiring
from backfill_assets.settings import Settings, TenantService
from backfill_assets.tenant_history.onboarding import whole_history
from backfill_assets.tenant_history.reading import raw_table

Versions = set[tuple[Any, datetime]]


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One table of one tenant: how many records the source holds, and where the lake differs."""

    tenant: str
    service: str
    table: str
    source: int
    lake: int
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
        return sum(row.source for row in self.compared)

    @property
    def problem(self) -> str:
        """The tables that differ, in a sentence; empty when none does."""
        wrong = [f"{row.tenant} {row.service} {row.table}" for row in self.compared if not row.is_equal]
        return f"the lake differs from the source in {', '.join(wrong)}" if wrong else ""

    def rows(self) -> list[dict[str, Any]]:
        """The report as plain values."""
        return [vars(row) for row in self.compared]

    def table(self) -> Table:
        """The report as a table for a terminal."""
        names = ("tenant", "service", "table", "source", "lake", "missing", "unknown", "doubled")
        table = Table(title="source against lake")
        for name in names:
            # Folded, not cut: which table it is must be legible on a narrow terminal.
            table.add_column(name, overflow="fold")
        for row in self.compared:
            table.add_row(*(str(getattr(row, name)) for name in names), style="" if row.is_equal else "bold red")
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


def compare_table(
    wiring: Wiring, client: httpx.Client, service: TenantService, table: TableSpec, windows: Sequence[Window]
) -> Compared:
    """Compare adjacent windows of one tenant's table; `client` speaks to the sandbox."""
    name = service.spec.name
    start, end = windows[0].reads_from, windows[-1].end
    truth = _truth(client, f"{name}/{service.tenant}/{table.name}", start, end)
    stored = [v for v in wiring.lake.versions(raw_table(service.tenant, name, table)) if start <= v[1] < end]
    held = set(stored)
    return Compared(
        tenant=service.tenant,
        service=name,
        table=table.name,
        source=len(truth),
        lake=len(held),
        missing=len(truth - held),
        unknown=len(held - truth),
        doubled=len(stored) - len(held),
    )


def _truth(client: httpx.Client, path: str, start: datetime, end: datetime) -> Versions:
    found: Versions = set()
    bounds = {"from": start.isoformat(), "to": end.isoformat()}
    with client.stream("GET", f"/_sandbox/truth/{path}", params=bounds) as response:
        response.raise_for_status()
        for line in response.iter_lines():
            record_id, version = json.loads(line)
            found.add((record_id, datetime.fromisoformat(version)))
    return found
