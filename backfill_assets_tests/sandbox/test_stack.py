"""What the stack writes for the programs that it starts: settings that hold together."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from backfill_assets.sandbox.accounts import ACCOUNTS
from backfill_assets.sandbox.dataset import TENANTS
from backfill_assets.sandbox.ports import free_port
from backfill_assets.sandbox.stack import Stack
from backfill_assets.settings import load_settings


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    home = tmp_path / "stack"
    yield home
    Stack(home=home, port=free_port(), durable=False).remove()


def test_every_tenant_is_connected_to_every_service_with_all_credentials(home: Path) -> None:
    stack = Stack(home=home, port=free_port(), durable=False, lookback_days=60)
    try:
        variables = stack.prepare()
        settings = load_settings(variables)
    finally:
        stack.stop()
    written = yaml.safe_load((home / "tenants.yaml").read_text())["tenants"]
    assert {tenant: set(about["services"]) for tenant, about in written.items()} == {
        tenant: set(ACCOUNTS) for tenant in TENANTS
    }
    assert written["acme"]["services"]["salesforce"] == {
        "base_url": f"{stack.sandbox_url}/salesforce/acme",
        "lookback_days": 60,
    }
    assert variables["BACKFILL_GLOBEX_SERVICENOW_PASSWORD"] == "globex-password"
    for tenant in settings.tenants.values():
        for service in tenant.services.values():
            assert service.spec.requests_per_minute == 6000
            assert service.missing == ()


def test_a_stack_may_have_some_services_only(home: Path) -> None:
    stack = Stack(home=home, port=free_port(), durable=False, services=("connectwise",), tenants=("acme",))
    try:
        variables = stack.prepare()
    finally:
        stack.stop()
    written = yaml.safe_load((home / "tenants.yaml").read_text())["tenants"]
    assert list(written["acme"]["services"]) == ["connectwise"]
    assert not [name for name in variables if "SALESFORCE" in name]
