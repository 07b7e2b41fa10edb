"""Keeping hours touches only what it is about: sync, other tenants and new services each go their own way."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import time, timedelta

import dagster as dg
import pytest

from backfill_assets.core.opening import Hours
from backfill_assets.errors import TransientError
from backfill_assets.following import find, targets
from backfill_assets.launching import SYNC
from backfill_assets.pausing import is_paused
from backfill_assets.tenant_history.detection import Verdict
from backfill_assets.tenant_history.keeping import keep_hours
from backfill_assets_tests.tenant_history.nights import (
    CLOSING,
    OPENING,
    add,
    end,
    in_the_ui,
    judged,
    resumed,
    started,
    stopped_run,
    tick,
)
from backfill_assets_tests.tenant_history.nights import coordinator as coordinator
from backfill_assets_tests.tenant_history.nights import night as night
from backfill_assets_tests.tenant_history.test_onboarding import GRAPH, look
from backfill_assets_tests.tenant_history.worlds import World
from backfill_assets_tests.test_launching_cancel import Coordinator, no_sleep, run_of
from backfill_assets_tests.test_launching_cancel import instance as instance

# Dagster writes queries that SQLAlchemy grumbles about.
pytestmark = pytest.mark.filterwarnings("ignore:Coercing Subquery:sqlalchemy.exc.SAWarning")


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
