"""The tenants file: who there is, what a tenant may change, and what it may not."""

from pathlib import Path
from typing import Any

import pytest

from backfill_assets_tests.configuration.settings_under_test import DESK, DESK_ADDRESS, DESK_CREDENTIAL, Files, acme


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(folder=tmp_path)


def test_a_tenant_changes_its_own_services_and_no_others(files: Files) -> None:
    tenants = {
        "tenants": {
            "acme": {
                "enabled": True,
                "time_zone": "Europe/Berlin",
                "services": {
                    "desk": {
                        "base_url": DESK_ADDRESS,
                        "lookback_days": 365,
                        "chunk_size_days": 7,
                        "requests_per_minute": 10,
                        "page_size": 50,
                        "tables": ["time_entries"],
                    }
                },
            },
            "globex": {"services": {"desk": {}}},
        }
    }
    settings = files.load(tenants=tenants, environ=DESK_CREDENTIAL)
    ours = settings.tenants["acme"].services["desk"]
    assert (settings.tenants["acme"].id, settings.tenants["acme"].time_zone) == ("acme", "Europe/Berlin")
    assert (ours.tenant, ours.spec.name, ours.missing) == ("acme", "desk", ())
    assert (ours.spec.lookback_days, ours.spec.chunk_size_days) == (365, 7)
    assert (ours.spec.requests_per_minute, ours.spec.page_size) == (10, 50)
    assert ours.spec.tables == DESK.tables[1:]
    assert settings.services["desk"] == settings.tenants["globex"].services["desk"].spec == DESK
    assert settings.tenants["globex"].time_zone == "UTC"


def test_tables_keep_the_order_of_the_service(files: Files) -> None:
    spec = files.load(tenants=acme(tables=["time/entries", "service/tickets"])).tenants["acme"].services["desk"].spec
    assert spec.tables == DESK.tables


@pytest.mark.parametrize(
    ("tenant", "service", "enabled"),
    [(True, True, True), (True, False, False), (False, True, False), (False, False, False)],
)
def test_a_service_is_on_when_it_and_its_tenant_are(files: Files, tenant: bool, service: bool, enabled: bool) -> None:
    said = {"tenants": {"acme": {"enabled": tenant, "services": {"desk": {"enabled": service}}}}}
    found = files.load(tenants=said).tenants["acme"]
    assert (found.enabled, found.services["desk"].enabled) == (tenant, enabled)


def test_a_tenant_that_says_nothing_is_there_without_services(files: Files) -> None:
    tenants = files.load(tenants="tenants:\n  0042:\n  acme: {services: {}}\n").tenants
    assert {name: dict(tenant.services) for name, tenant in tenants.items()} == {"0042": {}, "acme": {}}


