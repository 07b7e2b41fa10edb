"""The metadata rows as an asset: one for all process models, partitioned by month x field.

Here belongs what Dagster sees of a run: what it logs, and when it fails. What is done belongs to `backfill.py`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import dagster as dg
from dagster import AssetExecutionContext

from backfill_assets.core.instances import InstanceDatabase
from backfill_assets.core.metadata import MetadataField
from backfill_assets.core.windows import Window
from backfill_assets.errors import BackfillError
from backfill_assets.failing import failure_sentence
from backfill_assets.following import first_asked_for, materialised_before
from backfill_assets.process_metadata.backfill import MetadataBackfill, MonthDone, MonthFailed, Outcome
from backfill_assets.process_metadata.batches import Counts
from backfill_assets.process_metadata.checks import CHECK, completeness_check
from backfill_assets.process_metadata.partitions import (
    KEY,
    MODELS_KEY,
    PARTITIONS_PER_RUN,
    by_model,
    months_by_fields,
    partition_key,
)
from backfill_assets.process_metadata.paths import ModelReader, process_models
from backfill_assets.resources import Wiring

OP = "process_instance_metadata"
GROUP = "process_metadata"

PROCESS_MODELS = dg.AssetSpec(
    MODELS_KEY,
    group_name=GROUP,
    description="The files process_model.json of the product, whose extraction paths say which fields there are.",
    kinds={"json"},
)


class FieldConfig(dg.Config):
    """What may be set for one backfill, in the launch dialog or by the command line.

    `overwrite` gives rows that are there the new value, unless they were updated after the backfill was launched.
    `most_instances` ends each run after so many instances: it says how it would go, and completes no partition.
    """

    overwrite: bool = False
    most_instances: int | None = None


def metadata_asset(start: date) -> dg.AssetsDefinition:
    """The asset, with months from this day on."""

    @dg.multi_asset(
        name=OP,
        specs=[_asset_spec(start)],
        check_specs=[CHECK],
        backfill_policy=dg.BackfillPolicy.multi_run(PARTITIONS_PER_RUN),
    )
    def fill_metadata(
        context: AssetExecutionContext, config: FieldConfig, wiring: dg.ResourceParam[Wiring]
    ) -> Iterator[Any]:
        wanted = set(context.partition_keys) - materialised_before(context.instance, context.run, KEY)
        filling = MetadataRun(
            run_id=context.run.run_id,
            wiring=wiring,
            log=context.log.info,
            overwrite_before=first_asked_for(context.instance, context.run) if config.overwrite else None,
            most_instances=config.most_instances,
        )
        failed: list[tuple[str, str]] = []
        for outcome in filling.outcomes(sorted(wanted)):
            if isinstance(outcome, MonthFailed):
                failed.append((partition_key(outcome.month, outcome.field.name), outcome.reason))
            else:
                context.log_event(told(outcome, is_part=config.most_instances is not None))
        yield completeness_check(context.instance, wiring.fields.known())
        if failed:
            # Dagster must say success of the whole only; what was materialised above stays so.
            raise dg.Failure(failure_sentence(failed, of=len(wanted)), allow_retries=False)
        # No output is yielded: it would be logged for every partition, also the failed ones.

    return fill_metadata


def _asset_spec(start: date) -> dg.AssetSpec:
    return dg.AssetSpec(
        KEY,
        skippable=True,
        deps=[MODELS_KEY],
        partitions_def=months_by_fields(start),
        group_name=GROUP,
        description="Rows of process_instance_metadata: a value of a field for each instance that has one.",
        kinds={"sql"},
    )


@dataclass(frozen=True, kw_only=True)
class MetadataRun:
    """One run's work, for whichever models it covers."""

    run_id: str
    wiring: Wiring
    log: Callable[[str], None]
    overwrite_before: datetime | None = None
    most_instances: int | None = None

    def outcomes(self, keys: Sequence[str]) -> Iterator[Outcome]:
        """Fill these partitions; a model that cannot be read fails alone, the others go on."""
        asked = by_model(self.wiring.settings.metadata_start, keys)
        if not asked:
            return
        with self.wiring.instances() as database:
            for model, passes in asked.items():
                for months, names in passes:
                    yield from self._pass(database, model, months, names)

    def _pass(
        self, database: InstanceDatabase, model: str, months: Sequence[Window], names: Sequence[str]
    ) -> Iterator[Outcome]:
        reader = ModelReader(root=process_models(self.wiring.settings), model=model)
        fields, unknown = reader.fields(names)
        yield from _failed(months, unknown)
        if not fields:
            return
        outstanding = {(month, one) for month in months for one in fields}
        try:
            for outcome in self._backfill(database).fill(
                months,
                fields,
                overwrite_before=self.overwrite_before,
                most_instances=self.most_instances,
                before_batch=reader.require_unchanged,
            ):
                outstanding.discard((outcome.month, outcome.field))
                yield outcome
        except BackfillError as error:
            left = sorted(outstanding)
            yield from (MonthFailed(month=month, field=one, reason=str(error)) for month, one in left)

    def _backfill(self, database: InstanceDatabase) -> MetadataBackfill:
        return metadata_backfill(self.wiring, database, run_id=self.run_id, log=self.log)


def metadata_backfill(
    wiring: Wiring, database: InstanceDatabase, *, run_id: str, log: Callable[[str], None]
) -> MetadataBackfill:
    """The use case, put together."""
    return MetadataBackfill(
        database=database,
        dead_letters=wiring.dead_letters,
        run_id=run_id,
        batch_size=wiring.settings.metadata_batch_size,
        log=log,
        clock=wiring.clock,
    )


def _failed(months: Sequence[Window], unknown: Mapping[MetadataField, str]) -> Iterator[MonthFailed]:
    for one, reason in unknown.items():
        yield from (MonthFailed(month=month, field=one, reason=reason) for month in months)


def told(done: MonthDone, *, is_part: bool = False) -> dg.AssetMaterialization | dg.AssetObservation:
    """What Dagster is told of a month of a field that was gone through, `is_part` where not to its end."""
    kind = dg.AssetObservation if is_part else dg.AssetMaterialization
    return kind(KEY, partition=partition_key(done.month, done.field.name), metadata=metadata(done, done.counts))


def metadata(done: MonthDone, counts: Counts) -> Mapping[str, Any]:
    """The numbers of a month of a field; rows are all that it has, `updated` those written now."""
    return {
        "rows": done.rows,
        "rows_rejected": counts.failed,
        # Rows of somebody else's table: nothing of ours takes room.
        "bytes": 0,
        "seconds": round(done.seconds, 3),
        "source_rows": done.source_rows,
        "complete": done.complete,
        "path": done.field.path,
        "processed": counts.processed,
        "updated": counts.updated,
        "unchanged": counts.unchanged,
        "missing": counts.missing,
        "truncated": counts.truncated,
        "failed": counts.failed,
    }
