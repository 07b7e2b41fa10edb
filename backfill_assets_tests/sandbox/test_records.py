"""Records have ConnectWise's shapes, and refer to records that exist."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from backfill_assets.sandbox.connectwise.records import COMPANIES, CONTACTS, SHARES, TICKETS, TIME_ENTRIES, TYPED_FIELDS
from backfill_assets.sandbox.selection import Box, Json, Selection
from backfill_assets.sandbox.server import SandboxConfig
from backfill_assets.sandbox.table import Table
from backfill_assets.sandbox.world import World
from backfill_assets_tests.sandbox.worlds import table_of, world_of


@pytest.fixture(scope="module")
def world() -> World:
    return world_of(SandboxConfig(until=datetime(2025, 6, 30, tzinfo=UTC)))


def some(table: Table) -> Iterator[Json]:
    return table.records(Selection(boxes=(Box(low=1, high=600),)))


@pytest.mark.parametrize("name", list(SHARES))
def test_the_version_of_a_record_is_its_moment(world: World, name: str) -> None:
    table = table_of(world, "acme", name)
    for record in some(table):
        version = datetime.fromisoformat(record["_info"]["lastUpdated"]).timestamp()
        assert version == table.moment(record["id"])
        assert record["_info"]["dateEntered"] <= record["_info"]["lastUpdated"]


@pytest.mark.parametrize("name", list(SHARES))
def test_every_table_holds_what_trips_careless_readers(world: World, name: str) -> None:
    records = list(some(table_of(world, "acme", name)))
    texts = json.dumps(records, ensure_ascii=False)
    assert any(ord(letter) > 127 for letter in texts)
    assert '\\"' in texts
    assert any(None in record.values() for record in records)
    assert any(record["customFields"] == [] for record in records)
    assert any(record["customFields"] and isinstance(record["customFields"][0], dict) for record in records)
    assert all(isinstance(record[TYPED_FIELDS[name]], bool | float) for record in records)


def test_empty_objects_and_empty_lists_occur(world: World) -> None:
    assert any(company["country"] == {} for company in some(table_of(world, "acme", COMPANIES)))
    contacts = list(some(table_of(world, "acme", CONTACTS)))
    assert {bool(contact["types"]) for contact in contacts} == {True, False}
    assert all(contact["relationship"] == {} for contact in contacts)


def test_only_some_time_entries_have_deducted_hours(world: World) -> None:
    table = table_of(world, "acme", TIME_ENTRIES)
    assert {"hoursDeduct" in entry for entry in some(table)} == {True, False}
    assert "hoursDeduct" in table.fields


def test_a_ticket_names_its_company_as_the_company_names_itself(world: World) -> None:
    companies = table_of(world, "acme", COMPANIES)
    for ticket in some(table_of(world, "acme", TICKETS)):
        company = companies.get(ticket["company"]["id"])
        assert company is not None
        assert [company["name"], company["identifier"]] == [ticket["company"]["name"], ticket["company"]["identifier"]]


def test_a_ticket_belongs_to_a_contact_that_exists(world: World) -> None:
    contacts = table_of(world, "acme", CONTACTS)
    named = [ticket["contact"] for ticket in some(table_of(world, "acme", TICKETS)) if ticket["contact"]]
    assert named
    assert all(contacts.get(contact["id"]) for contact in named)


def test_a_time_entry_is_charged_to_a_ticket_that_was_there(world: World) -> None:
    tickets, entries = table_of(world, "acme", TICKETS), table_of(world, "acme", TIME_ENTRIES)
    charged = [(entry, tickets.moment(entry["chargeToId"])) for entry in some(entries) if entry["chargeToId"]]
    assert len(charged) > 100
    for entry, moment in charged:
        assert moment is not None
        assert moment < (entries.moment(entry["id"]) or 0)
        assert entry["timeStart"] < entry["timeEnd"] <= entry["_info"]["lastUpdated"]


def test_records_do_not_depend_on_until() -> None:
    early = world_of(SandboxConfig(until=datetime(2025, 3, 1, tzinfo=UTC)))
    late = world_of(SandboxConfig(until=datetime(2025, 6, 30, tzinfo=UTC)))
    for name in SHARES:
        known = list(some(table_of(early, "initech", name)))
        assert known == [table_of(late, "initech", name).get(record["id"]) for record in known]
