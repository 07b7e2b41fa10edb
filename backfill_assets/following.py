"""Following Dagster backfills: finding them, and what has come of them.

Here belongs what is read, and one correction of what Dagster says too early. Starting, stopping and resuming belongs to
`launching.py`, what a backfill's tags say of its stopping to `pausing.py`; these three are the only places that touch
Dagster's private backfill API, and their tests pin it.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from dagster import (
    AssetKey,
    AssetMaterialization,
    AssetRecordsFilter,
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    RunsFilter,
)
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph
from dagster._core.definitions.events import AssetKeyPartitionKey
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._core.events import RunFailureReason
from dagster._core.execution.backfill import (
    BULK_ACTION_TERMINAL_STATUSES,
    BulkActionsFilter,
    BulkActionStatus,
    PartitionBackfill,
)
from dagster._core.storage.tags import (
    BACKFILL_ID_TAG,
    PARENT_BACKFILL_ID_TAG,
    ROOT_BACKFILL_ID_TAG,
    RUN_FAILURE_REASON_TAG,
)

from backfill_assets.errors import UsageError

Graph = BaseAssetGraph[Any]
"""Every asset that Dagster knows, and how they hang together."""

Backfill = PartitionBackfill
"""A backfill as Dagster keeps it."""

RESUME_TAG = "dagster/is_resume_retry"

AT_ONCE = 500
"""How many events are fetched with one query."""


def backfills(
    instance: DagsterInstance, tags: Mapping[str, str], *, statuses: Sequence[BulkActionStatus] | None = None
) -> Sequence[PartitionBackfill]:
    """The backfills with these tags, newest first."""
    return instance.get_backfills(filters=BulkActionsFilter(tags=dict(tags), statuses=statuses))


def find(instance: DagsterInstance, backfill_id: str) -> PartitionBackfill:
    """The backfill with this id; raises `UsageError` when there is none."""
    if (backfill := instance.get_backfill(backfill_id)) is None:
        raise UsageError(
            f"there is no backfill {backfill_id!r} in this Dagster instance; the Backfills page of the UI lists the ids"
        )
    return backfill


def has_ended(backfill: PartitionBackfill) -> bool:
    """Whether nothing more will come of this backfill."""
    return backfill.status in BULK_ACTION_TERMINAL_STATUSES


def has_succeeded(backfill: PartitionBackfill) -> bool:
    """Whether it has ended and all of its partitions were done."""
    return backfill.status in (BulkActionStatus.COMPLETED_SUCCESS, BulkActionStatus.COMPLETED)


def targeted(instance: DagsterInstance, run: DagsterRun, asset: AssetKey) -> frozenset[str]:
    """The partitions of an asset that the backfill of this run was launched for; none where it belongs to none."""
    backfill_id = run.tags.get(BACKFILL_ID_TAG)
    backfill = instance.get_backfill(backfill_id) if backfill_id else None
    return frozenset() if backfill is None else frozenset(targets(backfill).get(asset, ()))


def unfinished(backfill: Backfill, graph: Graph, instance: DagsterInstance) -> frozenset[AssetKeyPartitionKey]:
    """The partitions of a backfill that are neither done nor given up, as its daemon last saw it."""
    if has_ended(backfill):
        return frozenset()
    with partition_loading_context(dynamic_partitions_store=instance):
        told = backfill.get_asset_backfill_data(graph)
        left = told.target_subset - told.materialized_subset - told.failed_and_downstream_subset
        return frozenset(left.iterate_asset_partitions())


def launched_at(backfill: PartitionBackfill) -> datetime:
    """When it was launched."""
    return datetime.fromtimestamp(backfill.backfill_timestamp, UTC)


def targets(backfill: PartitionBackfill) -> Mapping[AssetKey, Iterable[str]]:
    """The partitions that it was launched for, by asset."""
    found = backfill.asset_backfill_data
    subsets = found.target_subset.partitions_subsets_by_asset_key if found else {}
    return {asset: subset.get_partition_keys() for asset, subset in subsets.items()}


def began(instance: DagsterInstance, run: DagsterRun) -> datetime:
    """When the run's backfill was launched; for a run outside of any, when it started itself."""
    backfill = instance.get_backfill(run.tags[BACKFILL_ID_TAG]) if BACKFILL_ID_TAG in run.tags else None
    if backfill is not None:
        return launched_at(backfill)
    record = instance.get_run_record_by_id(run.run_id)
    started = record.start_time if record else None
    return datetime.now(UTC) if started is None else datetime.fromtimestamp(started, UTC)


def first_asked_for(instance: DagsterInstance, run: DagsterRun) -> datetime:
    """As `began`, but a backfill that goes on with another one's rest began with that one."""
    backfill = instance.get_backfill(run.tags[BACKFILL_ID_TAG]) if BACKFILL_ID_TAG in run.tags else None
    root_id = backfill.tags.get(ROOT_BACKFILL_ID_TAG) if backfill else None
    root = instance.get_backfill(root_id) if root_id else None
    return began(instance, run) if root is None else launched_at(root)


def is_daemon_alive(instance: DagsterInstance) -> bool:
    """Whether the daemon that carries out backfills has been heard of lately."""
    # Deferred: only the command line asks, and the daemon's own code is half a second to import.
    from dagster._daemon.controller import get_daemon_statuses
    from dagster._daemon.daemon import BackfillDaemon

    name = BackfillDaemon.daemon_type()
    return get_daemon_statuses(instance, [name])[name].healthy is True


