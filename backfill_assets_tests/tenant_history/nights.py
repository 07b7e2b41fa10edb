"""A night in which a tenant may be read, and what happens to its backfills; what must hold belongs to the tests."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, time

import dagster as dg
import pytest
from dagster import DagsterEventType
from dagster._core.events import DagsterEvent
from dagster._core.execution.backfill import BulkActionStatus
from dagster._core.storage.tags import PARENT_BACKFILL_ID_TAG

from backfill_assets import launching
from backfill_assets.core.opening import Hours
from backfill_assets.following import Backfill, backfills, find
from backfill_assets.launching import BackfillRequest
from backfill_assets.pausing import OUTSIDE_HOURS, PAUSED_UNTIL_TAG, STOPPED_TAG, TIMEOUT
from backfill_assets.tenant_history.detection import Verdict
from backfill_assets.tenant_history.keeping import keep_hours
from backfill_assets.tenant_history.onboarding import launch_history, survey, whole_history
from backfill_assets.tenant_history.partitions import asset_key, partition_key
from backfill_assets_tests.tenant_history.test_onboarding import GRAPH
from backfill_assets_tests.tenant_history.worlds import DESK, TICKETS, World, weeks
from backfill_assets_tests.test_launching_cancel import Coordinator, no_sleep, run_of
from backfill_assets_tests.test_launching_cancel import instance as instance

NIGHT = Hours(start=time(22), end=time(6))
TONIGHT = datetime(2024, 5, 1, 23, tzinfo=UTC)
CLOSING = datetime(2024, 5, 2, 6, tzinfo=UTC)
OPENING = datetime(2024, 5, 2, 22, tzinfo=UTC)


@pytest.fixture
def coordinator() -> Coordinator:
    return Coordinator()


@pytest.fixture
def night(world: World) -> Iterator[World]:
    """It is night, and acme may be read at night only."""
    world.now = TONIGHT
    add(world, "acme")
    yield world
    assert {id(source) for source in world.opened} <= {id(s) for s in world.sources.values() if s.closed}


def add(world: World, tenant: str, *, hours: Hours | None = NIGHT, time_zone: str = "UTC", **said: object) -> None:
    spec = replace(DESK, backfill_hours=hours, chunk_target_seconds=60, **said)  # type: ignore[arg-type]
    world.add(tenant, spec=spec, time_zone=time_zone)


def started(world: World, instance: dg.DagsterInstance, tenant: str = "acme") -> str:
    """Launch a tenant's history as of now."""
    wiring, service = world.wiring, world.accounts[tenant]
    plan = whole_history(wiring, service)
    launched = launch_history(wiring, instance, GRAPH, service, plan, reason="by hand", requested_by="me")
    return as_of(instance, launched.backfill_id, world.now)


def as_of(instance: dg.DagsterInstance, backfill_id: str, moment: datetime) -> str:
    found = find(instance, backfill_id)
    instance.update_backfill(found._replace(backfill_timestamp=moment.timestamp()))
    return backfill_id


def in_the_ui(world: World, instance: dg.DagsterInstance, *tenants: str, domain: str = "") -> str:
    """Launch one backfill of several tenants, which says nothing of them."""
    keys = [partition_key(tenant, window) for tenant in tenants for window in weeks(5, 6)]
    request = BackfillRequest(
        domain=domain, key="ui", title="ui", reason="", requested_by="", partitions={asset_key("desk", TICKETS): keys}
    )
    backfill_id = launching.launch(instance, GRAPH, request, lock=world.wiring.lock).backfill_id
    if not domain:
        instance.update_backfill(find(instance, backfill_id)._replace(tags={}))
    return as_of(instance, backfill_id, world.now)


def tick(world: World, instance: dg.DagsterInstance) -> list[str]:
    return list(keep_hours(world.wiring, instance, GRAPH, sleep=no_sleep))


def end(instance: dg.DagsterInstance, backfill_id: str, status: str = "CANCELED") -> None:
    """What the daemon does with one that is being stopped, or whose runs have all failed."""
    instance.update_backfill(find(instance, backfill_id)._replace(status=BulkActionStatus[status]))


def stopped_run(instance: dg.DagsterInstance, backfill_id: str, until: datetime | None) -> None:
    """What a run leaves behind that stopped at a commit."""
    run_id = run_of(instance, backfill_id, "FAILURE")
    reason = {STOPPED_TAG: TIMEOUT} if until is None else {STOPPED_TAG: OUTSIDE_HOURS}
    instance.add_run_tags(run_id, {**reason, **({PAUSED_UNTIL_TAG: until.isoformat()} if until else {})})


def begin(instance: dg.DagsterInstance, run_id: str, at: datetime) -> None:
    """Let the queue start a run."""
    event = DagsterEvent(event_type_value=DagsterEventType.PIPELINE_START.value, job_name="job")
    instance.run_storage.handle_run_event(run_id, event, update_timestamp=at)


def resumed(instance: dg.DagsterInstance, backfill_id: str) -> Sequence[Backfill]:
    return backfills(instance, {PARENT_BACKFILL_ID_TAG: backfill_id})


def judged(world: World, instance: dg.DagsterInstance) -> tuple[Verdict, str]:
    [judgement] = [f.judgement for f in survey(world.wiring, instance) if f.service.tenant == "acme"]
    return judgement.verdict, judgement.reason
