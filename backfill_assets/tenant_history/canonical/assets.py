"""The canonical tables as assets: one for each entity of a service, partitioned by tenant.

Here belongs what Dagster sees of a run. What is built belongs to `building.py`, whether it may be to `targets.py`.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import dagster as dg
from dagster import AssetExecutionContext

from backfill_assets.core.keys import decode_key
from backfill_assets.core.source import ServiceSpec
from backfill_assets.errors import BackfillError, PermanentError, TransientError
from backfill_assets.failing import failure_sentence
from backfill_assets.following import materialised_before
from backfill_assets.resources import Wiring
from backfill_assets.tenant_history.backfill import CHUNK_TRIES, Sleep
from backfill_assets.tenant_history.canonical.building import Built, CanonicalBuild
from backfill_assets.tenant_history.canonical.mapping import CanonicalTable, canonical_tables
from backfill_assets.tenant_history.partitions import asset_key, canonical_key, tenants
from backfill_assets.tenant_history.targets import holes_of

TENANTS_PER_RUN = 8
"""A run costs seconds to start, and building a small tenant's table less than one."""


def canonical_assets(spec: ServiceSpec) -> Sequence[dg.AssetsDefinition]:
    """One asset for each entity that the service has tables for."""
    return [canonical_asset(spec, table) for table in canonical_tables(spec)]


def canonical_asset(spec: ServiceSpec, table: CanonicalTable) -> dg.AssetsDefinition:
    """The asset of one entity; it is built once all windows of its tenant that were asked for are in."""
    key = canonical_key(spec.name, table.entity)

    @dg.multi_asset(
        name=f"canonical__{spec.name}__{table.entity}",
        specs=[_asset_spec(spec, table)],
        backfill_policy=dg.BackfillPolicy.multi_run(TENANTS_PER_RUN),
    )
    def build_canonical(context: AssetExecutionContext, wiring: dg.ResourceParam[Wiring]) -> Iterator[Any]:
        wanted = set(context.partition_keys) - materialised_before(context.instance, context.run, key)
        failed = []
        for partition in sorted(wanted):
            try:
                built = build(wiring, decode_key(partition), spec, table)
            except BackfillError as error:
                failed.append((partition, str(error)))
            else:
                context.log_event(dg.AssetMaterialization(key, partition=partition, metadata=_metadata(built)))
        if failed:
            raise dg.Failure(failure_sentence(failed, of=len(wanted)), allow_retries=False)
        # As in the raw tables: an output would be logged for every partition, also the failed ones.
        yield from ()

    return build_canonical


def build(wiring: Wiring, tenant: str, spec: ServiceSpec, table: CanonicalTable, *, sleep: Sleep = time.sleep) -> Built:
    """Build one tenant's table; raises `PermanentError` where its history has a hole, and says which."""
    account = wiring.tenant_service(tenant, spec.name)
    mine = next((known for known in canonical_tables(account.spec) if known.entity == table.entity), None)
    if mine is None:
        raise PermanentError(f"{spec.name} of tenant {tenant!r} reads no table that {table.entity} is made from")
    if holes := holes_of(wiring, account, mine):
        raise PermanentError(
            f"{table.entity} of {tenant} is withheld, because its history has a hole: {holes}; rerun these partitions, "
            "then this one (the next sync builds it too)"
        )
    # Before the files are listed, since these only gain versions.
    certified = sum(_certified(wiring, tenant, spec.name, source.table.name) for source in mine.sources)
    building = CanonicalBuild(tenant=tenant, service=spec.name, table=mine, lake=wiring.lake, at_least=certified)
    return _with_tries(building.build, sleep)


def _certified(wiring: Wiring, tenant: str, service: str, table: str) -> int:
    """How many versions the certificates of a table tell of."""
    held = wiring.certificates.certificates(tenant=tenant, service=service, table=table)
    return sum(certificate.stored_rows for certificate in held)


def _with_tries(build: Callable[[], Built], sleep: Sleep) -> Built:
    failures = 0
    while True:
        try:
            return build()
        except TransientError:
            failures += 1
            if not CHUNK_TRIES.may_try_again(failures):
                raise
            sleep(CHUNK_TRIES.delay(failures, random.random))


def _asset_spec(spec: ServiceSpec, table: CanonicalTable) -> dg.AssetSpec:
    return dg.AssetSpec(
        canonical_key(spec.name, table.entity),
        # A tenant's partition depends on all windows of the tenant: Dagster infers that from the sets' names.
        deps=[asset_key(spec.name, source.table) for source in table.sources],
        skippable=True,
        partitions_def=tenants(spec.name),
        group_name=spec.name,
        description=f"The history of {table.entity} as SCD type 2, one Parquet file a tenant.",
        kinds={"duckdb", "parquet"},
    )


def _metadata(built: Built) -> dict[str, Any]:
    return {
        "rows": built.rows,
        "rows_rejected": 0,
        "bytes": built.bytes,
        "seconds": round(built.seconds, 3),
        "source_rows": built.versions,
        "current": built.current,
        "complete": True,
    }
