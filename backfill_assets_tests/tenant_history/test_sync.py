"""Incremental sync: whom it takes, from when on it reads, and which canonical tables go with it."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus

from backfill_assets.adapters.rest.connectwise_tables import TICKETS
from backfill_assets.core.chunks import ChunkTarget
from backfill_assets.core.windows import Window
from backfill_assets.following import backfills
from backfill_assets.tenant_history.assets import handing_over, table_assets
from backfill_assets.tenant_history.backfill import WindowDone
from backfill_assets.tenant_history.canonical.assets import canonical_assets
from backfill_assets.tenant_history.canonical.mapping import canonical_tables
from backfill_assets.tenant_history.onboarding import launch_history, whole_history
from backfill_assets.tenant_history.plan import plan_history
from backfill_assets.tenant_history.sync import Synced, plan_sync, sync
from backfill_assets.tenant_history.targets import holes_of
from backfill_assets_tests.tenant_history.shops import SHOP, shop
from backfill_assets_tests.tenant_history.worlds import NOW, World, in_week, ticket, week, weeks

# Dagster writes queries that SQLAlchemy grumbles about.
pytestmark = pytest.mark.filterwarnings("ignore:Coercing Subquery:sqlalchemy.exc.SAWarning")

ASSETS = [*table_assets(SHOP), *canonical_assets(SHOP)]
GRAPH = dg.Definitions(assets=ASSETS, resources={"wiring": None}).resolve_asset_graph()
NOW_WEEK = 11


@pytest.fixture
def acme(tmp_path: Path) -> World:
    return shop(tmp_path, acme=[ticket(number, in_week(number)) for number in range(1, 11)])


def read(world: World, windows: list[Window], tenant: str = "acme") -> None:
    """Read windows as a run would."""
    hand_over = handing_over(world.wiring, tenant, SHOP, TICKETS)
    hand_over.asked_for(windows)
    outcomes = hand_over.fill(world.backfill(tenant, table=TICKETS), windows, ChunkTarget(days=14))
    assert all(isinstance(outcome, WindowDone) for outcome in outcomes)


def planned(world: World, tenant: str = "acme") -> tuple[list[str], list[str], dict[str, str]] | None:
    """The windows that a sync would read now, the canonical tables that it would build, and those withheld."""
    plan = plan_sync(world.wiring, world.accounts[tenant])
    if plan is None:
        return None
    [(_, windows)] = plan.reads
    return [window.key for window in windows], [table.entity for table in plan.canonical], dict(plan.withheld)


def look(world: World, instance: dg.DagsterInstance) -> Synced:
    return sync(world.wiring, instance, GRAPH, "connectwise", requested_by="the test")


def targets(instance: dg.DagsterInstance, backfill_id: str) -> set[tuple[str, str | None]]:
    backfill = instance.get_backfill(backfill_id)
    assert backfill is not None
    assert backfill.asset_backfill_data is not None
    found = backfill.asset_backfill_data.target_subset.iterate_asset_partitions()
    return {(target.asset_key.to_user_string(), target.partition_key) for target in found}


def end_all(instance: dg.DagsterInstance) -> None:
    for backfill in backfills(instance, {}):
        instance.update_backfill(backfill._replace(status=BulkActionStatus.COMPLETED_SUCCESS))


def test_a_tenant_whose_history_has_not_begun_is_not_synced(acme: World, instance: dg.DagsterInstance) -> None:
    assert planned(acme) is None
    acme.handoffs.plan("acme", "connectwise", TICKETS.name, start=week(0).start)
    assert planned(acme) is None, "asked for, but nothing has been requested yet"
    synced = look(acme, instance)
    assert (synced.launched, synced.tenants) == (None, [])
    assert synced.remarks == ["acme: its history has not begun; `backfill trigger` begins it"]
    assert backfills(instance, {}) == []


def test_after_a_whole_history_the_newest_window_is_read_and_the_canonical_table_built(acme: World) -> None:
    read(acme, weeks(4, NOW_WEEK))
    assert planned(acme) == ([week(11).key], ["tickets"], {})


def test_sync_begins_at_the_first_request_of_the_history_less_the_overlap(acme: World) -> None:
    acme.now = week(11).start + timedelta(minutes=14)
    read(acme, weeks(4, NOW_WEEK))
    acme.now = NOW
    assert planned(acme) == ([week(10).key, week(11).key], ["tickets"], {}), "what became visible late is read again"
    read(acme, weeks(10, NOW_WEEK))
    assert planned(acme) == ([week(11).key], ["tickets"], {})


def test_a_history_that_takes_weeks_is_synced_from_where_it_began(acme: World) -> None:
    acme.handoffs.plan("acme", "connectwise", TICKETS.name, start=week(4).start)
    read(acme, weeks(8, NOW_WEEK))
    acme.now += timedelta(days=14)
    read(acme, weeks(4, 7))
    assert planned(acme) == ([week(11).key, week(12).key, week(13).key], ["tickets"], {})


def test_a_sync_that_fails_is_made_up_by_the_next(acme: World) -> None:
    read(acme, weeks(4, NOW_WEEK))
    acme.now += timedelta(days=7)
    read(acme, [week(12)])  # as if week 11 had failed
    assert planned(acme) == ([week(11).key, week(12).key], ["tickets"], {})


def test_the_canonical_table_is_withheld_while_a_window_is_missing(acme: World) -> None:
    acme.handoffs.plan("acme", "connectwise", TICKETS.name, start=week(4).start)
    read(acme, weeks(7, NOW_WEEK))
    keys = f"{week(4).key}, {week(5).key}, {week(6).key}"
    assert planned(acme) == ([week(11).key], [], {"tickets": f"service_tickets lacks {keys}"})
    read(acme, weeks(4, 6))
    assert planned(acme) == ([week(11).key], ["tickets"], {})


def test_a_part_far_from_the_history_leaves_a_hole_until_that_is_filled(acme: World) -> None:
    read(acme, weeks(7, NOW_WEEK))
    read(acme, weeks(1, 4))
    hole = f"service_tickets lacks {week(5).key}, {week(6).key}"
    assert planned(acme) == ([week(11).key], [], {"tickets": hole})
    read(acme, weeks(5, 6))
    assert planned(acme) == ([week(11).key], ["tickets"], {})


def test_a_window_between_newer_ones_that_failed_is_a_hole(acme: World) -> None:
    read(acme, weeks(4, NOW_WEEK))
    acme.now += timedelta(days=21)
    read(acme, [week(12), week(14)])  # as if week 13 had failed
    service = acme.accounts["acme"]
    [table] = canonical_tables(service.spec)
    assert holes_of(acme.wiring, service, table) == f"service_tickets lacks {week(13).key}"


def test_one_backfill_takes_all_tenants_and_says_what_it_is(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    world = shop(tmp_path, acme=[], beta=[], gamma=[])
    for tenant in ("acme", "beta"):
        read(world, weeks(4, NOW_WEEK), tenant)
    synced = look(world, instance)
    assert synced.launched is not None
    [backfill] = backfills(instance, {"backfill/domain": "incremental_sync"})
    assert backfill.backfill_id == synced.launched.backfill_id
    assert backfill.title == "connectwise sync of 2 tenants, from 2024-03-17"
    assert backfill.tags["backfill/service"] == "connectwise"
    assert targets(instance, backfill.backfill_id) == {
        *(("connectwise/service_tickets", f"{tenant}|2024-03-17") for tenant in ("acme", "beta")),
        *(("canonical/connectwise/tickets", tenant) for tenant in ("acme", "beta")),
    }


def test_a_tenant_whose_sync_is_under_way_is_left_alone_and_the_others_go_on(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    world = shop(tmp_path, acme=[], beta=[])
    read(world, weeks(4, NOW_WEEK))
    first = look(world, instance).launched
    read(world, weeks(4, NOW_WEEK), "beta")
    second = look(world, instance)
    assert (first, second.launched) != (None, None)
    assert second.remarks == ["acme: its last sync is still under way"]
    assert second.launched is not None
    assert {key for _, key in targets(instance, second.launched.backfill_id)} == {"beta|2024-03-17", "beta"}
    end_all(instance)
    assert [plan.tenant for plan in look(world, instance).tenants] == ["acme", "beta"]


@pytest.mark.parametrize("change", [{"enabled": False}, {"missing": ("BACKFILL_ACME_CONNECTWISE_PUBLIC_KEY",)}])
def test_a_tenant_that_cannot_be_read_is_not_synced(
    acme: World, instance: dg.DagsterInstance, change: dict[str, Any]
) -> None:
    read(acme, weeks(4, NOW_WEEK))
    acme.accounts["acme"] = replace(acme.accounts["acme"], **change)
    assert look(acme, instance).launched is None


def test_after_an_outage_sync_reads_all_that_was_missed(acme: World) -> None:
    read(acme, weeks(4, NOW_WEEK))
    acme.now += timedelta(days=30)
    assert planned(acme) == ([window.key for window in weeks(11, 15)], ["tickets"], {})


def test_a_whole_history_is_launched_with_its_canonical_tables_and_a_part_only_where_it_leaves_no_hole(
    acme: World, instance: dg.DagsterInstance
) -> None:
    def launched(**part: Any) -> set[str]:
        plan = plan_history(SHOP, acme.now, windows_per_run=6, **part) if part else whole_history(acme.wiring, account)
        asked = {"reason": "by hand", "requested_by": "me"}
        done = launch_history(acme.wiring, instance, GRAPH, account, plan, **asked)
        end_all(instance)
        return {asset for asset, _ in targets(instance, done.backfill_id)}

    account = acme.accounts["acme"]
    raw, canonical = "connectwise/service_tickets", "canonical/connectwise/tickets"
    assert launched() == {raw, canonical}
    newest = {"start": week(10).start, "end": acme.now}
    assert launched(**newest) == {raw}, "most of the history is not there yet"
    read(acme, weeks(4, 9))
    assert launched(**newest) == {raw, canonical}
