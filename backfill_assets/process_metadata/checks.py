"""The asset check of the metadata rows: whether each field has, for each month, all the rows that it can have.

Here belongs what Dagster is told. One check for all: a check of a partition would not be shown by partition. It reads
the newest materialisation of each, and names month and field in words.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from backfill_assets.core.metadata import Paths
from backfill_assets.following import newest_materialisations
from backfill_assets.process_metadata.partitions import KEY, taken_apart

COMPLETE = "complete"
SHOWN = 10

CHECK = dg.AssetCheckSpec(
    COMPLETE, asset=KEY, description="Every instance whose source task holds a value has its row, in all months filled."
)


@dataclass(frozen=True, kw_only=True, order=True)
class Short:
    """A month of a field that lacks rows, or of which some instances could not be done."""

    model: str
    key: str
    month: str
    missing: int
    failed: int

    @property
    def sentence(self) -> str:
        """What is short of it."""
        name = f"{self.month[:7]} {self.model}:{self.key}"
        lacks = [f"{self.missing} rows missing"] if self.missing else []
        failed = [f"{self.failed} instances failed; see `backfill dead-letters list`"] if self.failed else []
        return f"{name}: {', '.join([*lacks, *failed]) or 'not all instances could be read'}"


def completeness_check(instance: dg.DagsterInstance, known: Mapping[str, Paths | None]) -> dg.AssetCheckResult:
    """Look at the newest materialisation of each month and field; `known` are the fields that there are."""
    told = {key: said for key, said in newest_materialisations(instance, KEY).items() if not _is_forgotten(key, known)}
    short = sorted(_short(key, said) for key, said in told.items() if _value(said, "complete") is not True)
    return dg.AssetCheckResult(
        passed=not short,
        check_name=COMPLETE,
        asset_key=KEY,
        # What is kept among the dead letters is no damage.
        severity=dg.AssetCheckSeverity.ERROR if any(one.missing for one in short) else dg.AssetCheckSeverity.WARN,
        description=_sentence(short, len(told)),
        metadata={
            "partitions": len(told),
            "partitions_short": len(short),
            "rows_missing": sum(one.missing for one in short),
            "rows_rejected": sum(one.failed for one in short),
        },
    )


def _is_forgotten(partition: str, known: Mapping[str, Paths | None]) -> bool:
    """Whether nobody asks for the field any more: what it lacks is nobody's loss."""
    _, model, key = taken_apart(partition)
    paths = known.get(model, {})
    return bool(known) and paths is not None and key not in paths


def _short(partition: str, said: dg.AssetMaterialization) -> Short:
    month, model, key = taken_apart(partition)
    missing = max(_number(said, "source_rows") - _number(said, "rows"), 0)
    return Short(model=model, key=key, month=month, missing=missing, failed=_number(said, "rows_rejected"))


def _value(said: dg.AssetMaterialization, name: str) -> object:
    return said.metadata[name].value if name in said.metadata else None


def _number(said: dg.AssetMaterialization, name: str) -> int:
    found = _value(said, name)
    return found if isinstance(found, int) else 0


def _sentence(short: Sequence[Short], told: int) -> str:
    if not short:
        return f"{told} months of fields have all their rows" if told else "nothing was filled yet"
    more = len(short) - SHOWN
    return "; ".join([*(one.sentence for one in short[:SHOWN]), *([f"and {more} more"] if more > 0 else [])])
