"""Starting, stopping and resuming Dagster backfills.

Here belongs how a backfill is asked for, whoever asks. What has come of one belongs to `following.py`, which partitions
to ask for to the domains.
"""

import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from dagster import AssetKey, DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.definitions.events import AssetKeyPartitionKey
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._core.execution.backfill import (
    BulkActionStatus,
    PartitionBackfill,
)
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.storage.tags import PARENT_BACKFILL_ID_TAG, ROOT_BACKFILL_ID_TAG
from dagster._core.utils import make_new_backfill_id
from dagster_shared.error import DagsterError

from backfill_assets.errors import TransientError, UsageError
from backfill_assets.following import (
    Graph,
    backfills,
    find,
    has_ended,
    has_succeeded,
    lost_retries,
    resumptions,
    runs,
    settle,
)
from backfill_assets.pausing import end_pause, is_paused, marked, pause_mark, stopped_runs, unmarked

_log = logging.getLogger(__name__)

DOMAIN_TAG = "backfill/domain"
KEY_TAG = "backfill/key"
REASON_TAG = "backfill/reason"
REQUESTED_BY_TAG = "backfill/requested_by"
TENANT_TAG, SERVICE_TAG = "backfill/tenant", "backfill/service"
"""Where a backfill has one."""
HISTORY, SYNC = "tenant_history", "incremental_sync"
"""The two domains whose runs share tenants."""

CELERY_TASK_TAG = "dagster-celery/task_id"
"""On a run that was given to Celery workers."""

MAX_TITLE = 100
RETRY_SECONDS, RECENT_SECONDS = 10.0, 600.0
"""How long after its end a backfill may be recovered: not while Dagster may still make the retry, nor for ever."""
POLL_SECONDS = 0.25
QUIET_SECONDS = 2.0
ACTIVE = (BulkActionStatus.REQUESTED, BulkActionStatus.CANCELING, BulkActionStatus.FAILING)
UNFINISHED = [status for status in DagsterRunStatus if status not in FINISHED_STATUSES]

Lock = Callable[[str], AbstractContextManager[None]]


@dataclass(frozen=True, kw_only=True)
class BackfillRequest:
    """What to launch, why, and for whom; two requests with the same `key` are the same target.

    One with `paused_until` waits as a paused backfill, which goes on by itself.
    """

    domain: str
    key: str
    title: str
    reason: str
    requested_by: str
    partitions: Mapping[AssetKey, Sequence[str]]
    tags: Mapping[str, str] = field(default_factory=dict)
    run_config: Mapping[str, Any] | None = None
    paused_until: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Launched:
    """The backfill that answers a request; `is_new` is false when one for the same target was active or paused."""

    backfill_id: str
    is_new: bool


def launch(
    instance: DagsterInstance,
    graph: Graph,
    request: BackfillRequest,
    *,
    lock: Lock,
    before_adding: Callable[[], None] = lambda: None,
) -> Launched:
    """Launch a native Dagster backfill, unless one with the same key is active or paused.

    `lock` serialises everybody who launches, so that a target asked for twice at once starts once. `before_adding` is
    called when it is known that it will be launched, and before anybody can see it.
    """
    with lock(f"launch:{request.key}"):
        known = backfills(instance, {KEY_TAG: request.key})
        if open_ones := [backfill for backfill in known if not has_ended(backfill) or is_paused(backfill)]:
            return Launched(backfill_id=open_ones[0].backfill_id, is_new=False)
        if strangers := [asset.to_user_string() for asset in request.partitions if not graph.has(asset)]:
            raise UsageError(
                f"the code that Dagster has loaded knows no {', '.join(strangers)}; restart the code server and the "
                "daemon, so that they read the services file anew, then ask again"
            )
        targets = {AssetKeyPartitionKey(asset, key) for asset, keys in request.partitions.items() for key in keys}
        with partition_loading_context(dynamic_partitions_store=instance):
            subset = AssetGraphSubset.from_asset_partition_set(targets, graph)
            backfill = _new(instance, subset, _tags(request), request.title, request.reason, request.run_config)
        if request.paused_until is not None:
            # As one that was stopped before its first run: nothing of it stands in anybody's way.
            backfill = marked(backfill, pause_mark(backfill, request.paused_until))
            backfill = backfill._replace(status=BulkActionStatus.CANCELED, backfill_end_timestamp=time.time())
        before_adding()
        instance.add_backfill(backfill)
        return Launched(backfill_id=backfill.backfill_id, is_new=True)


