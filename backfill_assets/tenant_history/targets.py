"""Which canonical tables a backfill may build: only those whose history has no hole once it is done.

Here belongs the decision, and its reason in words. Which windows are missing belongs to `completeness.py`, building a
table to `canonical`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from backfill_assets.core.handoff import Handoff
from backfill_assets.core.source import TableSpec
from backfill_assets.core.windows import Window
from backfill_assets.resources import Wiring
from backfill_assets.settings import TenantService
from backfill_assets.tenant_history.canonical.mapping import CanonicalTable, canonical_tables
from backfill_assets.tenant_history.completeness import missing_windows, told
from backfill_assets.tenant_history.plan import calendar_of


@dataclass(frozen=True, kw_only=True)
class CanonicalTargets:
    """The canonical tables to build, and for each other one why it is withheld."""

    included: Sequence[CanonicalTable]
    withheld: Mapping[str, str]


def canonical_targets(
    wiring: Wiring, service: TenantService, reads: Mapping[str, Iterable[Window]]
) -> CanonicalTargets:
    """What can be built of this tenant's service once these windows, by table, have been read.

    Tables that take nothing from those that are read are left out without a word.
    """
    coming = {table: list(windows) for table, windows in reads.items()}
    included, withheld = [], {}
    for canonical in canonical_tables(service.spec):
        sources = [source.table for source in canonical.sources]
        if coming.keys().isdisjoint(table.name for table in sources):
            continue
        holes = [hole for table in sources if (hole := _hole(wiring, service, table, coming))]
        if holes:
            withheld[canonical.entity] = "; ".join(holes)
        else:
            included.append(canonical)
    return CanonicalTargets(included=included, withheld=withheld)


def holes_of(wiring: Wiring, service: TenantService, canonical: CanonicalTable) -> str:
    """What is missing for this canonical table now, in words; empty where nothing is."""
    tables = (source.table for source in canonical.sources)
    return "; ".join(hole for table in tables if (hole := _hole(wiring, service, table, {})))


def _hole(wiring: Wiring, service: TenantService, table: TableSpec, coming: Mapping[str, Sequence[Window]]) -> str:
    name = service.spec.name
    found = wiring.handoffs.handoffs(service=name, tenant=service.tenant)
    handoff = next((handoff for handoff in found if handoff.table == table.name), None)
    windows = coming.get(table.name, ())
    if handoff is None and not windows:
        return f"{table.slug} has never been read"
    certificates = wiring.certificates.certificates(tenant=service.tenant, service=name, table=table.name)
    known = {certificate.window for certificate in certificates} | {window.key for window in windows}
    starts = [window.start for window in windows] + ([handoff.history_from] if handoff else [])
    # As it will be once these have been asked for: they may begin earlier than all before, and be read now.
    handoff = Handoff(
        tenant=service.tenant,
        service=name,
        table=table.name,
        history_from=min(starts),
        first_request_at=(handoff.first_request_at if handoff else None) or (wiring.clock() if windows else None),
    )
    # The windows are those of the service, which all tenants share.
    missing = missing_windows(handoff, calendar_of(wiring.settings.services[name]), known)
    return f"{table.slug} lacks {told(missing)}" if missing else ""
