"""What every tenant directory promises: a file, a table of flat items, and a table of nested ones say the same."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from backfill_assets.settings import Settings, TenantService
from backfill_assets_tests.configuration.aws_under_test import HELD, Installation
from backfill_assets_tests.configuration.settings_under_test import DESK, DESK_ADDRESS, Files

Load = Callable[..., Settings]


def from_file(request: pytest.FixtureRequest) -> Load:
    files = Files(folder=request.getfixturevalue("tmp_path"))

    def load(environ: Mapping[str, str] | None = None, **desks: Mapping[str, Any]) -> Settings:
        variables: dict[str, str] = {}
        for tenant, desk in desks.items():
            held = {f"BACKFILL_{tenant.upper()}_DESK_{name.upper()}": value for name, value in HELD.items()}
            variables |= held if desk.get("enabled", True) else {}
        tenants = {tenant: {"services": {"desk": desk}} for tenant, desk in desks.items()}
        return files.load(tenants={"tenants": tenants}, environ={**variables, **(environ or {})})

    return load


def from_flat_items(request: pytest.FixtureRequest) -> Load:
    installation: Installation = request.getfixturevalue("installation")

    def load(environ: Mapping[str, str] | None = None, **desks: Mapping[str, Any]) -> Settings:
        for tenant, desk in desks.items():
            name = installation.secret(f"of/{tenant}", HELD)
            config = {key: value for key, value in desk.items() if key.endswith("_days")}
            told = {key: desk[key] for key in ("enabled", "tables") if key in desk}
            address = {"desk_url": desk["base_url"]} if "base_url" in desk else {}
            item = {
                "enabled": True,
                **told,
                **address,
                "secret_name": name,
                "custom_config": str(config).replace("'", '"'),
            }
            installation.put(tenant_id=tenant, **{"service": "desk", **item})
        return installation.load(environ)

    return load


def from_nested_items(request: pytest.FixtureRequest) -> Load:
    installation: Installation = request.getfixturevalue("installation")

    def load(environ: Mapping[str, str] | None = None, **desks: Mapping[str, Any]) -> Settings:
        for tenant, desk in desks.items():
            installation.secret(f"tenant/{tenant}", {"desk": HELD, "other": {"company_id": "wrong"}})
            config = {key: value for key, value in desk.items() if key.endswith("_days")}
            address = {"api_url": desk["base_url"]} if "base_url" in desk else {}
            said = {"enabled": str(desk.get("enabled", True)), "custom_config": config, **address}
            if "tables" in desk:
                said["tables"] = desk["tables"]
            installation.put(tenant_id=tenant, services={"desk": said})
        return installation.load(environ)

    return load


@pytest.fixture(params=[from_file, from_flat_items, from_nested_items])
def load(request: pytest.FixtureRequest) -> Load:
    """Loads tenants whose desks say this, and whose credential is `HELD`."""
    opened: Load = request.param(request)
    return opened


def desk_of(settings: Settings, tenant: str = "acme") -> TenantService:
    return settings.tenants[tenant].services["desk"]


def test_a_tenants_service_has_its_address_its_credential_and_its_overrides(load: Load) -> None:
    said = {"base_url": f"{DESK_ADDRESS}/", "lookback_days": 365, "chunk_size_days": 7, "tables": ["time/entries"]}
    settings = load(acme=said, globex={"base_url": DESK_ADDRESS})
    assert set(settings.tenants) == {"acme", "globex"}
    assert (settings.tenants["acme"].id, settings.tenants["acme"].time_zone) == ("acme", "UTC")
    desk = desk_of(settings)
    assert (desk.tenant, desk.enabled, desk.base_url, desk.missing) == ("acme", True, DESK_ADDRESS, ())
    assert desk.credential == HELD
    assert (desk.spec.lookback_days, desk.spec.chunk_size_days) == (365, 7)
    assert desk.spec.tables == DESK.tables[1:]
    assert desk_of(settings, "globex").spec == DESK
    assert settings.notes == ()


def test_a_service_that_is_off_is_off(load: Load) -> None:
    settings = load(acme={"enabled": False, "base_url": DESK_ADDRESS}, globex={"base_url": DESK_ADDRESS})
    assert [desk_of(settings, tenant).enabled for tenant in ("acme", "globex")] == [False, True]


def test_an_address_that_is_not_there_is_missing(load: Load) -> None:
    [missing] = desk_of(load(acme={})).missing
    assert missing.startswith(("tenants.acme.services.desk.base_url", "desk_url of tenant_id acme in DynamoDB table"))


def test_a_variable_overrides_what_is_held_elsewhere(load: Load, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from a file")
    environ = {
        "BACKFILL_ACME_DESK_COMPANY_ID": "other-inc",
        "BACKFILL_ACME_DESK_PRIVATE_KEY_FILE": str(tmp_path / "key"),
        "BACKFILL_ACME_DESK_PRIVATE_KEY": "",
        "BACKFILL_ACME_DESK_NOTE": "hello",
    }
    desk = desk_of(load(environ, acme={"base_url": DESK_ADDRESS}))
    assert desk.credential == {"company_id": "other-inc", "private_key": "from a file", "note": "hello"}
    assert desk.missing == ()
    assert desk.credential_names == (
        *("BACKFILL_ACME_DESK_COMPANY_ID", "BACKFILL_ACME_DESK_PRIVATE_KEY_FILE", "BACKFILL_ACME_DESK_NOTE"),
    )


def test_no_tenant_is_no_error(load: Load) -> None:
    assert load().tenants == {}


def test_no_secret_is_in_any_text(load: Load) -> None:
    settings = load(acme={"base_url": DESK_ADDRESS})
    assert "hush" not in repr(settings) + repr(settings.tenants) + str(settings.model_dump())
