"""A run of the assets: what Dagster is told of each partition, and when the run fails."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import dagster as dg
import pytest
from dagster import RunsFilter
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run

from backfill_assets.errors import TransientError
from backfill_assets.following import RESUME_TAG
from backfill_assets.tenant_history.assets import op_name, table_asset, table_assets
from backfill_assets.tenant_history.partitions import asset_key, tenant_set
from backfill_assets_tests.tenant_history.worlds import DESK, NOTES, TICKETS, World, in_week, note, tickets_in, week

# Dagster writes queries that SQLAlchemy grumbles about.
pytestmark = pytest.mark.filterwarnings("ignore:Coercing Subquery:sqlalchemy.exc.SAWarning")

KEY = asset_key("desk", TICKETS)


def run(
    world: World,
    instance: dg.DagsterInstance,
    *,
    first: str,
    last: str,
    tags: Mapping[str, str] | None = None,
    config: Mapping[str, Any] | None = None,
    assets: list[dg.AssetsDefinition] | None = None,
) -> dg.ExecuteInProcessResult:
    """Run the tickets of a range of partitions."""
    instance.add_dynamic_partitions(tenant_set("desk"), list(world.accounts))
    return dg.materialize(
        assets or [table_asset(DESK, TICKETS)],
        instance=instance,
        resources={"wiring": world.wiring},
        tags={"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last, **(tags or {})},
        run_config=config,
        raise_on_error=False,
    )


def run_weeks(world: World, instance: dg.DagsterInstance, first: int, last: int, **more: Any) -> Any:
    return run(world, instance, first=f"acme|{week(first).key}", last=f"acme|{week(last).key}", **more)


def keys(*numbers: int, tenant: str = "acme") -> list[str]:
    return [f"{tenant}|{week(number).key}" for number in numbers]


def logged(instance: dg.DagsterInstance, run_id: str) -> dict[str, dict[str, Any]]:
    """What the run said of each partition, in its order; each partition may be materialised once."""
    events = [
        entry.dagster_event.step_materialization_data.materialization
        for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
        if entry.dagster_event is not None
    ]
    found = {str(event.partition): {name: value.value for name, value in event.metadata.items()} for event in events}
    assert len(found) == len(events)
    return found


def resumed(world: World, instance: dg.DagsterInstance, earlier: dg.ExecuteInProcessResult, **tags: str) -> str:
    """Run a run anew as Dagster does when it retries one, with these tags more; return the run's id."""
    assets, resources = [table_asset(DESK, TICKETS)], {"wiring": world.wiring}
    defs = dg.Definitions(assets=assets, resources=resources, executor=dg.in_process_executor)
    job = defs.resolve_implicit_global_asset_job_def()
    group = {"dagster/root_run_id": earlier.run_id, "dagster/parent_run_id": earlier.run_id}
    again = instance.create_run_for_job(
        job_def=job,
        tags={**earlier.dagster_run.tags, **group, **tags},
        root_run_id=earlier.run_id,
        parent_run_id=earlier.run_id,
    )
    execute_run(InMemoryJob(job), again, instance, raise_on_error=False)
    assert instance.get_runs(RunsFilter(run_ids=[again.run_id]))[0].is_success
    return again.run_id


def failure(result: dg.ExecuteInProcessResult) -> str:
    [event] = [event for event in result.all_events if event.is_step_failure]
    assert event.step_failure_data.user_failure_data is not None
    return str(event.step_failure_data.user_failure_data.description)


def reads(world: World, tenant: str = "acme") -> list[str]:
    """Where the readings of the account began, in their order and each once."""
    return list(dict.fromkeys(str(r.start.date()) for r in world.sources[tenant].requests if r.kind == "records"))


def poison(world: World, number: int) -> None:
    error = TransientError("the service is down")
    world.sources["acme"].fail(TICKETS.name, in_week(number, 3), in_week(number, 4), error)


def test_every_partition_is_materialised_once_with_its_numbers(world: World, instance: dg.DagsterInstance) -> None:
    bad = {**tickets_in(2, each=1)[0], "id": 50, "hours": "many"}
    world.add("acme", {TICKETS.name: [*tickets_in(1, 2), bad]})
    result = run_weeks(world, instance, 1, 3)
    assert result.success
    assert list(logged(instance, result.run_id)) == keys(1, 2, 3)
    found = logged(instance, result.run_id)
    shown = ("rows", "rows_rejected", "source_rows", "complete", "chunk_days")
    assert [tuple(found[key][name] for name in shown) for key in keys(1, 2, 3)] == [
        (3, 0, 3, True, 14),
        (3, 1, 4, False, 14),
        (0, 0, 0, True, 7),
    ]
    assert found[keys(1)[0]]["bytes"] == sum(
        len(content) for path, (_, content) in world.files().items() if path.name < week(2).key
    )
    assert all(isinstance(numbers["seconds"], float) for numbers in found.values())
    assert all(source.closed for source in world.sources.values())


def test_a_poisoned_window_fails_the_run_after_all_others_are_done(world: World, instance: dg.DagsterInstance) -> None:
    world.add("acme", {TICKETS.name: tickets_in(1, 2, 3, 4, 5, 6)})
    poison(world, 3)
    result = run_weeks(world, instance, 1, 6)
    assert not result.success
    assert failure(result) == f"1 of 6 partitions failed; acme|{week(3).key}: the service is down"
    assert list(logged(instance, result.run_id)) == keys(1, 2, 4, 5, 6)
    assert sorted(instance.get_materialized_partitions(KEY)) == keys(1, 2, 4, 5, 6)