def progress(instance: DagsterInstance, backfill: PartitionBackfill) -> tuple[int, int]:
    """Partitions materialised so far, and all of them.

    Counted from the runs, since Dagster brings the backfill's own numbers up to date only every half minute.
    """
    found = backfill.asset_backfill_data
    total = found.target_subset.num_partitions_and_non_partitioned_assets if found else 0
    done = sum(instance.get_run_stats(run.run_id).materializations for run in runs(instance, backfill.backfill_id))
    return (total if has_succeeded(backfill) else min(done, total)), total


def runs(
    instance: DagsterInstance, backfill_id: str, statuses: Sequence[DagsterRunStatus] | None = None
) -> Sequence[DagsterRun]:
    """The runs of a backfill, newest first."""
    return instance.get_runs(filters=RunsFilter(tags={BACKFILL_ID_TAG: backfill_id}, statuses=statuses))


def all_runs_succeeded(instance: DagsterInstance, backfill_id: str) -> bool:
    """Whether it had runs and each of them did what it was asked; that may complete no partition."""
    found = runs(instance, backfill_id)
    return bool(found) and all(run.is_success for run in found)


def materialised_before(instance: DagsterInstance, run: DagsterRun, asset: AssetKey) -> frozenset[str]:
    """Partitions of an asset that earlier runs of a resumed run's group materialised; none for any other run.

    A run counts as resumed by its tag `dagster/is_resume_retry`: whoever asks anew means all that was asked.
    """
    if run.tags.get(RESUME_TAG) != "true" or (group := instance.get_run_group(run.run_id)) is None:
        return frozenset()
    return frozenset(
        entry.dagster_event.partition
        for earlier in group[1]
        if earlier.run_id != run.run_id
        for entry in instance.all_logs(earlier.run_id, of_type=DagsterEventType.ASSET_MATERIALIZATION)
        if entry.dagster_event and entry.dagster_event.asset_key == asset and entry.dagster_event.partition
    )


def settle(instance: DagsterInstance, graph: Graph, backfill: Backfill) -> Backfill:
    """Correct a backfill that ended as failed although more of it was done; return it as it stands now.

    Dagster's daemon works out first which partitions failed, and asks afterwards, anew, whether all runs have ended:
    what the retry of a crashed run materialised in between is counted as failed. The events of the runs tell.
    """
    if backfill.status is not BulkActionStatus.COMPLETED_FAILED:
        return backfill
    with partition_loading_context(dynamic_partitions_store=instance):
        told = backfill.get_asset_backfill_data(graph)
        done = told.materialized_subset | (_materialised(instance, graph, backfill) & told.target_subset)
        late = done - told.materialized_subset
        if not late.num_partitions_and_non_partitioned_assets:
            return backfill
        truth = told._replace(
            materialized_subset=done, failed_and_downstream_subset=told.failed_and_downstream_subset - done
        )
        settled: Backfill = backfill.with_asset_backfill_data(truth, instance, graph)
        if not (told.target_subset - done).num_partitions_and_non_partitioned_assets:
            settled = settled._replace(status=BulkActionStatus.COMPLETED_SUCCESS)
    instance.update_backfill(settled)
    return settled


def lost_retries(instance: DagsterInstance, backfill: Backfill) -> Sequence[DagsterRun]:
    """Crashed runs of an ended backfill that Dagster should have tried again and did not.

    It does not when the daemon looks at the backfill between the failure of the run and the mark that it will be
    retried, nor when the code server is away at the moment at which the retry is made.
    """
    failed = runs(instance, backfill.backfill_id, [DagsterRunStatus.FAILURE])
    return [run for run in failed if _has_crashed(run) and _may_be_retried(instance, run)]


def resumptions(instance: DagsterInstance, backfill: Backfill) -> Sequence[Backfill]:
    """The backfills that were launched for what this one left undone, newest first."""
    return backfills(instance, {PARENT_BACKFILL_ID_TAG: backfill.backfill_id})


def _has_crashed(run: DagsterRun) -> bool:
    return run.tags.get(RUN_FAILURE_REASON_TAG) != RunFailureReason.STEP_FAILURE.value


def _may_be_retried(instance: DagsterInstance, run: DagsterRun) -> bool:
    group = instance.get_run_group(run.run_id)
    family = [run] if group is None else group[1]
    was_retried = any(other.parent_run_id == run.run_id for other in family)
    return not was_retried and len(family) <= instance.run_retries_max_retries


def _materialised(instance: DagsterInstance, graph: Graph, backfill: Backfill) -> AssetGraphSubset:
    entries = (
        entry.dagster_event
        for run in runs(instance, backfill.backfill_id)
        for entry in instance.all_logs(run.run_id, of_type=DagsterEventType.ASSET_MATERIALIZATION)
    )
    found = {AssetKeyPartitionKey(e.asset_key, e.partition) for e in entries if e and e.asset_key and e.partition}
    return AssetGraphSubset.from_asset_partition_set(found, graph)


def newest_materialisations(instance: DagsterInstance, asset: AssetKey) -> Mapping[str, AssetMaterialization]:
    """What Dagster was told last of each partition of an asset."""
    newest = instance.get_latest_storage_id_by_partition(asset, DagsterEventType.ASSET_MATERIALIZATION)
    ids = sorted(newest.values())
    found: dict[str, AssetMaterialization] = {}
    for start in range(0, len(ids), AT_ONCE):
        some = ids[start : start + AT_ONCE]
        wanted = AssetRecordsFilter(asset_key=asset, storage_ids=some)
        for record in instance.fetch_materializations(wanted, limit=len(some)).records:
            if (told := record.asset_materialization) is not None and told.partition is not None:
                found[told.partition] = told
    return found
