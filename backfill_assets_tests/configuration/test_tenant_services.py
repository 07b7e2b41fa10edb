"""What an item of `TenantServices` means, in both shapes, and what is said of one that means nothing."""

from decimal import Decimal
from typing import Any

import pytest

from backfill_assets.configuration.tenant_services import Entry, ItemReader
from backfill_assets_tests.configuration.settings_under_test import DESK, DESK_ADDRESS

ACME = "DynamoDB table T: tenant_id acme"
LEFT_OUT = "this service is left out"
MALFORMED: list[dict[str, Any]] = [{}, {"service": 5}, {"services": ["desk"]}, {"services": {"desk": "on"}}]


def read(*items: dict[str, Any], environment: str | None = None) -> tuple[list[Entry], list[str]]:
    reader = ItemReader(table="T", environment=environment, builtin={"desk": DESK})
    return list(reader.entries(items)), reader.notes


def flat(**said: Any) -> dict[str, Any]:
    return {"tenant_id": "acme", "service": "desk", "enabled": True, **said}


def nested(**said: Any) -> dict[str, Any]:
    return {"tenant_id": "acme", "services": {"desk": {"enabled": "True", **said}}}


def test_an_item_as_installations_have_it_needs_no_note() -> None:
    tables = ["service/tickets", "time/entries"]
    item = flat(
        desk_url=DESK_ADDRESS,
        secret_name="acme/desk",
        tables=tables,
        custom_config="{}",
        company_name="Acme",
        created_at="2025-06-18T20:55:01Z",
        updated_at="2025-06-18T20:55:01Z",
    )
    [entry], notes = read(item)
    assert notes == []
    assert (entry.tenant, entry.service, entry.secret_name, entry.time_zone) == ("acme", "desk", "acme/desk", "UTC")
    assert (entry.section.enabled, entry.section.base_url, entry.section.tables) == (True, DESK_ADDRESS, tuple(tables))


@pytest.mark.parametrize(
    ("said", "enabled"),
    [(True, True), (False, False), ("True", True), ("true", True), ("False", False), (" FALSE", False)],
)
def test_on_and_off_are_flags_or_texts(said: object, enabled: bool) -> None:
    for item in (flat(enabled=said), nested(enabled=said)):
        [entry], notes = read(item)
        assert (entry.section.enabled, notes) == (enabled, [])


def test_a_nested_tenant_that_is_off_has_all_of_its_services_off() -> None:
    [entry], _ = read({**nested(), "enabled": "False"})
    assert not entry.section.enabled


def test_a_secret_that_is_not_named_is_the_tenants_in_this_environment() -> None:
    for item in (flat(), nested()):
        assert read(item, environment="prod")[0][0].secret_name == "tenant/acme/prod"
        assert read(item)[0][0].secret_name is None


def test_a_table_is_known_by_its_name_its_slug_or_its_last_part() -> None:
    for name in ("time/entries", "time_entries", "Entries"):
        assert read(flat(tables=[name]))[0][0].section.tables == ("time/entries",)
    assert read(flat(tables=[]))[0][0].section.tables is None


def test_backfill_hours_come_from_the_custom_config() -> None:
    for config in (
        '{"backfill_hours": {"start": 22, "end": 6}}',
        {"backfill_hours": {"start": Decimal(22), "end": "6:00"}},
    ):
        [entry], notes = read(flat(custom_config=config))
        assert (str(entry.section.backfill_hours), notes) == ("22:00-06:00", [])


def test_numbers_come_from_the_custom_config_under_old_and_new_names() -> None:
    for config in ('{"default_lookback_days": 365, "page_size": 50}', {"lookback_days": Decimal(365), "page_size": 50}):
        [entry], notes = read(flat(custom_config=config))
        assert (entry.section.lookback_days, entry.section.page_size, notes) == (365, 50, [])


def test_of_two_items_about_one_service_the_flat_one_counts() -> None:
    entries, notes = read(nested(api_url="https://nested"), flat(desk_url="https://flat"))
    assert [entry.section.base_url for entry in entries] == ["https://flat"]
    assert notes == [f"{ACME} service desk is there twice; the item with that sort key was read"]


def test_several_items_make_one_tenant() -> None:
    entries, _ = read(flat(), {**nested(), "services": {"halo": {"enabled": "True"}}})
    assert [(entry.tenant, entry.service) for entry in entries] == [("acme", "desk"), ("acme", "halo")]


@pytest.mark.parametrize(
    ("item", "note"),
    [
        (
            {"service": "desk"},
            "DynamoDB table T: tenant_id None cannot be a tenant's id: it is no text; correct the item",
        ),
        (
            {"tenant_id": "../x", "service": "desk"},
            (
                "DynamoDB table T: tenant_id '../x' cannot be a tenant's id: it is the name of a folder, so it cannot "
                "be . or .. or hold a slash; correct the item"
            ),
        ),
        *(
            (
                {"tenant_id": "acme", **said},
                (
                    f"{ACME} has neither a service, which is a text, nor services, which are maps by name; "
                    "correct the item"
                ),
            )
            for said in MALFORMED
        ),
        (flat(time_zone="Mars"), f"{ACME}: time_zone must be a time zone like Europe/Berlin, not 'Mars'"),
        (flat(enabled="yes"), f"{ACME} service desk: enabled must be true or false; {LEFT_OUT}"),
        (flat(enabled=Decimal(1)), f"{ACME} service desk: enabled must be true or false; {LEFT_OUT}"),
        (flat(custom_config="hush-hush"), f"{ACME} service desk: custom_config is no JSON object; {LEFT_OUT}"),
        (flat(custom_config="[1]"), f"{ACME} service desk: custom_config is no JSON object; {LEFT_OUT}"),
        (
            flat(custom_config='{"lookback_days": "x"}'),
            f"{ACME} service desk: lookback_days must be a positive whole number, not 'x'; {LEFT_OUT}",
        ),
        (flat(tables="all"), f"{ACME} service desk: tables must be a list of names; {LEFT_OUT}"),
        (
            flat(desk_url="https://a", api_url="https://b"),
            f"{ACME} service desk: desk_url and api_url name different addresses; {LEFT_OUT}",
        ),
        (flat(secret_name="a b"), f"{ACME} service desk: secret_name is no name that a secret can have; {LEFT_OUT}"),
        (flat(secret_name=5), f"{ACME} service desk: secret_name is no name that a secret can have; {LEFT_OUT}"),
    ],
)
def test_what_is_malformed_is_told_with_table_and_key_and_stops_no_other(item: dict[str, Any], note: str) -> None:
    other = {**flat(), "tenant_id": "globex"}
    entries, notes = read(item, other)
    assert [entry.tenant for entry in entries] == ["globex"]
    assert notes == [note]


def test_tables_that_do_not_exist_are_told_and_the_others_are_read() -> None:
    [entry], notes = read(flat(tables=["procurement/products", "time/entries"]))
    assert entry.section.tables == ("time/entries",)
    assert notes == [f"{ACME} service desk: tables names procurement/products, but there is no such table"]
    entries, notes = read(flat(tables=["products"]))
    assert entries == []
    assert notes[-1] == f"{ACME} service desk: tables names none that is known; {LEFT_OUT}"


def test_what_is_not_said_or_not_used_is_a_note() -> None:
    item = flat(custom_config='{"color": "red"}')
    del item["enabled"]
    [entry], notes = read(item)
    assert not entry.section.enabled
    assert notes == [
        f"{ACME} service desk: this version has no use for color in custom_config",
        f"{ACME} service desk does not say whether it is enabled; it counts as off",
    ]