def cancel(
    instance: DagsterInstance,
    backfill_id: str,
    *,
    timeout: float = 60,
    sleep: Callable[[float], None] = time.sleep,
    mark: Mapping[str, str] | None = None,
) -> int:
    """Stop a backfill and its queued and running runs; return how many runs were stopped.

    Telling only Dagster's daemon would let queued runs start and running ones go on for half a minute. Returns when
    no run of it has been left for two seconds. `mark` are tags that say why it stopped, `pause_mark` for one that goes
    on by itself; without one, a paused backfill is paused no more. Raises `UsageError` for one that has ended
    otherwise, since cancelling that would change what it says, and `TransientError` when runs are left after `timeout`
    seconds.
    """
    backfill = find(instance, backfill_id)
    if has_ended(backfill) and is_paused(backfill) and not mark:
        end_pause(instance, backfill_id)
        return 0
    if has_ended(backfill):
        raise UsageError(f"backfill {backfill_id} has ended ({backfill.status.value}); there is nothing to stop")
    stopped: set[str] = set()
    deadline, quiet = time.monotonic() + timeout, 0.0
    while quiet < QUIET_SECONDS:
        _mark_canceling(instance, backfill_id, mark or {})
        left = runs(instance, backfill_id, UNFINISHED)
        if left and time.monotonic() > deadline:
            raise TransientError(
                f"{len(left)} runs of backfill {backfill_id} did not stop: {', '.join(run.run_id for run in left)}; "
                f"run `backfill cancel {backfill_id}` again, or terminate them in the UI"
            )
        for run in left:
            stopped.add(run.run_id)
            _terminate(instance, run)
        quiet = 0.0 if left else quiet + POLL_SECONDS
        sleep(POLL_SECONDS)
    if not mark:
        end_pause(instance, backfill_id)
    return len(stopped)


def _mark_canceling(instance: DagsterInstance, backfill_id: str, mark: Mapping[str, str]) -> None:
    # Each time anew: the daemon may write back what it read before we came.
    backfill = find(instance, backfill_id)
    if backfill.status is BulkActionStatus.REQUESTED:
        instance.update_backfill(marked(backfill, mark)._replace(status=BulkActionStatus.CANCELING))


def _terminate(instance: DagsterInstance, run: DagsterRun) -> None:
    can_hear = run.status in (DagsterRunStatus.QUEUED, DagsterRunStatus.STARTED)
    # Such a run may wait for its worker as long as it pleases; it need not have begun to be stopped.
    can_hear |= run.status is DagsterRunStatus.STARTING and CELERY_TASK_TAG in run.tags
    if not can_hear or instance.run_coordinator is None:
        return
    try:
        instance.run_coordinator.cancel_run(run.run_id)
    except DagsterError as error:
        # Its code server may be gone; the next round tries again, and the other runs are stopped meanwhile.
        _log.warning("run %s could not be told to stop (%s)", run.run_id, type(error).__name__)


