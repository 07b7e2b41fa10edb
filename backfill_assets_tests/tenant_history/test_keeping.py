"""Backfills of history keep to their hours and to their longest time."""

from dataclasses import replace
from datetime import timedelta

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus

from backfill_assets.following import backfills, find
from backfill_assets.launching import cancel
from backfill_assets.pausing import TIMED_OUT_TAG, is_paused
from backfill_assets.tenant_history.detection import Verdict
from backfill_assets_tests.tenant_history.nights import (
    CLOSING,
    OPENING,
    TONIGHT,
    add,
    begin,
    end,
    judged,
    resumed,
    started,
    stopped_run,
    tick,
)
from backfill_assets_tests.tenant_history.nights import coordinator as coordinator
from backfill_assets_tests.tenant_history.nights import night as night
from backfill_assets_tests.tenant_history.test_onboarding import look
from backfill_assets_tests.tenant_history.worlds import DESK, World
from backfill_assets_tests.test_launching_cancel import instance as instance
from backfill_assets_tests.test_launching_cancel import no_sleep, run_of, status_of

# Dagster writes queries that SQLAlchemy grumbles about.
pytestmark = pytest.mark.filterwarnings("ignore:Coercing Subquery:sqlalchemy.exc.SAWarning")


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