def test_a_resumed_run_does_only_the_rest(world: World, instance: dg.DagsterInstance) -> None:
    source = world.add("acme", {TICKETS.name: tickets_in(1, 2, 3, 4, 5, 6)})
    poison(world, 3)
    first = run_weeks(world, instance, 1, 6)
    source.heal()
    source.requests.clear()
    again = resumed(world, instance, first, **{RESUME_TAG: "true"})
    assert list(logged(instance, again)) == keys(3)
    assert reads(world) == [week(3).key]

    source.requests.clear()
    third = resumed(world, instance, first, **{RESUME_TAG: "true"})
    assert (logged(instance, third), source.requests) == ({}, [])


@pytest.mark.parametrize("tags", [{}, {RESUME_TAG: "false"}])
def test_a_run_that_is_not_resumed_does_all_that_was_asked(
    world: World, instance: dg.DagsterInstance, tags: dict[str, str]
) -> None:
    world.add("acme", {TICKETS.name: tickets_in(1, 2)})
    first = run_weeks(world, instance, 1, 2)
    assert list(logged(instance, resumed(world, instance, first, **tags))) == keys(1, 2)


def test_several_tenants_are_filled_in_one_run_and_one_that_cannot_be_read_fails_alone(
    world: World, instance: dg.DagsterInstance
) -> None:
    world.add("acme", {TICKETS.name: tickets_in(1)})
    world.add("bare", missing=("BACKFILL_BARE_DESK_KEY",))
    world.add("gone")
    world.add("off", enabled=False)
    world.add("zeta", {TICKETS.name: tickets_in(2)})
    instance.add_dynamic_partitions(tenant_set("desk"), list(world.accounts))
    del world.accounts["gone"]
    result = run(world, instance, first=keys(1)[0], last=keys(2, tenant="zeta")[0])
    assert not result.success
    assert sorted(logged(instance, result.run_id)) == [*keys(1, 2), *keys(1, 2, tenant="zeta")]
    sentence = failure(result)
    assert sentence.startswith("6 of 10 partitions failed; ")
    assert "desk of tenant 'bare' cannot be read: set BACKFILL_BARE_DESK_KEY" in sentence
    assert "there is no tenant 'gone' in the tenants file; it has acme, bare, off, zeta" in sentence
    assert "desk of tenant 'off' is switched off" in sentence
    assert f"{', '.join(keys(1, 2, tenant='off'))}: " in sentence


def test_a_table_that_the_tenant_leaves_out_fails_with_a_sentence(world: World, instance: dg.DagsterInstance) -> None:
    source = world.add("acme", spec=replace(DESK, tables=(NOTES,)))
    result = run_weeks(world, instance, 1, 2)
    assert not result.success
    assert failure(result) == (
        f"2 of 2 partitions failed; {', '.join(keys(1, 2))}: desk of tenant 'acme' leaves out service/tickets; name it "
        "in the tenants file"
    )
    assert (source.requests, world.opened) == ([], [])


@pytest.mark.parametrize(
    ("tenant_days", "config_days", "chunk_days"), [(None, None, 14), (28, None, 28), (28, 7, 7), (None, 21, 21)]
)
def test_the_chunk_size_is_the_runs_then_the_tenants_then_the_services(
    world: World,
    instance: dg.DagsterInstance,
    tenant_days: int | None,
    config_days: int | None,
    chunk_days: int,
) -> None:
    own = DESK if tenant_days is None else replace(DESK, chunk_size_days=tenant_days)
    world.add("acme", spec=own)
    config = {"ops": {op_name("desk", TICKETS): {"config": {"chunk_size_days": config_days}}}} if config_days else None
    result = run_weeks(world, instance, 1, 4, config=config)
    assert result.success
    assert logged(instance, result.run_id)[keys(1)[0]]["chunk_days"] == chunk_days


def test_tables_of_higher_priority_go_first_within_a_run(world: World, instance: dg.DagsterInstance) -> None:
    source = world.add("acme", {TICKETS.name: tickets_in(1), NOTES.name: [note(1, in_week(1))]})
    assets = list(table_assets(DESK))
    assert [asset.op.tags for asset in assets] == [{"dagster/priority": "20"}, {"dagster/priority": "30"}]
    result = run_weeks(world, instance, 1, 1, assets=assets)
    assert result.success
    assert list(dict.fromkeys(r.table for r in source.requests)) == [NOTES.name, TICKETS.name]


def test_another_table_of_the_same_run_goes_on_when_one_fails(world: World, instance: dg.DagsterInstance) -> None:
    source = world.add("acme", {TICKETS.name: tickets_in(1), NOTES.name: [note(1, in_week(1))]})
    source.fail(NOTES.name, in_week(1, 0), in_week(2, 0), TransientError("no notes today"))
    result = run_weeks(world, instance, 1, 1, assets=list(table_assets(DESK)))
    assert not result.success
    assert instance.get_materialized_partitions(KEY) == set(keys(1))
    assert instance.get_materialized_partitions(asset_key("desk", NOTES)) == set()