_ELSEWHERE = "is the same for all tenants; set services.desk.{} in the file that BACKFILL_SERVICES_FILE names instead"


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"lookback_days": "abc"}, "lookback_days must be a positive whole number, not 'abc'"),
        ({"chunk_size_days": 0}, "chunk_size_days must be a positive whole number, not 0"),
        ({"requests_per_minute": -1}, "requests_per_minute must be a positive whole number, not -1"),
        ({"page_size": 2.5}, "page_size must be a positive whole number, not 2.5"),
        ({"page_size": 1001}, "page_size (1001) is more than desk sends in a page; write 1000 or less"),
        ({"enabled": "yes please"}, "enabled must be true or false, not 'yes please'"),
        ({"base_url": 5}, "base_url must be a text, not 5"),
        ({"grain": "daily"}, f"grain {_ELSEWHERE.format('grain')}"),
        ({"history_start": "2020-01-01"}, f"history_start {_ELSEWHERE.format('history_start')}"),
        ({"chunks_per_run": 3}, f"chunks_per_run {_ELSEWHERE.format('chunks_per_run')}"),
        (
            {"tables": {"t": {"id_field": "id"}}},
            (
                "tables must be a list of names (tables are defined in the file that BACKFILL_SERVICES_FILE names), "
                "not a mapping"
            ),
        ),
        (
            {"tables": []},
            (
                "tables must be a list of names (tables are defined in the file that BACKFILL_SERVICES_FILE names), "
                "not an empty list"
            ),
        ),
        ({"tables": ["tickets"]}, "tables: 'tickets' is no table of desk; the nearest known one is service/tickets"),
        (
            {"private_key": "hush-hush"},
            (
                "private_key is part of a credential, which does not belong in a file; "
                "set BACKFILL_<TENANT>_<SERVICE>_PRIVATE_KEY instead"
            ),
        ),
        ({"instance_url": DESK_ADDRESS}, "instance_url is called base_url here"),
        (
            {"foo": 5},
            (
                "foo is not a known setting; known are backfill_hours, base_url, breaker_failures, "
                "breaker_pause_seconds, bulk_above_rows, chunk_size_days, chunk_target_rows, chunk_target_seconds, "
                "enabled, lookback_days, page_size, requests_per_minute, tables, timeout_hours"
            ),
        ),
        ({"tables": ["x"]}, "tables: 'x' is no table of desk; known are service/tickets, time/entries"),
        ({"lookback": 5}, "lookback is not a known setting; the nearest known one is lookback_days"),
        (
            {"lookback_days": 900},
            (
                "lookback_days (900) begins before services.desk.history_start (2023-01-01); look back "
                "899 days at most, or set an earlier history_start"
            ),
        ),
    ],
)
def test_what_a_tenant_cannot_say_is_refused_with_one_sentence(
    files: Files, section: dict[str, Any], sentence: str
) -> None:
    assert files.refusal(tenants=acme(**section)) == [f"tenants.yaml: tenants.acme.services.desk.{sentence}"]


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({"tenant": {}}, "tenant is not a known setting; the nearest known one is tenants"),
        ({"tenants": ["acme"]}, "tenants must be a mapping of names to values; write {} for none"),
        ({"tenants": None}, "tenants must be a mapping of names to values; write {} for none"),
        ({"tenants": {"acme": "on"}}, "tenants.acme must be a mapping of names to values, not a single value"),
        (
            {"tenants": {"acme": {"timezone": "UTC"}}},
            "tenants.acme.timezone is not a known setting; the nearest known one is time_zone",
        ),
        (
            {"tenants": {"acme": {"time_zone": "../../etc"}}},
            "tenants.acme.time_zone must be a time zone like Europe/Berlin, not '../../etc'",
        ),
        (
            {"tenants": {"acme": {"time_zone": 1}}},
            "tenants.acme.time_zone must be a time zone like Europe/Berlin, not 1",
        ),
        (
            {"tenants": {"acme": {"services": None}}},
            "tenants.acme.services must be a mapping of names to values, not nothing",
        ),
        (
            {"tenants": {"acme": {"services": {"dusk": {}}}}},
            "tenants.acme.services.dusk is not a service that is known; known are desk",
        ),
    ],
)
def test_a_file_that_cannot_be_is_refused_with_one_sentence(
    files: Files, document: dict[str, Any], sentence: str
) -> None:
    assert files.refusal(tenants=document) == [f"tenants.yaml: {sentence}"]


_FOLDER = "it is the name of a folder, so it cannot be . or .. or hold a slash"


@pytest.mark.parametrize(
    ("tenant", "quoted", "reason"),
    [
        ("", "''", "it must have 1 to 100 characters"),
        ("x" * 101, "x" * 101, "it must have 1 to 100 characters"),
        (" acme", "' acme'", "it begins or ends with a blank"),
        ("acme\u00a0", r"'acme\xa0'", "it begins or ends with a blank"),
        ("ac\nme", r"'ac\nme'", "it holds a control character"),
        ("ac\u2028me", r"'ac\u2028me'", "it holds a control character"),
        ("..", "'..'", _FOLDER),
        ("a/../b", "'a/../b'", _FOLDER),
        ("a\\b", r"'a\\b'", _FOLDER),
    ],
)
def test_an_id_that_cannot_be_a_folder_or_a_name_is_refused(
    files: Files, tenant: str, quoted: str, reason: str
) -> None:
    assert files.refusal(tenants={"tenants": {tenant: {}}}) == [
        f"tenants.yaml: tenants.{quoted} cannot be a tenant's id: {reason}"
    ]


@pytest.mark.parametrize("tenant", ["a|b, [c]...%", "Müller & Söhne", "株式会社", "x" * 100, "..a", "no", "1"])
def test_any_other_text_can_be_an_id(files: Files, tenant: str) -> None:
    assert set(files.load(tenants={"tenants": {tenant: {}}}).tenants) == {tenant}
