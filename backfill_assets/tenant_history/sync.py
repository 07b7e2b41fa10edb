"""Incremental sync: one small backfill of the newest windows of every tenant whose history has begun.

Here belongs who is synced, from when on, and which canonical tables go with it. When that happens belongs to
`automation.py`; from when on a table has to be read again, to `completeness.py`.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from dagster import AssetKey, DagsterInstance

from backfill_assets.core.handoff import Handoff
from backfill_assets.core.keys import encode_key
from backfill_assets.core.source import TableSpec
from backfill_assets.core.windows import Window
from backfill_assets.errors import BackfillError
from backfill_assets.following import Graph, backfills, unfinished
from backfill_assets.launching import ACTIVE, DOMAIN_TAG, SERVICE_TAG, SYNC, BackfillRequest, Launched, launch
from backfill_assets.resources import Wiring
from backfill_assets.settings import TenantService
from backfill_assets.tenant_history.canonical.mapping import CanonicalTable
from backfill_assets.tenant_history.completeness import reads_again_from
from backfill_assets.tenant_history.partitions import asset_key, canonical_key, partition_key, tenant_of, tenant_set
from backfill_assets.tenant_history.plan import calendar_of
from backfill_assets.tenant_history.targets import canonical_targets


@dataclass(frozen=True, kw_only=True)
class TenantSync:
    """What is read again of one tenant's service, by table, and which canonical tables are built then."""

    tenant: str
    reads: Sequence[tuple[TableSpec, Sequence[Window]]]
    canonical: Sequence[CanonicalTable]
    withheld: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Synced:
    """What came of one look at a service: the backfill, if there was one to launch, and what is told of tenants."""

    launched: Launched | None
    tenants: Sequence[TenantSync] = ()
    remarks: Sequence[str] = field(default_factory=tuple)


def sync(
    wiring: Wiring,
    instance: DagsterInstance,
    graph: Graph,
    service: str,
    *,
    requested_by: str,
    tenants: Collection[str] | None = None,
) -> Synced:
    """Launch the sync of a service's tenants (all, or these), except of those whose last one is still under way."""
    # Two looks at once would both find a tenant idle.
    with wiring.lock(f"sync:{service}"):
        busy = _busy(instance, graph, service)
        planned, remarks = [], []
        for account in _accounts(wiring, service):
            if tenants is not None and account.tenant not in tenants:
                continue
            if account.tenant in busy:
                remarks.append(f"{account.tenant}: its last sync is still under way")
                continue
            try:
                plan = plan_sync(wiring, account)
            except BackfillError as error:
                remarks.append(f"{account.tenant}: not synced: {error}")
                continue
            if plan is None:
                remarks.append(f"{account.tenant}: its history has not begun; `backfill trigger` begins it")
            else:
                planned.append(plan)
                remarks.extend(f"{plan.tenant}: {entity} is withheld: {why}" for entity, why in plan.withheld.items())
        launched = _launch(wiring, instance, graph, service, planned, requested_by) if planned else None
        return Synced(launched=launched, tenants=planned, remarks=remarks)


def plan_sync(wiring: Wiring, account: TenantService) -> TenantSync | None:
    """What to read again of a tenant's service; None where its history has not begun."""
    spec = wiring.settings.services[account.spec.name]
    known = {handoff.table: handoff for handoff in _handoffs(wiring, account)}
    reads = []
    # Each from its own moment: a table that cannot be read must not make the others read more and more.
    for table in account.spec.tables:
        if (handoff := known.get(table.name)) and (start := reads_again_from(handoff, spec)):
            reads.append((table, calendar_of(spec).windows(start, wiring.clock())))
    if not reads:
        return None
    targets = canonical_targets(wiring, account, {table.name: windows for table, windows in reads})
    return TenantSync(tenant=account.tenant, reads=reads, canonical=targets.included, withheld=targets.withheld)


def _handoffs(wiring: Wiring, account: TenantService) -> Sequence[Handoff]:
    return wiring.handoffs.handoffs(service=account.spec.name, tenant=account.tenant)


def _accounts(wiring: Wiring, service: str) -> Iterator[TenantService]:
    """The tenants' accounts at the service that can be read."""
    accounts = (tenant.services.get(service) for tenant in wiring.settings.tenants.values())
    return (account for account in accounts if account is not None and account.enabled and not account.missing)


def _busy(instance: DagsterInstance, graph: Graph, service: str) -> frozenset[str]:
    """Tenants of which something is left to do in a sync that was launched before."""
    active = backfills(instance, {DOMAIN_TAG: SYNC, SERVICE_TAG: service}, statuses=ACTIVE)
    left = (unfinished(backfill, graph, instance) for backfill in active)
    return frozenset(tenant_of(target.partition_key or "") for found in left for target in found)


def _launch(
    wiring: Wiring,
    instance: DagsterInstance,
    graph: Graph,
    service: str,
    planned: Sequence[TenantSync],
    requested_by: str,
) -> Launched:
    instance.add_dynamic_partitions(tenant_set(service), [encode_key(plan.tenant) for plan in planned])
    partitions = _partitions(service, planned)
    request = BackfillRequest(
        domain=SYNC,
        key=f"{SYNC}/{service}/{_digest(partitions)}",
        title=_title(service, planned),
        reason="incremental sync",
        requested_by=requested_by,
        partitions=partitions,
        tags={SERVICE_TAG: service},
    )
    return launch(instance, graph, request, lock=wiring.lock)


def _partitions(service: str, planned: Iterable[TenantSync]) -> Mapping[AssetKey, Sequence[str]]:
    found: dict[AssetKey, list[str]] = {}
    for plan in planned:
        for table, windows in plan.reads:
            keys = [partition_key(plan.tenant, window) for window in windows]
            found.setdefault(asset_key(service, table), []).extend(keys)
        for canonical in plan.canonical:
            found.setdefault(canonical_key(service, canonical.entity), []).append(encode_key(plan.tenant))
    return found


def _digest(partitions: Mapping[AssetKey, Sequence[str]]) -> str:
    told = sorted((asset.to_user_string(), *sorted(keys)) for asset, keys in partitions.items())
    return sha256(repr(told).encode()).hexdigest()[:16]


def _title(service: str, planned: Sequence[TenantSync]) -> str:
    whose = planned[0].tenant if len(planned) == 1 else f"{len(planned)} tenants"
    first = min(windows[0].key for plan in planned for _, windows in plan.reads)
    return f"{service} sync of {whose}, from {first}"
