"""The sensors, on real settings files and a real state database."""

from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import yaml

from backfill_assets.adapters.state.schema import initialise
from backfill_assets.following import backfills, find
from backfill_assets.launching import BackfillRequest, launch
from backfill_assets.pausing import is_paused
from backfill_assets.resources import wiring
from backfill_assets.settings import load_settings
from backfill_assets.tenant_history.automation import backfill_hours, new_tenant_services
from backfill_assets.tenant_history.definitions import build

# Dagster writes queries that SQLAlchemy grumbles about.
pytestmark = pytest.mark.filterwarnings("ignore:Coercing Subquery:sqlalchemy.exc.SAWarning")


def defined() -> dg.Definitions:
    return dg.Definitions.merge(dg.Definitions(resources={"wiring": wiring}), build(load_settings()))


def tick(instance: dg.DagsterInstance, sensor: dg.SensorDefinition = new_tenant_services) -> str:
    """What one evaluation of a sensor says."""
    repository = defined().get_repository_def()
    with dg.build_sensor_context(instance, repository_def=repository) as context:
        skipped = sensor(context)
    assert isinstance(skipped, dg.SkipReason)
    return str(skipped.skip_message)


def test_tells_what_it_found_and_reads_the_settings_anew_each_time(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, tenants = f"sqlite:///{tmp_path / 'state.db'}", tmp_path / "tenants.yaml"
    initialise(url)
    monkeypatch.setenv("BACKFILL_DATABASE_URL", url)
    monkeypatch.setenv("BACKFILL_LAKE_ROOT", str(tmp_path / "lake"))
    assert tick(instance) == "no tenant service is new"

    # Nobody listens on the port of discarded messages.
    service = {"base_url": "http://127.0.0.1:9", "enabled": True}
    tenants.write_text(yaml.safe_dump({"tenants": {"acme": {"services": {"connectwise": service}}}}))
    monkeypatch.setenv("BACKFILL_TENANTS_FILE", str(tenants))
    assert tick(instance) == "no tenant service is new"
    for field in ("COMPANY_ID", "PUBLIC_KEY", "PRIVATE_KEY", "CLIENT_ID"):
        monkeypatch.setenv(f"BACKFILL_ACME_CONNECTWISE_{field}", "x")
    told = tick(instance)
    assert told.startswith("acme connectwise: not launched: ")
    assert backfills(instance, {}) == []


def test_backfills_keep_to_the_hours_that_the_tenants_file_says_now(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, tenants = f"sqlite:///{tmp_path / 'state.db'}", tmp_path / "tenants.yaml"
    initialise(url)
    for name, value in {"DATABASE_URL": url, "LAKE_ROOT": str(tmp_path / "lake"), "TENANTS_FILE": str(tenants)}.items():
        monkeypatch.setenv(f"BACKFILL_{name}", value)
    write_hours(tenants, None)
    assert tick(instance, backfill_hours) == "no backfill is to be paused, resumed or stopped"

    instance.add_dynamic_partitions("connectwise_tenants", ["acme"])
    request = BackfillRequest(
        domain="tenant_history",
        key="it",
        title="it",
        reason="",
        requested_by="",
        partitions={dg.AssetKey(["connectwise", "company_contacts"]): ["acme|2024-01-07"]},
        tags={"backfill/tenant": "acme", "backfill/service": "connectwise"},
    )
    graph = defined().resolve_asset_graph()
    backfill_id = launch(instance, graph, request, lock=lambda _: nullcontext()).backfill_id
    later = datetime.now(UTC) + timedelta(hours=2)
    write_hours(tenants, {"start": later.hour, "end": (later.hour + 1) % 24})
    assert tick(instance, backfill_hours).startswith("it: paused at ")
    assert is_paused(find(instance, backfill_id))


def write_hours(tenants: Path, hours: object) -> None:
    service = {"base_url": "http://127.0.0.1:9", **({"backfill_hours": hours} if hours else {})}
    tenants.write_text(yaml.safe_dump({"tenants": {"acme": {"services": {"connectwise": service}}}}))
