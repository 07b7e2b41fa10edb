"""The raw tables as assets: one for each table of a service, partitioned by tenant x window.

Here belongs what Dagster sees of a run: what it logs, and when it fails. What is done belongs to `backfill.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
from dagster import AssetExecutionContext

from backfill_assets.core.source import ServiceSpec, TableSpec
from backfill_assets.core.windows import Window, plan_chunks
from backfill_assets.errors import BackfillError, UsageError
from backfill_assets.launching import materialised_before
from backfill_assets.resources import Wiring
from backfill_assets.tenant_history.backfill import Outcome, TableBackfill, WindowDone, WindowFailed
from backfill_assets.tenant_history.partitions import asset_key, by_tenant, partition_key, tenant_windows
from backfill_assets.tenant_history.plan import windows_per_run

SHOWN_FAILURES = 5


class ChunkConfig(dg.Config):
    """What may be set for one backfill, in the launch dialog or by the command line."""

    chunk_size_days: int | None = None


def table_assets(spec: ServiceSpec) -> Sequence[dg.AssetsDefinition]:
    """One asset for each table of the service."""
    return [table_asset(spec, table) for table in spec.tables]


def table_asset(spec: ServiceSpec, table: TableSpec) -> dg.AssetsDefinition:
    """The asset of one table; tables of higher priority go first within a run."""
    key = asset_key(spec.name, table)

    @dg.multi_asset(
        name=op_name(spec.name, table),
        specs=[
            dg.AssetSpec(
                key,
                skippable=True,
                partitions_def=tenant_windows(spec),
                group_name=spec.name,
                description=f"Raw records of {table.name}, one Parquet file a day.",
                kinds={"parquet"},
            )
        ],
        backfill_policy=dg.BackfillPolicy.multi_run(windows_per_run(spec)),
        op_tags={"dagster/priority": str(table.priority)},
    )
    def fill_table(
        context: AssetExecutionContext, config: ChunkConfig, wiring: dg.ResourceParam[Wiring]
    ) -> Iterator[Any]:
        wanted = set(context.partition_keys) - materialised_before(context.instance, context.run, key)
        failed = []
        for tenant, windows in by_tenant(spec, sorted(wanted)).items():
            for outcome in fill_tenant(context, wiring, spec, table, tenant, windows, config.chunk_size_days):
                if isinstance(outcome, WindowFailed):
                    failed.append((partition_key(tenant, outcome.window), outcome.reason))
                else:
                    context.log_event(materialisation(key, tenant, outcome))
        if failed:
            # Dagster must say success of the whole only; what was materialised above stays so.
            raise dg.Failure(failure_sentence(failed, of=len(wanted)), allow_retries=False)
        # A generator that yields nothing: an output would be logged for every partition, also the failed ones.
        yield from ()

    return fill_table


def op_name(service: str, table: TableSpec) -> str:
    """The name of the asset's op, by which run config addresses it."""
    return f"{service}__{table.slug}"


def fill_tenant(
    context: AssetExecutionContext,
    wiring: Wiring,
    spec: ServiceSpec,
    table: TableSpec,
    tenant: str,
    windows: Sequence[Window],
    chunk_size_days: int | None,
) -> Iterator[Outcome]:
    """Fill one tenant's windows; a tenant that cannot be read fails alone, the others go on."""
    try:
        service = wiring.tenant_service(tenant, spec.name)
        if service.spec.table(table.name) is None:
            raise UsageError(f"{spec.name} of tenant {tenant!r} leaves out {table.name}; name it in the tenants file")
        source = wiring.connect(service)
    except BackfillError as error:
        yield from (WindowFailed(window=window, reason=str(error)) for window in windows)
        return
    try:
        backfill = TableBackfill(
            tenant=tenant,
            service=spec.name,
            table=table,
            source=source,
            lake=wiring.lake,
            dead_letters=wiring.dead_letters,
            job_id=context.run.tags.get("dagster/backfill", context.run.run_id),
            run_id=context.run.run_id,
            clock=wiring.clock,
        )
        yield from backfill.fill(plan_chunks(windows, chunk_size_days or service.spec.chunk_size_days))
    finally:
        source.close()


def materialisation(key: dg.AssetKey, tenant: str, done: WindowDone) -> dg.AssetMaterialization:
    """What Dagster is told of a window that is in the lake."""
    return dg.AssetMaterialization(key, partition=partition_key(tenant, done.window), metadata=_metadata(done))


def _metadata(done: WindowDone) -> Mapping[str, Any]:
    return {
        "rows": done.rows,
        "rows_rejected": done.rows_rejected,
        "bytes": done.bytes,
        "seconds": round(done.seconds, 3),
        "source_rows": done.source_rows,
        "complete": done.complete,
        "chunk_days": done.chunk_days,
    }


def failure_sentence(failed: Sequence[tuple[str, str]], *, of: int) -> str:
    """How many partitions failed, and why: each reason once, with the partitions that it hit."""
    by_reason: dict[str, list[str]] = {}
    for key, reason in failed:
        by_reason.setdefault(reason, []).append(key)
    told = [f"{_few(keys)}: {reason}" for reason, keys in list(by_reason.items())[:SHOWN_FAILURES]]
    more = len(by_reason) - len(told)
    return "; ".join(
        [f"{len(failed)} of {of} partitions failed", *told, *([f"and {more} more reasons"] if more else [])]
    )


def _few(keys: Sequence[str]) -> str:
    shown = ", ".join(keys[:3])
    return shown if len(keys) <= 3 else f"{shown} and {len(keys) - 3} more"
