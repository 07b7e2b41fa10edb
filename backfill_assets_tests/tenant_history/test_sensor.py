"""The sensor that spots new tenant services, on real settings files and a real state database."""

from pathlib import Path

import dagster as dg
import pytest
import yaml

from backfill_assets.adapters.state.schema import initialise
from backfill_assets.following import backfills
from backfill_assets.resources import wiring
from backfill_assets.settings import load_settings
from backfill_assets.tenant_history.automation import new_tenant_services
from backfill_assets.tenant_history.definitions import build

pytestmark = pytest.mark.filterwarnings("ignore:Coercing Subquery:sqlalchemy.exc.SAWarning")


def tick(instance: dg.DagsterInstance) -> str:
    """What one evaluation of the sensor says."""
    defs = dg.Definitions.merge(dg.Definitions(resources={"wiring": wiring}), build(load_settings()))
    repository = defs.get_repository_def()
    with dg.build_sensor_context(instance, repository_def=repository) as context:
        skipped = new_tenant_services(context)
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
