"""The asset check of a raw table: whether all that its certificates should say is there, for every tenant.

Here belongs what Dagster is told. What counts as missing belongs to `completeness.py`. One check an asset: a check of a
partition would not be shown by partition. It names tenants and windows in words.
"""

from collections.abc import Iterable, Iterator
from datetime import timedelta

import dagster as dg

from backfill_assets.core.handoff import Handoff
from backfill_assets.core.source import ServiceSpec, TableSpec
from backfill_assets.resources import Wiring
from backfill_assets.tenant_history.completeness import shortfalls
from backfill_assets.tenant_history.partitions import asset_key
from backfill_assets.tenant_history.plan import calendar_of

COMPLETE = "complete"
SHOWN_TENANTS = 10
STALE = timedelta(days=7)
"""After how long without a reading it is told that sync does not get through; its runs have said why by then."""


def check_spec(key: dg.AssetKey) -> dg.AssetCheckSpec:
    """The check of a raw table."""
    return dg.AssetCheckSpec(
        COMPLETE, asset=key, description="All windows that were asked for are in the lake, each with all its records."
    )


def completeness_check(wiring: Wiring, spec: ServiceSpec, table: TableSpec) -> dg.AssetCheckResult:
    """Compare the certificates of all tenants with what was asked for."""
    certificates = wiring.certificates
    handoffs = [handoff for handoff in wiring.handoffs.handoffs(service=spec.name) if handoff.table == table.name]
    found = shortfalls(
        handoffs,
        calendar_of(spec),
        certificates.windows(service=spec.name, table=table.name),
        certificates.incomplete(service=spec.name, table=table.name),
    )
    stale = list(_stale(wiring, handoffs))
    sentences = [*(f.sentence for f in found), *stale]
    return dg.AssetCheckResult(
        passed=not sentences,
        check_name=COMPLETE,
        asset_key=asset_key(spec.name, table),
        # What is only not read yet, or is kept among the dead letters, is no damage.
        severity=dg.AssetCheckSeverity.ERROR if any(f.rows for f in found) else dg.AssetCheckSeverity.WARN,
        description=_sentence(sentences, len(handoffs)),
        metadata={
            "tenants": len(handoffs),
            "windows_missing": sum(f.windows for f in found),
            "rows_missing": sum(f.rows for f in found),
            "rows_rejected": sum(f.rejected for f in found),
            "tenants_stale": len(stale),
        },
    )


def _stale(wiring: Wiring, handoffs: Iterable[Handoff]) -> Iterator[str]:
    for handoff in handoffs:
        tenant = wiring.settings.tenants.get(handoff.tenant)
        account = tenant.services.get(handoff.service) if tenant else None
        read_at = handoff.first_request_at
        # Whoever is switched off, or gone, is not read any more.
        if account and account.enabled and read_at and wiring.clock() - read_at > STALE:
            yield f"{handoff.tenant} has not been read since {read_at:%Y-%m-%d}"


def _sentence(sentences: list[str], tenants: int) -> str:
    if not sentences:
        return (
            f"the histories of {tenants} tenants are in the lake, without a gap" if tenants else "nothing was asked for"
        )
    more = len(sentences) - SHOWN_TENANTS
    return "; ".join([*sentences[:SHOWN_TENANTS], *([f"and {more} more"] if more > 0 else [])])
