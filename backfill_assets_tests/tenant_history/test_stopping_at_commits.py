"""A run stops between two chunks when its tenant closes or its time is over, and nothing is lost or doubled."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backfill_assets.adapters.rest.memory import MemorySource
from backfill_assets.core.chunks import ChunkTarget
from backfill_assets.core.opening import Hours
from backfill_assets.errors import TransientError
from backfill_assets.launching import DOMAIN_TAG, SYNC
from backfill_assets.tenant_history.backfill import WindowDone
from backfill_assets.tenant_history.hours import Halted, closed
from backfill_assets_tests.tenant_history.test_assets import KEY, failure, keys, logged, run, run_weeks
from backfill_assets_tests.tenant_history.worlds import (
    DESK,
    NOW,
    TICKETS,
    World,
    in_week,
    ticket,
    tickets_in,
    versions_of,
    weeks,
)

# Dagster writes queries that SQLAlchemy grumbles about.
pytestmark = pytest.mark.filterwarnings("ignore:Coercing Subquery:sqlalchemy.exc.SAWarning")

MORNING = Hours(start=time(10), end=time(13))
"""Open at NOW, which is noon."""


def with_hours(world: World, **account: Any) -> MemorySource:
    spec = replace(DESK, backfill_hours=MORNING, **account)
    return world.add("acme", {TICKETS.name: tickets_in(1, 2, 3, 4, 5, 6)}, spec=spec)


def at_each_chunk(world: World, tenant: str, then: Callable[[], None]) -> None:
    """Let something happen whenever a chunk of the tenant has been read."""
    source = world.sources[tenant]
    count = source.count

    def counting(*asked: Any) -> int:
        then()
        return count(*asked)

    source.count = counting  # type: ignore[assignment, method-assign]


def let_chunks_take(world: World, pause: timedelta) -> None:
    def later() -> None:
        world.now += pause

    at_each_chunk(world, "acme", later)


def tags_of(instance: dg.DagsterInstance, run_id: str) -> dict[str, str]:
    found = instance.get_run_by_id(run_id)
    assert found is not None
    return {name: found.tags[name] for name in ("backfill/stopped", "backfill/paused_until") if name in found.tags}


def test_a_run_stops_after_the_commit_at_which_its_tenant_is_closed(world: World, instance: dg.DagsterInstance) -> None:
    with_hours(world)
    let_chunks_take(world, timedelta(minutes=45))
    result = run_weeks(world, instance, 1, 6)
    assert not result.success
    # Chunks are two weeks each; the second one ends at 13:30.
    assert sorted(instance.get_materialized_partitions(KEY)) == keys(1, 2, 3, 4)
    assert world.stored() == versions_of(tickets_in(1, 2, 3, 4))
    assert failure(result) == (
        "paused at 13:30 UTC, outside of the backfill hours of acme (10:00-13:00): 2 of 6 partitions are left; "
        "materialize them again when they may be read"
    )
    until = {"backfill/stopped": "backfill_hours", "backfill/paused_until": "2024-03-21T10:00:00+00:00"}
    assert tags_of(instance, result.run_id) == until
    assert all(source.closed for source in world.sources.values())


def test_a_run_that_ends_as_its_tenant_closes_has_succeeded(world: World, instance: dg.DagsterInstance) -> None:
    with_hours(world)
    let_chunks_take(world, timedelta(minutes=30))
    result = run_weeks(world, instance, 1, 4)
    assert world.now >= NOW + timedelta(hours=1)
    assert result.success
    assert tags_of(instance, result.run_id) == {}


def test_a_run_that_starts_while_its_tenant_is_closed_asks_its_source_nothing(
    world: World, instance: dg.DagsterInstance
) -> None:
    source = with_hours(world)
    world.now = NOW + timedelta(hours=2)
    result = run_weeks(world, instance, 1, 6)
    assert ": 6 of 6 partitions are left" in failure(result)
    assert (source.requests, world.files()) == ([], {})


def test_incremental_sync_is_let_in_at_any_hour(world: World, instance: dg.DagsterInstance) -> None:
    with_hours(world)
    world.now = NOW + timedelta(hours=2)
    assert run_weeks(world, instance, 5, 6, tags={DOMAIN_TAG: SYNC}).success
    assert not run_weeks(world, instance, 5, 6, tags={DOMAIN_TAG: "tenant_history"}).success


def test_a_run_outside_of_a_backfill_has_its_longest_time_from_its_own_start(
    world: World, instance: dg.DagsterInstance
) -> None:
    with_hours(world, timeout_hours=1)
    world.accounts["acme"] = replace(
        world.accounts["acme"], spec=replace(world.accounts["acme"].spec, backfill_hours=None)
    )
    world.now = datetime.now(UTC)
    let_chunks_take(world, timedelta(minutes=31))
    result = run_weeks(world, instance, 1, 6)
    assert sorted(instance.get_materialized_partitions(KEY)) == keys(1, 2, 3, 4)
    assert failure(result) == (
        "stopped after 1 hour (timeout_hours): 2 of 6 partitions are left; materialize them again when they may be read"
    )
    assert tags_of(instance, result.run_id) == {"backfill/stopped": "timeout_hours"}


def test_the_other_tenants_of_a_run_go_on(world: World, instance: dg.DagsterInstance) -> None:
    with_hours(world)
    world.add("beta", {TICKETS.name: tickets_in(1, 2)})
    world.now = NOW + timedelta(hours=2)
    result = run(world, instance, first=keys(1)[0], last=keys(2, tenant="beta")[0])
    assert sorted(logged(instance, result.run_id)) == keys(1, 2, tenant="beta")
    assert ": 2 of 4 partitions are left" in failure(result)


def test_what_failed_is_told_beside_what_is_left(world: World, instance: dg.DagsterInstance) -> None:
    source = with_hours(world)
    source.fail(TICKETS.name, in_week(1, 3), in_week(1, 4), TransientError("the service is down"))
    let_chunks_take(world, timedelta(minutes=45))
    sentence = failure(run_weeks(world, instance, 1, 6))
    assert sentence.startswith(f"1 of 6 partitions failed; {keys(1)[0]}: the service is down; paused at ")
    assert " of 6 partitions are left" in sentence


@settings(max_examples=25, deadline=None)
@given(
    hours=st.lists(st.integers(-3000, 24 * 7 * 6 - 1), max_size=25),
    days=st.integers(1, 30),
    minutes=st.lists(st.integers(1, 200), min_size=1, max_size=5),
)
def test_pausing_and_going_on_loses_and_doubles_nothing(
    hours: list[int], days: int, minutes: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    world = World(root=tmp_path_factory.mktemp("lake"))
    records = [ticket(n, in_week(0, hour)) for n, hour in enumerate(hours, 1)]
    spec = replace(DESK, backfill_hours=MORNING)
    world.add("acme", {TICKETS.name: records}, spec=spec)
    service = world.accounts["acme"]
    paces = iter(minutes * 100)
    at_each_chunk(world, "acme", lambda: setattr(world, "now", world.now + timedelta(minutes=next(paces))))
    told: list[Any] = []

    def may_go_on() -> None:
        if pause := closed(service, world.now):
            raise Halted(pause)

    left = weeks(0, 5)
    while left:
        done = []
        try:
            for outcome in world.backfill().fill(left, ChunkTarget(days=days), before_chunk=may_go_on):
                done.append(outcome)
        except Halted as halted:
            world.now = halted.halt.until  # type: ignore[union-attr]
        told += done
        left = [window for window in left if window not in {outcome.window for outcome in done}]
    assert all(isinstance(outcome, WindowDone) for outcome in told)
    assert sorted(outcome.window for outcome in told) == weeks(0, 5)
    paused, world.root = world.stored(), Path(tmp_path_factory.mktemp("at once"))
    world.fill(weeks(0, 5), days=days)
    assert paused == world.stored() == versions_of(records)
