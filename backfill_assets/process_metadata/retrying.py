"""Dead letters tried again for Dagster: which models they belong to, and what it is told of the months they touch.

What becomes of a letter belongs to `letters.py`.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import dagster as dg
from dagster import AssetRecordsFilter, DagsterInstance

from backfill_assets.core.dead_letters import Answered, DeadLetter
from backfill_assets.core.metadata import MetadataField
from backfill_assets.errors import BackfillError
from backfill_assets.process_metadata.assets import metadata, metadata_backfill
from backfill_assets.process_metadata.backfill import MetadataBackfill, MonthDone
from backfill_assets.process_metadata.letters import DOMAIN, TENANT
from backfill_assets.process_metadata.partitions import KEY, calendar_of
from backfill_assets.resources import Wiring

JOB = "dead-letters retry"


@dataclass(frozen=True, kw_only=True)
class ModelRetried:
    """One model's letters: what became of each and which partitions were marked, or why none could be tried."""

    model: str
    answered: Sequence[Answered] = ()
    marked: Sequence[str] = ()
    problem: str = ""

    @property
    def name(self) -> str:
        """What the letters are of."""
        return self.model


def retry_letters(wiring: Wiring, instance: DagsterInstance, letters: Sequence[DeadLetter]) -> Iterator[ModelRetried]:
    """Try letters again, model by model; where the database does not work, they are kept."""
    models: dict[str, list[DeadLetter]] = {}
    for letter in letters:
        models.setdefault(letter.service, []).append(letter)
    for model, held in models.items():
        retried = partial(ModelRetried, model=model)
        try:
            with wiring.instances() as database:
                backfill = metadata_backfill(wiring, database, run_id=JOB, log=_tell_nobody)
                answered = list(backfill.retry(held))
                touched = {one.letter.partition: one.letter for one in answered}
                marked = [_mark(wiring, instance, backfill, letter) for _, letter in sorted(touched.items())]
        except BackfillError as error:
            yield retried(problem=str(error))
        else:
            yield retried(answered=answered, marked=marked)


def _tell_nobody(_: str) -> None:
    """The command line tells what became of each letter."""


def _mark(wiring: Wiring, instance: DagsterInstance, backfill: MetadataBackfill, letter: DeadLetter) -> str:
    """Tell Dagster of a month of a field: what it is now, where it has been filled before; else just what was seen."""
    month = calendar_of(wiring.settings.metadata_start).window_from_key(letter.partition.partition("|")[0])
    field = MetadataField(model=letter.service, key=letter.table, path=json.loads(letter.payload)["path"])
    [outcome] = backfill.recount([month], [field])
    if not isinstance(outcome, MonthDone):
        return f"{letter.partition} (not marked: {outcome.reason})"
    found = wiring.dead_letters.letters(domain=DOMAIN, tenant=TENANT, service=letter.service, table=letter.table)
    left = sum(other.partition == letter.partition for other in found)
    said = metadata(outcome, replace(outcome.counts, failed=left))
    wanted = AssetRecordsFilter(asset_key=KEY, asset_partitions=[letter.partition])
    if instance.fetch_materializations(wanted, limit=1).records:
        instance.report_runless_asset_event(dg.AssetMaterialization(KEY, partition=letter.partition, metadata=said))
        return letter.partition
    instance.report_runless_asset_event(dg.AssetObservation(KEY, partition=letter.partition, metadata=said))
    return f"{letter.partition} (observed)"
