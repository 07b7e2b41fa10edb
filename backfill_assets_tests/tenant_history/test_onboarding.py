"""New tenant services are found and launched: each once, each on its own."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus

from backfill_assets.errors import SourceUnreachable, TransientError
from backfill_assets.following import backfills
from backfill_assets.launching import Launched
from backfill_assets.tenant_history.assets import table_assets
from backfill_assets.tenant_history.detection import Verdict
from backfill_assets.tenant_history.onboarding import (
    Started,
    launch_history,
    onboard,
    per_run,
    survey,
    whole_history,
)
from backfill_assets.tenant_history.partitions import asset_key
from backfill_assets.tenant_history.plan import plan_history
from backfill_assets_tests.tenant_history.worlds import DESK, NOTES, NOW, TICKETS, World, in_week, week, weeks

# Dagster writes queries that SQLAlchemy grumbles about.
pytestmark = pytest.mark.filterwarnings("ignore:Coercing Subquery:sqlalchemy.exc.SAWarning")

GRAPH = dg.Definitions(assets=list(table_assets(DESK)), resources={"wiring": None}).resolve_asset_graph()
CANCELED, FAILED = BulkActionStatus.CANCELED, BulkActionStatus.COMPLETED_FAILED
SUCCEEDED = BulkActionStatus.COMPLETED_SUCCESS


def look(world: World, instance: dg.DagsterInstance) -> list[Started]:
    return list(onboard(world.wiring, instance, GRAPH, requested_by="the test"))


def launched_for(world: World, instance: dg.DagsterInstance) -> list[str]:
    return [started.finding.service.tenant for started in look(world, instance) if started.launched]


def verdict(world: World, instance: dg.DagsterInstance) -> Verdict:
    [finding] = survey(world.wiring, instance)
    return finding.judgement.verdict


def end(instance: dg.DagsterInstance, status: BulkActionStatus) -> str:
    """End the newest backfill with this status."""
    newest = backfills(instance, {})[0]
    instance.update_backfill(newest._replace(status=status))
    return str(newest.backfill_id)


def by_hand(world: World, instance: dg.DagsterInstance) -> Launched:
    """Launch the whole history of acme, as an operator does."""
    wiring, service = world.wiring, world.accounts["acme"]
    plan = whole_history(wiring, service)
    return launch_history(wiring, instance, GRAPH, service, plan, reason="by hand", requested_by="me")


def switch(world: World, *, on: bool) -> None:
    world.accounts["acme"] = replace(world.accounts["acme"], enabled=on)


@pytest.fixture
def acme(world: World) -> Iterator[World]:
    """A world whose one tenant is new."""
    world.add("acme")
    yield world
    assert all(source.closed for source in world.sources.values())


def test_a_new_service_is_launched_with_its_title_reason_tags_and_partitions(
    acme: World, instance: dg.DagsterInstance
) -> None:
    [started] = look(acme, instance)
    [backfill] = backfills(instance, {})
    assert started.launched is not None
    assert (started.launched.backfill_id, started.launched.is_new) == (backfill.backfill_id, True)
    assert backfill.title == "acme desk: 2024-01-28 to 2024-03-24"
    assert backfill.description == "newly connected: the lake holds nothing of it"
    tags = {
        "backfill/domain": "tenant_history",
        "backfill/key": "tenant_history/acme/desk/whole",
        "backfill/reason": "newly connected: the lake holds nothing of it",
        "backfill/requested_by": "the test",
        "backfill/tenant": "acme",
        "backfill/service": "desk",
        "backfill/scope": "whole history",
    }
    assert {name: value for name, value in backfill.tags.items() if name.startswith("backfill/")} == tags
    # 50 days before 2024-03-20 is 2024-01-30, a Tuesday of the fifth week.
    expected = {f"acme|{window.key}" for window in weeks(4, 11)}
    assert backfill.asset_backfill_data is not None
    targets = {
        (t.asset_key, t.partition_key) for t in backfill.asset_backfill_data.target_subset.iterate_asset_partitions()
    }
    assert targets == {(asset_key("desk", table), key) for table in (TICKETS, NOTES) for key in expected}


def test_each_tenants_service_gets_one_backfill_however_often_one_looks(
    world: World, instance: dg.DagsterInstance
) -> None:
    for tenant in ("acme", "beta"):
        world.add(tenant)
    assert launched_for(world, instance) == ["acme", "beta"]
    assert launched_for(world, instance) == []
    assert len(backfills(instance, {})) == 2


def test_a_service_that_cannot_be_reached_hinders_no_other_and_is_tried_again(
    world: World, instance: dg.DagsterInstance
) -> None:
    class Dead(type(world.add("acme"))):  # type: ignore[misc]
        def check(self) -> str:
            raise SourceUnreachable("nobody answers")

    world.add("beta")
    alive, world.sources["acme"] = world.sources["acme"], Dead({})
    first, second = look(world, instance)
    assert (first.problem, first.launched) == ("nobody answers", None)
    assert second.launched is not None
    world.sources["acme"] = alive
    assert launched_for(world, instance) == ["acme"]


def test_a_service_that_cannot_be_launched_hinders_no_other_and_is_tried_again(
    world: World, instance: dg.DagsterInstance
) -> None:
    for tenant in ("acme", "beta", "zeta"):
        world.add(tenant)

    def lock(name: str) -> AbstractContextManager[None]:
        if "/beta/" in name:
            raise TransientError("the lock is held by another")
        return nullcontext()

    started = list(onboard(replace(world.wiring, lock=lock), instance, GRAPH, requested_by="the test"))
    assert [(s.finding.service.tenant, s.problem) for s in started] == [
        ("acme", ""),
        ("beta", "the lock is held by another"),
        ("zeta", ""),
    ]
    assert [s.launched is not None for s in started] == [True, False, True]
    assert launched_for(world, instance) == ["beta"]


@pytest.mark.parametrize("ended", [None, SUCCEEDED, CANCELED])
def test_what_another_launched_while_connections_were_tried_is_not_launched_again(
    world: World, instance: dg.DagsterInstance, ended: BulkActionStatus | None
) -> None:
    class Slow(type(world.add("acme"))):  # type: ignore[misc]
        def check(self) -> str:
            by_hand(world, instance)
            if ended:
                end(instance, ended)
            return "at last"

    world.sources["acme"] = Slow({})
    assert look(world, instance) == []
    assert [backfill.tags["backfill/requested_by"] for backfill in backfills(instance, {})] == ["me"]


def test_what_cannot_be_read_is_left_alone(world: World, instance: dg.DagsterInstance) -> None:
    world.add("bare", missing=("BACKFILL_BARE_DESK_KEY",))
    world.add("off", enabled=False)
    assert look(world, instance) == []
    assert world.opened == []


def test_a_completed_one_is_not_launched_again(acme: World, instance: dg.DagsterInstance) -> None:
    look(acme, instance)
    end(instance, SUCCEEDED)
    assert look(acme, instance) == []
    assert verdict(acme, instance) is Verdict.COMPLETED


@pytest.mark.parametrize("status", [FAILED, CANCELED])
def test_one_that_ended_before_all_was_done_is_not_launched_again_by_itself(
    acme: World, instance: dg.DagsterInstance, status: BulkActionStatus
) -> None:
    look(acme, instance)
    stopped = end(instance, status)
    assert look(acme, instance) == []
    [finding] = survey(acme.wiring, instance)
    assert finding.judgement.verdict is Verdict.STOPPED
    assert f"backfill resume {stopped}" in finding.judgement.reason


@pytest.mark.parametrize("ended", [SUCCEEDED, FAILED])
def test_a_service_switched_off_and_on_again_is_launched_anew_and_once(
    acme: World, instance: dg.DagsterInstance, ended: BulkActionStatus
) -> None:
    look(acme, instance)
    end(instance, ended)
    switch(acme, on=False)
    assert look(acme, instance) == []
    switch(acme, on=True)
    [started] = look(acme, instance)
    assert started.finding.judgement.reason == "switched on again after being off"
    end(instance, SUCCEEDED)
    assert look(acme, instance) == []
    assert len(backfills(instance, {})) == 2


def test_being_switched_on_again_is_remembered_until_its_credential_is_there(
    acme: World, instance: dg.DagsterInstance
) -> None:
    look(acme, instance)
    end(instance, SUCCEEDED)
    switch(acme, on=False)
    look(acme, instance)
    acme.accounts["acme"] = replace(acme.accounts["acme"], enabled=True, missing=("BACKFILL_ACME_DESK_KEY",))
    assert look(acme, instance) == []
    acme.accounts["acme"] = replace(acme.accounts["acme"], missing=())
    assert launched_for(acme, instance) == ["acme"]


@pytest.mark.parametrize(("age_days", "found"), [(6, Verdict.BACKFILL), (7, Verdict.ESTABLISHED)])
def test_data_of_seven_days_makes_a_service_established(
    acme: World, instance: dg.DagsterInstance, age_days: int, found: Verdict
) -> None:
    acme.sources["acme"].tables = {TICKETS.name: [{"id": 1, "_info": {"lastUpdated": in_week(1).isoformat()}}]}
    acme.fill(weeks(1, 1))
    acme.sources["acme"].close()
    [path] = acme.files()
    written = NOW.timestamp() - age_days * 86_400
    os.utime(path, (written, written))
    assert verdict(acme, instance) is found


def test_a_part_that_was_asked_for_by_hand_does_not_count_as_its_history(
    acme: World, instance: dg.DagsterInstance
) -> None:
    wiring, service = acme.wiring, acme.accounts["acme"]
    part: dict[str, Any] = {"tables": [TICKETS], "start": week(5).start, "chunk_size_days": 7}
    plan = plan_history(service.spec, NOW, windows_per_run=per_run(wiring, service), **part)
    launch_history(wiring, instance, GRAPH, service, plan, reason="by hand", requested_by="me")
    [backfill] = backfills(instance, {})
    assert backfill.title == "acme desk service/tickets: 2024-02-04 to 2024-03-24"
    assert backfill.run_config == {"ops": {"desk__service_tickets": {"config": {"chunk_size_days": 7}}}}
    end(instance, SUCCEEDED)
    assert launched_for(acme, instance) == ["acme"]
    acme.sources["acme"].close()


def test_the_whole_history_asked_for_by_hand_is_the_one_that_detection_finds(
    acme: World, instance: dg.DagsterInstance
) -> None:
    by_hand(acme, instance)
    acme.sources["acme"].close()
    assert verdict(acme, instance) is Verdict.RUNNING
    assert look(acme, instance) == []


@pytest.mark.parametrize("first_by_hand", [True, False])
def test_the_whole_history_asked_for_on_both_sides_of_a_windows_end_is_launched_once(
    acme: World, instance: dg.DagsterInstance, first_by_hand: bool
) -> None:
    acme.now = week(11).end - timedelta(seconds=1)
    if first_by_hand:
        first = by_hand(acme, instance)
    else:
        [started] = look(acme, instance)
        assert started.launched is not None
        first = started.launched
    acme.now = week(12).start + timedelta(seconds=1)
    assert whole_history(acme.wiring, acme.accounts["acme"]).windows[-1] == week(12)
    assert by_hand(acme, instance) == Launched(backfill_id=first.backfill_id, is_new=False)
    assert look(acme, instance) == []
    assert len(backfills(instance, {})) == 1
    acme.sources["acme"].close()
