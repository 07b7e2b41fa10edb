"""Backfills of history keep to their hours, and none is held up by another."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import dagster as dg
import pytest
from dagster import DagsterEventType
from dagster._core.events import DagsterEvent
from dagster._core.execution.backfill import BulkActionStatus
from dagster._core.storage.tags import PARENT_BACKFILL_ID_TAG

from backfill_assets import launching
from backfill_assets.core.opening import Hours
from backfill_assets.errors import TransientError
from backfill_assets.following import Backfill, backfills, find, targets
from backfill_assets.launching import SYNC, BackfillRequest, cancel
from backfill_assets.pausing import OUTSIDE_HOURS, PAUSED_UNTIL_TAG, STOPPED_TAG, TIMED_OUT_TAG, TIMEOUT, is_paused
from backfill_assets.tenant_history.detection import Verdict
from backfill_assets.tenant_history.keeping import keep_hours
from backfill_assets.tenant_history.onboarding import launch_history, survey, whole_history
from backfill_assets.tenant_history.partitions import asset_key, partition_key
from backfill_assets_tests.tenant_history.test_onboarding import GRAPH, look
from backfill_assets_tests.tenant_history.worlds import DESK, TICKETS, World, weeks
from backfill_assets_tests.test_launching_cancel import Coordinator, no_sleep, run_of, status_of
from backfill_assets_tests.test_launching_cancel import instance as instance

# Dagster writes queries that SQLAlchemy grumbles about.
pytestmark = pytest.mark.filterwarnings("ignore:Coercing Subquery:sqlalchemy.exc.SAWarning")

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


def test_within_its_hours_nothing_happens_to_a_backfill(night: World, instance: dg.DagsterInstance) -> None:
    backfill_id = started(night, instance)
    assert tick(night, instance) == []
    assert find(instance, backfill_id).status is BulkActionStatus.REQUESTED


def test_at_closing_it_is_paused_with_its_queued_runs_and_at_opening_it_goes_on(
    night: World, instance: dg.DagsterInstance
) -> None:
    backfill_id = started(night, instance)
    queued = run_of(instance, backfill_id, "QUEUED")
    night.now = CLOSING
    [told] = tick(night, instance)
    assert told.endswith(
        ": paused at 06:00 UTC, outside of the backfill hours of acme (22:00-06:00), with 1 of its runs; it goes on at "
        "2024-05-02 22:00 UTC by itself"
    )
    assert status_of(instance, queued) == "CANCELED"
    paused_until = "its backfill is paused until 2024-05-02 22:00 UTC, and goes on by itself"
    assert judged(night, instance) == (Verdict.PAUSED, paused_until)
    assert tick(night, instance) == []
    end(instance, backfill_id)
    assert judged(night, instance) == (Verdict.PAUSED, paused_until)
    assert look(night, instance) == []

    night.now = OPENING - timedelta(seconds=1)
    assert tick(night, instance) == []
    night.now = OPENING
    assert judged(night, instance) == (Verdict.PAUSED, "its backfill is paused and goes on within a minute")
    [told] = tick(night, instance)
    [again] = resumed(instance, backfill_id)
    assert told.endswith(f": goes on as backfill {again.backfill_id}")
    assert judged(night, instance) == (Verdict.RUNNING, "its backfill is under way")
    assert tick(night, instance) == []
    assert len(backfills(instance, {})) == 2


def test_hours_that_are_taken_away_while_it_is_paused_let_it_go_on_at_once(
    night: World, instance: dg.DagsterInstance
) -> None:
    backfill_id = started(night, instance)
    night.now = CLOSING
    tick(night, instance)
    end(instance, backfill_id)
    night.accounts["acme"] = replace(night.accounts["acme"], spec=replace(DESK, backfill_hours=None))
    tick(night, instance)
    assert len(resumed(instance, backfill_id)) == 1


def test_a_tenant_that_was_switched_off_meanwhile_does_not_go_on_before_it_is_on(
    night: World, instance: dg.DagsterInstance
) -> None:
    backfill_id = started(night, instance)
    night.now = CLOSING
    tick(night, instance)
    end(instance, backfill_id)
    night.now, on = OPENING, night.accounts["acme"]
    night.accounts["acme"] = replace(on, enabled=False)
    assert tick(night, instance) == []
    night.accounts["acme"] = on
    assert len(tick(night, instance)) == 1
    assert len(resumed(instance, backfill_id)) == 1


def test_a_run_that_began_in_time_may_come_to_its_commit_but_not_for_ever(
    night: World, instance: dg.DagsterInstance
) -> None:
    backfill_id = started(night, instance)
    run_id = run_of(instance, backfill_id, "QUEUED")
    begin(instance, run_id, CLOSING - timedelta(seconds=50))
    night.now = CLOSING + timedelta(seconds=10)
    assert tick(night, instance) == []
    night.now = CLOSING + timedelta(seconds=60)
    assert len(tick(night, instance)) == 1
    assert status_of(instance, run_id) == "CANCELED"


def test_a_run_that_began_after_closing_is_not_waited_for(night: World, instance: dg.DagsterInstance) -> None:
    backfill_id = started(night, instance)
    run_id = run_of(instance, backfill_id, "QUEUED")
    begin(instance, run_id, CLOSING + timedelta(seconds=5))
    night.now = CLOSING + timedelta(seconds=10)
    assert len(tick(night, instance)) == 1
    assert status_of(instance, run_id) == "CANCELED"


def test_one_whose_runs_all_stopped_by_themselves_is_paused_and_not_called_stopped(
    night: World, instance: dg.DagsterInstance
) -> None:
    backfill_id = started(night, instance)
    night.now = CLOSING
    stopped_run(instance, backfill_id, OPENING)
    end(instance, backfill_id, "COMPLETED_FAILED")
    [told] = tick(night, instance)
    assert told.endswith(": its runs have stopped; it is paused until 2024-05-02 22:00 UTC")
    assert judged(night, instance)[0] is Verdict.PAUSED
    assert tick(night, instance) == []
    night.now = OPENING
    assert len(tick(night, instance)) == 1
    [again] = resumed(instance, backfill_id)
    # It fails for another reason now: the runs that stopped before do not make it go on again and again.
    end(instance, again.backfill_id, "COMPLETED_FAILED")
    assert tick(night, instance) == []
    assert judged(night, instance)[0] is Verdict.STOPPED


@pytest.mark.parametrize("paused_first", [True, False])
def test_one_that_a_person_cancels_does_not_go_on(
    night: World, instance: dg.DagsterInstance, paused_first: bool
) -> None:
    backfill_id = started(night, instance)
    stopped_run(instance, backfill_id, OPENING)
    night.now = CLOSING
    if paused_first:
        tick(night, instance)
        end(instance, backfill_id)
    cancel(instance, backfill_id, sleep=no_sleep)
    end(instance, backfill_id)
    for night.now in (CLOSING, OPENING):
        assert tick(night, instance) == []
        assert judged(night, instance)[0] is Verdict.STOPPED
    assert len(backfills(instance, {})) == 1


def test_one_that_takes_longer_than_it_may_is_stopped_for_a_person_to_resume(
    night: World, instance: dg.DagsterInstance
) -> None:
    add(night, "acme", hours=None, timeout_hours=3)
    backfill_id = started(night, instance)
    queued = run_of(instance, backfill_id, "QUEUED")
    night.now = TONIGHT + timedelta(hours=3)
    [told] = tick(night, instance)
    assert told.endswith(
        f": stopped after 3 hours (timeout_hours), with 1 of its runs; `backfill resume {backfill_id}` goes on"
    )
    assert status_of(instance, queued) == "CANCELED"
    end(instance, backfill_id)
    assert find(instance, backfill_id).tags[TIMED_OUT_TAG] == "stopped after 3 hours (timeout_hours)"
    night.now += timedelta(days=1)
    assert tick(night, instance) == []
    assert judged(night, instance)[0] is Verdict.STOPPED


def test_runs_that_stopped_since_they_took_too_long_make_no_pause(night: World, instance: dg.DagsterInstance) -> None:
    backfill_id = started(night, instance)
    stopped_run(instance, backfill_id, None)
    end(instance, backfill_id, "COMPLETED_FAILED")
    assert tick(night, instance) == []
    assert not is_paused(find(instance, backfill_id))


def test_incremental_sync_and_what_is_no_history_are_left_alone(night: World, instance: dg.DagsterInstance) -> None:
    in_the_ui(night, instance, "acme", domain=SYNC)
    night.now = CLOSING
    assert tick(night, instance) == []


def test_a_backfill_of_several_tenants_is_paused_when_none_of_them_is_open(
    night: World, instance: dg.DagsterInstance
) -> None:
    # When it is 06:00 in UTC it is 08:00 in Berlin.
    add(night, "beta", time_zone="Europe/Berlin")
    add(night, "zeta", hours=Hours(start=time(22), end=time(7)))
    backfill_id = in_the_ui(night, instance, "acme", "beta", "zeta", "unknown")
    night.now = CLOSING
    assert tick(night, instance) == []
    night.now = CLOSING + timedelta(hours=1)
    [told] = tick(night, instance)
    assert "outside of the backfill hours of beta" in told
    end(instance, backfill_id)
    # Berlin opens first, at 20:00 in UTC; what is left of the others stops again and waits for its own opening.
    night.now = CLOSING + timedelta(hours=13, minutes=59)
    assert tick(night, instance) == []
    night.now += timedelta(minutes=1)
    assert len(tick(night, instance)) == 1
    [again] = resumed(instance, backfill_id)
    stopped_run(instance, again.backfill_id, OPENING)
    end(instance, again.backfill_id, "COMPLETED_FAILED")
    assert len(tick(night, instance)) == 1
    assert tick(night, instance) == []
    night.now = OPENING
    assert len(tick(night, instance)) == 1
    assert len(resumed(instance, again.backfill_id)) == 1


def test_one_that_cannot_be_gone_on_with_holds_up_no_other_and_is_tried_again(
    night: World, instance: dg.DagsterInstance
) -> None:
    ids = []
    for tenant in ("zeta", "beta", "acme"):
        add(night, tenant)
        ids.append(started(night, instance, tenant))
    night.now = CLOSING
    assert len(tick(night, instance)) == 3
    for backfill_id in ids:
        end(instance, backfill_id)

    def lock(name: str) -> AbstractContextManager[None]:
        if "/beta/" in name:
            raise TransientError("the lock is held by another")
        return nullcontext()

    night.now = OPENING
    told = list(keep_hours(replace(night.wiring, lock=lock), instance, GRAPH, sleep=no_sleep))
    assert [": not now: the lock is held by another" in sentence for sentence in told] == [False, True, False]
    assert [len(resumed(instance, backfill_id)) for backfill_id in ids] == [1, 0, 1]
    assert len(tick(night, instance)) == 1
    assert [len(resumed(instance, backfill_id)) for backfill_id in ids] == [1, 1, 1]


def test_one_whose_run_cannot_be_told_to_stop_holds_up_no_other(
    night: World, instance: dg.DagsterInstance, coordinator: Coordinator
) -> None:
    add(night, "beta")
    first, second = started(night, instance), started(night, instance, "beta")
    coordinator.lost = [run_of(instance, second)]
    night.now = CLOSING
    told = list(keep_hours(night.wiring, instance, GRAPH, sleep=no_sleep, patience=0.1))
    assert ["not now: 1 runs of backfill" in sentence for sentence in told] == [True, False]
    assert is_paused(find(instance, first))


def test_a_backfill_that_is_launched_while_its_tenant_is_closed_waits_as_a_paused_one(
    night: World, instance: dg.DagsterInstance
) -> None:
    night.now = CLOSING
    backfill_id = started(night, instance)
    assert is_paused(find(instance, backfill_id))
    assert judged(night, instance)[0] is Verdict.PAUSED
    night.now = OPENING
    tick(night, instance)
    [again] = resumed(instance, backfill_id)
    assert targets(again) == targets(find(instance, backfill_id))


def test_a_new_service_is_launched_when_its_hours_begin_and_not_before(
    night: World, instance: dg.DagsterInstance
) -> None:
    night.now = CLOSING
    assert look(night, instance) == []
    assert judged(night, instance) == (
        Verdict.WAITING,
        (
            "newly connected: the lake holds nothing of it; it is launched at 2024-05-02 22:00 UTC, when its backfill "
            "hours begin"
        ),
    )
    night.now = OPENING
    assert [s.launched is not None for s in look(night, instance)] == [True]


def test_being_switched_on_again_is_remembered_until_its_hours_begin(
    night: World, instance: dg.DagsterInstance
) -> None:
    end(instance, started(night, instance), "COMPLETED_SUCCESS")
    on = night.accounts["acme"]
    night.accounts["acme"] = replace(on, enabled=False)
    look(night, instance)
    night.accounts["acme"], night.now = on, CLOSING
    assert look(night, instance) == []
    assert judged(night, instance)[0] is Verdict.WAITING
    night.now = OPENING
    [again] = look(night, instance)
    assert again.finding.judgement.reason == "switched on again after being off"
