"""Dead letters of work orders tried again: a stage of the months that they belong to, done once more.

Here belongs what becomes of each letter and what Dagster is told of the months. A record that was refused an answer is
asked about again just here, since each answer may cost money.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import dagster as dg
from dagster import AssetRecordsFilter, DagsterInstance

from backfill_assets.core.dead_letters import Answered, DeadLetter, Fate
from backfill_assets.core.orders import whole
from backfill_assets.errors import BackfillError
from backfill_assets.resources import Wiring
from backfill_assets.work_orders.letters import Letters
from backfill_assets.work_orders.outcomes import EXTRACTION, StageFailed
from backfill_assets.work_orders.partitions import KEYS, calendar_of
from backfill_assets.work_orders.running import opened_backfill
from backfill_assets.work_orders.telling import numbers

JOB = "dead-letters retry"


@dataclass(frozen=True, kw_only=True)
class MonthRetried:
    """The letters of one stage of a month: what became of each, or why none could be tried."""

    name: str
    answered: Sequence[Answered] = ()
    marked: Sequence[str] = ()
    problem: str = ""


def retry_letters(wiring: Wiring, instance: DagsterInstance, letters: Sequence[DeadLetter]) -> Iterator[MonthRetried]:
    """Try letters again, month by month."""
    months: dict[tuple[str, str], list[DeadLetter]] = {}
    for letter in letters:
        months.setdefault((letter.table, letter.partition), []).append(letter)
    for (stage, month), held in sorted(months.items()):
        name = f"{stage} {month}"
        try:
            yield _retried(wiring, instance, stage, month, held)
        except BackfillError as error:
            yield MonthRetried(name=name, problem=str(error))


def _retried(
    wiring: Wiring, instance: DagsterInstance, stage: str, month: str, held: Sequence[DeadLetter]
) -> MonthRetried:
    span = whole(calendar_of(wiring.settings.work_orders_start).window_from_key(month))
    ledger = Letters(ledger=wiring.dead_letters, table=stage, run_id=JOB)
    with opened_backfill(wiring, run_id=JOB, log=_tell_nobody) as backfill:
        if stage != EXTRACTION:
            # A letter keeps its record from being asked about.
            ledger.resolve(held)
        [outcome] = backfill.run([span], [stage])
    if isinstance(outcome, StageFailed):
        wiring.dead_letters.put(letter for letter in held if letter.identity not in _identities(ledger.of(span)))
        return MonthRetried(name=f"{stage} {month}", problem=outcome.reason)
    left = {letter.identity: letter for letter in ledger.of(span)}
    answered = [
        Answered(letter=letter, fate=Fate.KEPT, reason=left[letter.identity].reason)
        if letter.identity in left
        else Answered(letter=letter, fate=Fate.STORED, reason="it is done now")
        for letter in held
    ]
    wanted = AssetRecordsFilter(asset_key=KEYS[stage], asset_partitions=[month])
    was_done = bool(instance.fetch_materializations(wanted, limit=1).records)
    kind = dg.AssetMaterialization if was_done else dg.AssetObservation
    instance.report_runless_asset_event(kind(KEYS[stage], partition=month, metadata=numbers(outcome)))
    return MonthRetried(
        name=f"{stage} {month}", answered=answered, marked=[month if was_done else f"{month} (observed)"]
    )


def _identities(letters: Sequence[DeadLetter]) -> set[tuple[str, ...]]:
    return {letter.identity for letter in letters}


def _tell_nobody(_: str) -> None:
    """The command line tells what became of each letter."""
