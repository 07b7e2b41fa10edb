"""The asset check of each stage: whether every month has all the records that it can have.

Here belongs what Dagster is told. One check for all months: it reads the newest materialisation of each, and names the
months in words.
"""

import dagster as dg

from backfill_assets.following import newest_materialisations
from backfill_assets.work_orders.outcomes import STAGES
from backfill_assets.work_orders.partitions import KEYS

COMPLETE = "complete"
SHOWN = 10

CHECKS = [
    dg.AssetCheckSpec(
        COMPLETE,
        asset=KEYS[stage],
        description="All records of every month that was done are there, and none was rejected.",
    )
    for stage in STAGES
]


def completeness_check(instance: dg.DagsterInstance, stage: str) -> dg.AssetCheckResult:
    """Look at the newest materialisation of each month."""
    told = newest_materialisations(instance, KEYS[stage])
    said = {key: {name: one.value for name, one in found.metadata.items()} for key, found in sorted(told.items())}
    short = {key: one for key, one in said.items() if one.get("complete") is not True}
    unbalanced = [key for key, one in short.items() if one.get("balanced") is not True]
    sentences = [
        f"{key[:7]}: {one.get('source_rows')} records, {one.get('rows')} done, {one.get('rows_rejected')} rejected"
        + ("" if one.get("balanced") is True else "; the ids differ, run the month again")
        for key, one in list(short.items())[:SHOWN]
    ]
    more = [f"and {len(short) - SHOWN} more months"] if len(short) > SHOWN else []
    return dg.AssetCheckResult(
        passed=not short,
        check_name=COMPLETE,
        asset_key=KEYS[stage],
        # What is kept among the dead letters is no damage.
        severity=dg.AssetCheckSeverity.ERROR if unbalanced else dg.AssetCheckSeverity.WARN,
        description="; ".join([*sentences, *more]) or f"{len(said)} months have all their records",
        metadata={"months": len(said), "months_short": len(short), "months_unbalanced": len(unbalanced)},
    )
