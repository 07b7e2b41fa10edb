"""The raw tables as assets: one for each table of a service, partitioned by tenant x window.

Here belongs what Dagster sees of a run: what it logs, and when it fails. What is done belongs to `backfill.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import dagster as dg
from dagster import AssetExecutionContext

from backfill_assets.core.chunks import ChunkTarget
from backfill_assets.core.source import RecordSource, ServiceSpec, TableSpec
from backfill_assets.core.windows import Window
from backfill_assets.errors import BackfillError, UsageError
from backfill_assets.failing import failure_sentence
from backfill_assets.following import began, materialised_before, targeted
from backfill_assets.launching import DOMAIN_TAG, SYNC
from backfill_assets.pausing import OUTSIDE_HOURS, PAUSED_UNTIL_TAG, STOPPED_TAG, TIMEOUT
from backfill_assets.resources import Wiring
from backfill_assets.settings import TenantService
from backfill_assets.tenant_history.backfill import Outcome, TableBackfill, WindowDone, WindowFailed
from backfill_assets.tenant_history.checks import check_spec, completeness_check
from backfill_assets.tenant_history.handing_over import HandingOver
from backfill_assets.tenant_history.hours import Closed, Halt, Halted, halt, halted_sentence
from backfill_assets.tenant_history.partitions import asset_key, by_tenant, partition_key, tenant_windows
from backfill_assets.tenant_history.plan import windows_per_run

BACKFILL_TAG = "dagster/backfill"


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
        specs=[_asset_spec(spec, table)],
        check_specs=[check_spec(key)],
        backfill_policy=dg.BackfillPolicy.multi_run(windows_per_run(spec)),
        op_tags={"dagster/priority": str(table.priority)},
    )
    def fill_table(
        context: AssetExecutionContext, config: ChunkConfig, wiring: dg.ResourceParam[Wiring]
    ) -> Iterator[Any]:
        wanted = set(context.partition_keys) - materialised_before(context.instance, context.run, key)
        since = began(context.instance, context.run)
        filling = TableRun(
            run=context.run,
            instance=context.instance,
            wiring=wiring,
            spec=spec,
            table=table,
            config=config,
            began=since,
        )
        failed: list[tuple[str, str]] = []
        halts: list[Halt] = []
        done = 0
        for tenant, windows in by_tenant(spec, sorted(wanted)).items():
            for outcome in filling.outcomes(tenant, windows):
                match outcome:
                    case WindowDone():
                        context.log_event(materialisation(key, tenant, outcome))
                        done += 1
                    case WindowFailed():
                        failed.append((partition_key(tenant, outcome.window), outcome.reason))
                    case _:
                        halts.append(outcome)
        problems = [failure_sentence(failed, of=len(wanted))] if failed else []
        if halts:
            left = len(wanted) - done - len(failed)
            problems.append(note_halts(context.instance, context.run, halts, left=left, of=len(wanted)))
        yield completeness_check(wiring, spec, table)
        if problems:
            # Dagster must say success of the whole only; what was materialised above stays so.
            raise dg.Failure("; ".join(problems), allow_retries=False)
        # No output is yielded: it would be logged for every partition, also the failed ones.

    return fill_table


def _asset_spec(spec: ServiceSpec, table: TableSpec) -> dg.AssetSpec:
    return dg.AssetSpec(
        asset_key(spec.name, table),
        skippable=True,
        partitions_def=tenant_windows(spec),
        group_name=spec.name,
        description=f"Raw records of {table.name}, one Parquet file a day.",
        kinds={"parquet"},
    )


def op_name(service: str, table: TableSpec) -> str:
    """The name of the asset's op, by which run config addresses it."""
    return f"{service}__{table.slug}"


