"""Dead letters tried again for Dagster: which tables they belong to, and what it is told of the windows they touch.

What becomes of a letter belongs to `letters.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import dagster as dg
from dagster import AssetRecordsFilter, DagsterInstance

from backfill_assets.core.dead_letters import Answered, DeadLetter
from backfill_assets.errors import BackfillError, UsageError
from backfill_assets.resources import Wiring
from backfill_assets.tenant_history.assets import table_backfill
from backfill_assets.tenant_history.letters import LetterRetry, Touched
from backfill_assets.tenant_history.partitions import asset_key, partition_key
from backfill_assets.tenant_history.plan import calendar_of

JOB = "dead-letters retry"


@dataclass(frozen=True, kw_only=True)
class TableRetried:
    """One table's letters: what became of each and which partitions were marked, or why none could be tried."""

    tenant: str
    service: str
    table: str
    answered: Sequence[Answered] = ()
    marked: Sequence[str] = ()
    problem: str = ""

    @property
    def name(self) -> str:
        """What the letters are of."""
        return f"{self.tenant} {self.service} {self.table}"


def retry_letters(wiring: Wiring, instance: DagsterInstance, letters: Sequence[DeadLetter]) -> Iterator[TableRetried]:
    """Try letters again, table by table; a table whose source does not work keeps its letters, the others go on."""
    tables: dict[tuple[str, str, str], list[DeadLetter]] = {}
    for letter in letters:
        tables.setdefault((letter.tenant, letter.service, letter.table), []).append(letter)
    for (tenant, service, table), held in tables.items():
        retried = partial(TableRetried, tenant=tenant, service=service, table=table)
        try:
            answered, marked = _retry(wiring, instance, held, tenant=tenant, service=service, table=table)
        except BackfillError as error:
            yield retried(problem=str(error))
        else:
            yield retried(answered=answered, marked=marked)


def _retry(
    wiring: Wiring, instance: DagsterInstance, letters: Sequence[DeadLetter], *, tenant: str, service: str, table: str
) -> tuple[Sequence[Answered], Sequence[str]]:
    account = wiring.tenant_service(tenant, service)
    spec = account.spec.table(table)
    if spec is None:
        raise UsageError(
            f"{service} of tenant {tenant!r} has no table {table}; name it in the services and tenants files"
        )
    with closing(wiring.connect(account)) as source:
        backfill = table_backfill(wiring, tenant, service, spec, source, job_id=JOB, run_id=JOB)
        # The windows are those of the service, which all tenants share.
        calendar = calendar_of(wiring.settings.services[service])
        answered, touched = LetterRetry(backfill=backfill, calendar=calendar).retry(letters)
    return answered, [_mark(instance, asset_key(service, spec), tenant, window) for window in touched]


def _mark(instance: DagsterInstance, key: dg.AssetKey, tenant: str, touched: Touched) -> str:
    """Tell Dagster of a window: what it is now, where all of it has been read before; else just what was seen."""
    partition = partition_key(tenant, touched.window)
    wanted = AssetRecordsFilter(asset_key=key, asset_partitions=[partition])
    before = instance.fetch_materializations(wanted, limit=1).records
    metadata: dict[str, Any] = {"rows_rejected": touched.rows_rejected, "source_rows": touched.source_rows}
    if not before or (known := before[0].asset_materialization) is None:
        metadata["rows"] = touched.rows
        instance.report_runless_asset_event(dg.AssetObservation(key, partition=partition, metadata=metadata))
        return f"{partition} (observed)"
    metadata["rows"] = _number(known.metadata, "rows") + touched.rows
    metadata["complete"] = touched.is_past and not touched.rows_rejected and metadata["rows"] >= touched.source_rows
    instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=partition, metadata=metadata))
    return str(partition)


def _number(metadata: Mapping[str, dg.MetadataValue[Any]], name: str) -> int:
    found = metadata[name].value if name in metadata else 0
    return found if isinstance(found, int) else 0
