"""The main story: a tenant connects a service, and its history is there a little later without anybody's asking."""

import json
from collections.abc import Mapping, Sequence

from dagster._core.execution.backfill import PartitionBackfill

from backfill_assets import following, launching
from backfill_assets.sandbox.dataset import TENANTS
from backfill_assets.sandbox.verification import verify
from backfill_assets.settings import load_settings
from backfill_assets_tests.end_to_end.running import Running, until


def test_the_sensor_fills_in_the_history_of_newly_connected_services(running: Running) -> None:
    tags = {launching.REQUESTED_BY_TAG: "sensor new_tenant_services"}
    launched = until("a backfill for each tenant", lambda: _one_for_each_tenant(running, tags))
    assert {b.tags["backfill/tenant"] for b in launched} == set(TENANTS)
    assert all(following.has_succeeded(running.ended(b.backfill_id)) for b in launched)
    report = verify(load_settings(running.environment), running.stack.sandbox_url)
    assert report.problem == ""
    assert all(row.source for row in report.compared)


def _one_for_each_tenant(running: Running, tags: Mapping[str, str]) -> Sequence[PartitionBackfill] | None:
    found = following.backfills(running.instance, tags)
    return found if len(found) >= len(TENANTS) else None


def test_a_service_with_its_history_filled_in_is_not_launched_again(running: Running) -> None:
    told = running.backfill("services", "--json")
    assert told.returncode == 0, told.stderr
    rows = json.loads(told.stdout)
    assert {(row["tenant"], row["verdict"]) for row in rows} <= {
        (tenant, verdict) for tenant in TENANTS for verdict in ("running", "completed")
    }
    assert all(row["connection"].startswith("ConnectWise v") for row in rows)


def test_one_partition_can_be_materialised_by_dagsters_own_command(running: Running) -> None:
    until("the tenant's partition", lambda: running.instance.has_dynamic_partition("connectwise_tenants", "acme"))
    key = "acme|2023-02-05"
    target = ("--partition", key, "--select", "connectwise/company_companies")
    ended = running.run_module("dagster", "asset", "materialize", *target, "-m", "backfill_assets.definitions")
    assert ended.returncode == 0, ended.stderr
    run = running.instance.get_runs(limit=200)
    alone = [r for r in run if r.tags.get("dagster/partition") == key]
    assert running.materialised(*alone) == {("company_companies", key): 1}
    assert all(row.is_equal for row in running.compare("acme", "2023-02-05", "2023-02-12") if "companies" in row.table)