@dataclass(frozen=True, kw_only=True)
class TableRun:
    """One run's work on one table, for whichever tenants it covers; `began` is when its backfill was launched."""

    run: dg.DagsterRun
    instance: dg.DagsterInstance
    wiring: Wiring
    spec: ServiceSpec
    table: TableSpec
    config: ChunkConfig
    began: datetime

    def outcomes(self, tenant: str, windows: Sequence[Window]) -> Iterator[Outcome | Halt]:
        """Fill one tenant's windows; a tenant that cannot be read fails alone, the others go on.

        Where one may not go on, the last outcome is the reason, and what is left of its windows has none.
        """
        try:
            service = self._readable(tenant)
            source = self.wiring.connect(service)
        except BackfillError as error:
            yield from (WindowFailed(window=window, reason=str(error)) for window in windows)
            return
        try:
            may_go_on = partial(self._may_go_on, service)
            hand_over = handing_over(self.wiring, tenant, self.spec, self.table)
            hand_over.asked_for(self._asked_for(tenant, windows, hand_over))
            backfill = self._backfill(tenant, source)
            yield from hand_over.fill(backfill, windows, self._target(service.spec), before_chunk=may_go_on)
        except Halted as halted:
            yield halted.halt
        finally:
            source.close()

    def _asked_for(self, tenant: str, windows: Sequence[Window], hand_over: HandingOver) -> Sequence[Window]:
        """All windows of the tenant that the run's backfill is for, where those of the run go beyond what is known."""
        known = hand_over.history_from
        if known is not None and known <= min(windows).start:
            return windows
        wanted = targeted(self.instance, self.run, asset_key(self.spec.name, self.table))
        return by_tenant(self.spec, wanted).get(tenant, windows)

    def _may_go_on(self, service: TenantService) -> None:
        # Incremental sync reads little, at any hour.
        if self.run.tags.get(DOMAIN_TAG) == SYNC:
            return
        if reason := halt(service, began=self.began, now=self.wiring.clock()):
            raise Halted(reason)

    def _target(self, spec: ServiceSpec) -> ChunkTarget:
        return ChunkTarget(
            days=self.config.chunk_size_days or spec.chunk_size_days,
            rows=spec.chunk_target_rows,
            seconds=spec.chunk_target_seconds,
        )

    def _readable(self, tenant: str) -> TenantService:
        service = self.wiring.tenant_service(tenant, self.spec.name)
        if service.spec.table(self.table.name) is None:
            name = f"{self.spec.name} of tenant {tenant!r}"
            raise UsageError(f"{name} leaves out {self.table.name}; name it in the tenants file")
        return service

    def _backfill(self, tenant: str, source: RecordSource) -> TableBackfill:
        return table_backfill(
            self.wiring,
            tenant,
            self.spec.name,
            self.table,
            source,
            job_id=self.run.tags.get(BACKFILL_TAG, self.run.run_id),
            run_id=self.run.run_id,
        )


def handing_over(wiring: Wiring, tenant: str, spec: ServiceSpec, table: TableSpec) -> HandingOver:
    """The hand-off of one tenant's table, put together."""
    return HandingOver(
        tenant=tenant,
        spec=spec,
        table=table,
        handoffs=wiring.handoffs,
        certificates=wiring.certificates,
        publish=wiring.publish_watermark,
    )


def table_backfill(
    wiring: Wiring, tenant: str, service: str, table: TableSpec, source: RecordSource, *, job_id: str, run_id: str
) -> TableBackfill:
    """The use case for one tenant's table, put together."""
    return TableBackfill(
        tenant=tenant,
        service=service,
        table=table,
        source=source,
        lake=wiring.lake,
        dead_letters=wiring.dead_letters,
        certificates=wiring.certificates,
        job_id=job_id,
        run_id=run_id,
        clock=wiring.clock,
    )


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


def note_halts(instance: dg.DagsterInstance, run: dg.DagsterRun, halts: Sequence[Halt], *, left: int, of: int) -> str:
    """Tag a run that stops before all is done, so that it can be found; return the sentence that says why."""
    until = [halt.until for halt in halts if isinstance(halt, Closed)]
    tags = {STOPPED_TAG: OUTSIDE_HOURS, PAUSED_UNTIL_TAG: min(until).isoformat()} if until else {STOPPED_TAG: TIMEOUT}
    instance.add_run_tags(run.run_id, tags)
    return halted_sentence(halts, run.tags.get(BACKFILL_TAG), left=left, of=of)
