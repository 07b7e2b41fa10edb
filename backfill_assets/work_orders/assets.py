"""Work orders as three assets of one step: stored, enriched, embedded, partitioned by month.

Here belongs what Dagster sees of a run: what it logs, and when it fails. One step for all three, since a step that
yields no output would keep those below it from running in the same run.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import dagster as dg
from dagster import AssetExecutionContext

from backfill_assets.errors import UsageError
from backfill_assets.failing import failure_sentence
from backfill_assets.following import materialised_before
from backfill_assets.resources import Wiring
from backfill_assets.work_orders.checks import CHECKS, completeness_check
from backfill_assets.work_orders.outcomes import EMBEDDING, ENRICHMENT, EXTRACTION, STAGES, StageDone, StageFailed
from backfill_assets.work_orders.partitions import KEYS, PARTITIONS_PER_RUN, months_of, spans
from backfill_assets.work_orders.running import opened_backfill
from backfill_assets.work_orders.telling import numbers, summary

OP = "work_orders"
GROUP = "work_orders"

DESCRIPTIONS = {
    EXTRACTION: "Work orders as Snowflake holds them, in PostgreSQL.",
    ENRICHMENT: "What each work order tells: component, fault, cause, resolution, summary.",
    EMBEDDING: "An embedding of each work order, for searching by meaning.",
}


class OrderConfig(dg.Config):
    """What may be set for one backfill, in the launch dialog or by the command line.

    `first_day` and `last_day` (2024-01-31) are both included; a run that covers only a part of a month, or ends after
    `most_records` of a stage, completes no partition. `batch_size` is how many records are committed at once.
    """

    first_day: str | None = None
    last_day: str | None = None
    batch_size: int | None = None
    most_records: int | None = None


def order_assets(start: date) -> dg.AssetsDefinition:
    """The assets, with months from this day on."""

    @dg.multi_asset(
        name=OP,
        specs=_specs(start),
        check_specs=CHECKS,
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.multi_run(PARTITIONS_PER_RUN),
    )
    def work_orders(
        context: AssetExecutionContext, config: OrderConfig, wiring: dg.ResourceParam[Wiring]
    ) -> Iterator[Any]:
        stages = [stage for stage in STAGES if KEYS[stage] in context.selected_asset_keys]
        outcomes = []
        for outcome in _outcomes(context, config, wiring, stages):
            outcomes.append(outcome)
            if isinstance(outcome, StageDone):
                context.log_event(_event(outcome))
        context.log_event(
            dg.AssetObservation(KEYS[stages[0]], metadata={"summary": dg.MetadataValue.md(summary(outcomes))})
        )
        for check in context.selected_asset_check_keys:
            yield completeness_check(context.instance, check.asset_key.path[-1])
        failed = [(f"{o.stage} {o.span.month.key}", o.reason) for o in outcomes if isinstance(o, StageFailed)]
        if failed:
            # Dagster must say success of the whole only; what was materialised above stays so.
            raise dg.Failure(failure_sentence(failed, of=len(outcomes)), allow_retries=False)
        # No output is yielded: it would be logged for every partition, also the failed ones.

    return work_orders


def _specs(start: date) -> Sequence[dg.AssetSpec]:
    above = {EXTRACTION: [], ENRICHMENT: [KEYS[EXTRACTION]], EMBEDDING: [KEYS[ENRICHMENT]]}
    return [
        dg.AssetSpec(
            KEYS[stage],
            skippable=True,
            deps=above[stage],
            partitions_def=months_of(start),
            group_name=GROUP,
            description=DESCRIPTIONS[stage],
            kinds={"postgres"},
        )
        for stage in STAGES
    ]


def _outcomes(
    context: AssetExecutionContext, config: OrderConfig, wiring: Wiring, stages: Sequence[str]
) -> Iterator[StageDone | StageFailed]:
    """Months that an earlier run of a resumed one finished are left out."""
    done = [materialised_before(context.instance, context.run, KEYS[stage]) for stage in stages]
    keys = set(context.partition_keys) - frozenset.intersection(*done)
    wanted = spans(
        wiring.settings.work_orders_start,
        keys,
        first_day=_day(config.first_day, "first_day"),
        last_day=_day(config.last_day, "last_day"),
    )
    with opened_backfill(
        wiring, run_id=context.run.run_id, log=context.log.info, batch_size=config.batch_size
    ) as backfill:
        yield from backfill.run(wanted, stages, most_records=config.most_records)


def _day(text: str | None, name: str) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{name} {text!r} is no day; write it like 2024-01-31") from None


def _event(done: StageDone) -> dg.AssetMaterialization | dg.AssetObservation:
    kind = dg.AssetObservation if done.is_part else dg.AssetMaterialization
    metadata: Mapping[str, Any] = numbers(done)
    return kind(KEYS[done.stage], partition=done.span.month.key, metadata=metadata)
