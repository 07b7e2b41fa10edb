"""A run of the canonical assets: what Dagster is told of each tenant, and when a table is withheld."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow.parquet as pq
import pytest

from backfill_assets.adapters.rest.connectwise_tables import TICKETS
from backfill_assets.launching import BackfillRequest, launch
from backfill_assets.tenant_history.assets import table_asset
from backfill_assets.tenant_history.canonical.assets import canonical_asset
from backfill_assets.tenant_history.canonical.mapping import canonical_tables
from backfill_assets.tenant_history.partitions import asset_key, canonical_key, partition_key, tenant_set
from backfill_assets_tests.tenant_history.shops import SHOP, shop
from backfill_assets_tests.tenant_history.worlds import World, in_week, ticket, week, weeks

# Dagster writes queries that SQLAlchemy grumbles about.
pytestmark = pytest.mark.filterwarnings("ignore:Coercing Subquery:sqlalchemy.exc.SAWarning")

KEY = canonical_key("connectwise", "tickets")
GRAPH = dg.Definitions(assets=[table_asset(SHOP, TICKETS)], resources={"wiring": None}).resolve_asset_graph()
ASSET = canonical_asset(SHOP, next(table for table in canonical_tables(SHOP) if table.entity == "tickets"))


@pytest.fixture
def acme(tmp_path: Path) -> World:
    """A tenant with a ticket in each of the first three weeks."""
    return shop(tmp_path, acme=[ticket(number, in_week(number)) for number in (1, 2, 3)])


def test_a_backfill_that_was_launched_in_the_ui_notes_all_that_it_asks_for(
    acme: World, instance: dg.DagsterInstance
) -> None:
    instance.add_dynamic_partitions(tenant_set("connectwise"), ["acme"])
    keys = [partition_key("acme", window) for window in weeks(4, 11)]
    request = BackfillRequest(
        domain="test",
        key="test",
        title="as the UI does",
        reason="",
        requested_by="",
        partitions={asset_key("connectwise", TICKETS): keys},
    )
    launched = launch(instance, GRAPH, request, lock=lambda _name: nullcontext())
    bounds = {"start": keys[5], "end": keys[7], "backfill": launched.backfill_id}
    names = {"start": "dagster/asset_partition_range_start", "end": "dagster/asset_partition_range_end"}
    tags = {names.get(name, "dagster/backfill"): str(value) for name, value in bounds.items()}
    assert run(acme, instance, table_asset(SHOP, TICKETS), tags=tags).success
    [handoff] = acme.handoffs.handoffs()
    assert handoff.history_from == week(4).start


def read(world: World, instance: dg.DagsterInstance, first: int, last: int) -> bool:
    """Read weeks of acme's tickets; whether the run succeeded."""
    instance.add_dynamic_partitions(tenant_set("connectwise"), list(world.accounts))
    bounds = {"start": f"acme|{week(first).key}", "end": f"acme|{week(last).key}"}
    tags = {f"dagster/asset_partition_range_{name}": key for name, key in bounds.items()}
    return bool(run(world, instance, table_asset(SHOP, TICKETS), tags=tags).success)


def build(world: World, instance: dg.DagsterInstance, tenant: str = "acme") -> Any:
    instance.add_dynamic_partitions(tenant_set("connectwise"), list(world.accounts))
    bounds = {"dagster/asset_partition_range_start": tenant, "dagster/asset_partition_range_end": tenant}
    return run(world, instance, ASSET, tags=bounds)


def run(world: World, instance: dg.DagsterInstance, asset: dg.AssetsDefinition, **more: Any) -> Any:
    wiring = {"wiring": world.wiring}
    return dg.materialize([asset], instance=instance, resources=wiring, raise_on_error=False, **more)


def failure(result: Any) -> str:
    [event] = [event for event in result.all_events if event.is_step_failure]
    assert event.step_failure_data.user_failure_data is not None
    return str(event.step_failure_data.user_failure_data.description)