def wait_until_canceled(
    instance: DagsterInstance, backfill_id: str, *, timeout: float = 60, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Wait for Dagster's daemon to mark a backfill that is being cancelled as ended, which takes it half a minute."""
    deadline = time.monotonic() + timeout
    while find(instance, backfill_id).status is BulkActionStatus.CANCELING and time.monotonic() < deadline:
        sleep(0.5)


def resume(instance: DagsterInstance, graph: Graph, backfill_id: str, *, lock: Lock) -> Launched:
    """Launch what an ended backfill left undone: failed, cancelled and never started partitions.

    A paused one is paused no more. Raises `UsageError` when it has not ended, or when nothing is left.
    """
    launched = _resumed(instance, graph, backfill_id, lock=lock)
    end_pause(instance, backfill_id)
    return launched


def _resumed(instance: DagsterInstance, graph: Graph, backfill_id: str, *, lock: Lock) -> Launched:
    backfill = settle(instance, graph, find(instance, backfill_id))
    if not has_ended(backfill):
        raise UsageError(
            f"backfill {backfill_id} has not ended ({backfill.status.value}); wait for it or run "
            f"`backfill cancel {backfill_id}` first"
        )
    root = backfill.tags.get(ROOT_BACKFILL_ID_TAG, backfill_id)
    with lock(f"launch:{backfill.tags.get(KEY_TAG, backfill_id)}"):
        others = backfills(instance, {ROOT_BACKFILL_ID_TAG: root})
        if active := [b for b in (*others, *_same_target(instance, backfill)) if not has_ended(b)]:
            return Launched(backfill_id=active[0].backfill_id, is_new=False)
        with partition_loading_context(dynamic_partitions_store=instance):
            left = backfill.get_asset_backfill_data(graph).target_subset
            for one in (backfill, *others):
                left = left - one.get_asset_backfill_data(graph).materialized_subset
            if not left.num_partitions_and_non_partitioned_assets:
                raise UsageError(f"backfill {backfill_id} has nothing left to do: all its partitions are materialised")
            tags = {**unmarked(backfill.tags), PARENT_BACKFILL_ID_TAG: backfill_id, ROOT_BACKFILL_ID_TAG: root}
            title = f"Resumed: {(backfill.title or backfill_id).removeprefix('Resumed: ')}"
            again = _new(instance, left, tags, title, backfill.description, backfill.run_config)
        instance.add_backfill(again)
        return Launched(backfill_id=again.backfill_id, is_new=True)


def recover(instance: DagsterInstance, graph: Graph, tags: Mapping[str, str], *, lock: Lock) -> list[Launched]:
    """Put right what Dagster's daemon got wrong of these backfills lately; return what was launched for it.

    One that was called failed too early is settled, and one that lost the retry of a crashed run is resumed. One that
    failed with its sentence is left to a person, and one whose runs stopped by themselves to what stopped them.
    """
    ended = backfills(instance, tags, statuses=[BulkActionStatus.COMPLETED_FAILED])
    lately = [b for b in ended if RETRY_SECONDS < time.time() - (b.backfill_end_timestamp or 0) < RECENT_SECONDS]
    unsettled = [b for b in lately if not has_succeeded(settle(instance, graph, b))]
    crashed = [b for b in unsettled if not resumptions(instance, b) and lost_retries(instance, b)]
    lost = [b for b in crashed if not stopped_runs(instance, b)]
    resumed = []
    for backfill in lost:
        # Whoever resumed it at the same time has left nothing to do.
        with suppress(UsageError):
            resumed.append(resume(instance, graph, backfill.backfill_id, lock=lock))
    return resumed


def _same_target(instance: DagsterInstance, backfill: PartitionBackfill) -> Sequence[PartitionBackfill]:
    key = backfill.tags.get(KEY_TAG)
    return backfills(instance, {KEY_TAG: key}, statuses=ACTIVE) if key else []


def _new(
    instance: DagsterInstance,
    subset: AssetGraphSubset,
    tags: Mapping[str, str],
    title: str,
    description: str | None,
    run_config: Mapping[str, Any] | None,
) -> PartitionBackfill:
    backfill: PartitionBackfill = PartitionBackfill.from_asset_graph_subset(
        backfill_id=make_new_backfill_id(),
        backfill_timestamp=time.time(),
        tags=tags,
        dynamic_partitions_store=instance,
        asset_graph_subset=subset,
        title=re.sub(r'[%*"]', "_", title)[:MAX_TITLE],
        description=description,
        run_config=run_config,
    )
    return backfill


def _tags(request: BackfillRequest) -> dict[str, str]:
    return {
        **request.tags,
        DOMAIN_TAG: request.domain,
        KEY_TAG: request.key,
        REASON_TAG: request.reason,
        REQUESTED_BY_TAG: request.requested_by,
    }
