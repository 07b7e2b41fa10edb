"""Keeping backfills of history to their hours and their longest time: what the sensor `backfill_hours` does.

Here belongs which backfills are stopped and which go on. When a tenant is open belongs to `hours.py`, how a backfill is
stopped and resumed to `launching.py`. A backfill of several tenants, launched in the UI, is stopped as a whole only
when none of them may go on; until then its runs stop one by one, and it goes on when the first of those opens.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from time import monotonic

from dagster import DagsterInstance, DagsterRunStatus, RunsFilter
from dagster._core.execution.backfill import BulkActionStatus
from dagster._core.storage.tags import BACKFILL_ID_TAG
from dagster_shared.error import DagsterError

from backfill_assets import launching
from backfill_assets.errors import BackfillError, UsageError
from backfill_assets.following import Backfill, Graph, backfills, launched_at, resumptions, targets
from backfill_assets.launching import DOMAIN_TAG, HISTORY, SERVICE_TAG, TENANT_TAG
from backfill_assets.pausing import (
    OUTSIDE_HOURS,
    PAUSED_UNTIL_TAG,
    STOPPED_TAG,
    TIMED_OUT_TAG,
    end_pause,
    is_paused,
    marked,
    pause_mark,
    paused_until,
    was_paused,
)
from backfill_assets.resources import Wiring
from backfill_assets.settings import TenantService
from backfill_assets.tenant_history.hours import Closed, Halt, TimedOut, closed, halt
from backfill_assets.tenant_history.partitions import service_of, tenant_of

KEEPING_SECONDS, CANCEL_SECONDS = 20.0, 10.0
"""How long a tick goes on beginning something, and waits for the runs of one backfill: it has a minute."""

LATELY = timedelta(days=2)
"""How long ago a run may have stopped by itself and still be seen to."""

Act = Callable[[], str]


def keep_hours(
    wiring: Wiring,
    instance: DagsterInstance,
    graph: Graph,
    *,
    sleep: Callable[[float], None] = time.sleep,
    patience: float = CANCEL_SECONDS,
) -> Iterator[str]:
    """Stop what may not go on, go on with what was paused and may; tell of each, and of each that could not be."""
    until = monotonic() + KEEPING_SECONDS
    cancel = partial(launching.cancel, instance, timeout=patience, sleep=sleep)
    for backfill, act in _due(wiring, instance, graph, cancel):
        name = backfill.title or backfill.backfill_id
        if monotonic() > until:
            yield f"{name}: the next time, since others took long"
            continue
        try:
            yield f"{name}: {act()}"
        except (BackfillError, DagsterError) as error:
            yield f"{name}: not now: {error}"


def _due(
    wiring: Wiring, instance: DagsterInstance, graph: Graph, cancel: Callable[..., int]
) -> Iterator[tuple[Backfill, Act]]:
    now = wiring.clock()
    stops = _stops(instance, now)
    for backfill in backfills(instance, {}, statuses=[BulkActionStatus.CANCELED, BulkActionStatus.COMPLETED_FAILED]):
        if (opens := stops.get(backfill.backfill_id)) and _is_unseen(instance, backfill):
            yield backfill, partial(_pause, instance, backfill, opens)
        elif is_paused(backfill) and _may_go_on(accounts(wiring, backfill), paused_until(backfill), now):
            yield backfill, partial(_go_on, wiring, instance, graph, backfill)
    for backfill in backfills(instance, {}, statuses=[BulkActionStatus.REQUESTED]):
        theirs = accounts(wiring, backfill)
        if (found := _halt(theirs, backfill, now)) and not _comes_to_a_commit(instance, theirs, backfill, now):
            yield backfill, partial(_stop, cancel, backfill, found)


def _stops(instance: DagsterInstance, now: datetime) -> Mapping[str, datetime]:
    """The backfills of which runs stopped by themselves, and when the first of these may go on."""
    tags = {STOPPED_TAG: OUTSIDE_HOURS}
    filters = RunsFilter(tags=tags, statuses=[DagsterRunStatus.FAILURE], updated_after=now - LATELY)
    stops: dict[str, datetime] = {}
    for run in instance.get_runs(filters):
        backfill_id, opens = run.tags.get(BACKFILL_ID_TAG, ""), datetime.fromisoformat(run.tags[PAUSED_UNTIL_TAG])
        stops[backfill_id] = min(opens, stops.get(backfill_id, opens))
    return stops


def _is_unseen(instance: DagsterInstance, backfill: Backfill) -> bool:
    """Whether it failed because its runs stopped, and neither this sensor nor a person has seen to it."""
    has_failed = backfill.status is BulkActionStatus.COMPLETED_FAILED
    return has_failed and not was_paused(backfill) and not resumptions(instance, backfill)


def _pause(instance: DagsterInstance, backfill: Backfill, opens: datetime) -> str:
    instance.update_backfill(marked(backfill, pause_mark(backfill, opens)))
    return f"its runs have stopped; it is paused until {opens:%Y-%m-%d %H:%M} UTC"


def _may_go_on(theirs: Sequence[TenantService], opens: datetime, now: datetime) -> bool:
    """Whether all of its tenants are open, or the one that it waits for.

    With one tenant that is one question, and what it was told when it was paused counts for nothing: hours may change.
    """
    are_open = [service.enabled and closed(service, now) is None for service in theirs]
    return any(are_open) and (all(are_open) or now >= opens)


def _go_on(wiring: Wiring, instance: DagsterInstance, graph: Graph, backfill: Backfill) -> str:
    try:
        launched = launching.resume(instance, graph, backfill.backfill_id, lock=wiring.lock)
    except UsageError as error:
        # Nothing is left of it: somebody else has done the rest.
        end_pause(instance, backfill.backfill_id)
        return str(error)
    return f"goes on as backfill {launched.backfill_id}"


def _halt(theirs: Sequence[TenantService], backfill: Backfill, now: datetime) -> Halt | None:
    """Why none of its tenants may go on; None while one may, or where none is known."""
    halts = [halt(service, began=launched_at(backfill), now=now) for service in theirs]
    found = [each for each in halts if each is not None]
    if not found or len(found) < len(halts):
        return None
    timed_out = [each for each in found if isinstance(each, TimedOut)]
    return timed_out[0] if timed_out else min((x for x in found if isinstance(x, Closed)), key=lambda x: x.until)


def _comes_to_a_commit(
    instance: DagsterInstance, theirs: Sequence[TenantService], backfill: Backfill, now: datetime
) -> bool:
    """Whether a run that began in time is still at a chunk, for which it has as long as a chunk should take."""
    allowed = timedelta(seconds=max(service.spec.chunk_target_seconds for service in theirs))
    if _halt(theirs, backfill, now - allowed):
        return False
    filters = RunsFilter(tags={BACKFILL_ID_TAG: backfill.backfill_id}, statuses=[DagsterRunStatus.STARTED])
    starts = [record.start_time for record in instance.get_run_records(filters) if record.start_time]
    return any(_halt(theirs, backfill, datetime.fromtimestamp(start, UTC)) is None for start in starts)


def _stop(cancel: Callable[..., int], backfill: Backfill, found: Halt) -> str:
    match found:
        case Closed(until=until, opens=opens):
            tags, rest = pause_mark(backfill, until), f"it goes on at {opens} by itself"
        case TimedOut():
            tags = {TIMED_OUT_TAG: str(found)}
            rest = f"`backfill resume {backfill.backfill_id}` goes on"
    stopped = cancel(backfill.backfill_id, mark=tags)
    return f"{found}, with {stopped} of its runs; {rest}"


def accounts(wiring: Wiring, backfill: Backfill) -> list[TenantService]:
    """The tenants' services whose history the backfill fills in; none for a backfill of anything else."""
    tenants = wiring.settings.tenants
    found = (tenants[tenant].services.get(service) for tenant, service in _named(wiring, backfill) if tenant in tenants)
    return [service for service in found if service is not None]


def _named(wiring: Wiring, backfill: Backfill) -> set[tuple[str, str]]:
    tags = backfill.tags
    if tags.get(DOMAIN_TAG, HISTORY) != HISTORY:
        return set()
    if TENANT_TAG in tags and SERVICE_TAG in tags:
        return {(tags[TENANT_TAG], tags[SERVICE_TAG])}
    return {
        (tenant_of(key), service)
        for asset, keys in targets(backfill).items()
        if (service := service_of(asset)) in wiring.settings.services
        for key in keys
    }