def test_a_tenants_table_is_built_from_all_that_was_read(acme: World, instance: dg.DagsterInstance) -> None:
    assert read(acme, instance, 0, 11)
    assert build(acme, instance).success
    event = instance.get_latest_materialization_event(KEY)
    assert event is not None
    assert event.asset_materialization is not None
    told: dict[str, Any] = {name: value.value for name, value in event.asset_materialization.metadata.items()}
    assert event.asset_materialization.partition == "acme"
    [file] = acme.root.glob("acme/canonical/tickets/source_system=connectwise/*.parquet")
    assert told.pop("seconds") >= 0
    expected = {"rows": 3, "rows_rejected": 0, "bytes": file.stat().st_size, "source_rows": 3, "current": 3}
    assert told == {**expected, "complete": True}
    assert pq.read_table(file)["source_id"].to_pylist() == ["1", "2", "3"]


def test_a_table_whose_history_has_a_hole_is_withheld_and_says_where(acme: World, instance: dg.DagsterInstance) -> None:
    acme.handoffs.plan("acme", "connectwise", TICKETS.name, start=week(0).start)
    assert read(acme, instance, 5, 11)
    assert read(acme, instance, 0, 2)
    result = build(acme, instance)
    assert not result.success
    assert failure(result) == (
        "1 of 1 partitions failed; acme: tickets of acme is withheld, because its history has a hole: service_tickets "
        "lacks 2024-01-21, 2024-01-28; rerun these partitions, then this one (the next sync builds it too)"
    )
    assert not list(acme.root.glob("acme/canonical/**/*.parquet"))
    assert read(acme, instance, 3, 4)
    assert build(acme, instance).success


def test_a_table_of_which_nothing_was_ever_read_is_withheld(acme: World, instance: dg.DagsterInstance) -> None:
    assert "service_tickets has never been read" in failure(build(acme, instance))


def test_raw_files_that_are_gone_make_no_smaller_table(acme: World, instance: dg.DagsterInstance) -> None:
    assert read(acme, instance, 0, 11)
    assert build(acme, instance).success
    [file] = acme.root.glob("acme/canonical/tickets/*/*.parquet")
    before = file.read_bytes()
    next(acme.root.glob("acme/raw/**/*.parquet")).unlink()
    told = failure(build(acme, instance))
    assert "hold 2 versions, and the certificates of their windows tell of 3; put back the files that are gone" in told
    assert file.read_bytes() == before


def test_one_tenant_that_fails_costs_no_other(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    world = shop(tmp_path, acme=[ticket(1, in_week(1))], beta=[])
    assert read(world, instance, 0, 11)
    instance.add_dynamic_partitions(tenant_set("connectwise"), ["beta"])
    tags = {"dagster/asset_partition_range_start": "acme", "dagster/asset_partition_range_end": "beta"}
    result = run(world, instance, ASSET, tags=tags)
    assert failure(result).startswith("1 of 2 partitions failed; beta: tickets of beta is withheld")
    assert instance.get_materialized_partitions(KEY) == {"acme"}


def test_the_check_of_a_raw_table_names_what_was_not_read(acme: World, instance: dg.DagsterInstance) -> None:
    acme.handoffs.plan("acme", "connectwise", TICKETS.name, start=week(0).start)
    assert read(acme, instance, 1, 11)
    key = dg.AssetCheckKey(asset_key("connectwise", TICKETS), "complete")
    found = evaluation(instance, key)
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert found.description == f"acme has not been read in {week(0).key}"
    assert found.metadata["windows_missing"].value == 1
    assert read(acme, instance, 0, 0)
    found = evaluation(instance, key)
    assert (found.passed, found.description) == (True, "the histories of 1 tenants are in the lake, without a gap")


def evaluation(instance: dg.DagsterInstance, key: dg.AssetCheckKey) -> dg.AssetCheckEvaluation:
    [record] = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    assert record.event is not None
    assert record.event.dagster_event is not None
    return record.event.dagster_event.asset_check_evaluation_data
