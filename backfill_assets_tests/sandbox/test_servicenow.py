"""ServiceNow over real HTTP: credentials, addresses, queries, pages, counts, and how records are shown."""

from typing import Any

import httpx
import pytest

from backfill_assets.sandbox.server import SandboxConfig, SandboxServer
from backfill_assets.sandbox.servicenow.records import REFERENCES, SHARES
from backfill_assets.sandbox.traffic import Allowance
from backfill_assets_tests.sandbox.conftest import UNTIL
from backfill_assets_tests.sandbox.instance import BY_TIME, Instance, between, in_time, pairs

QUARTER = ("2024-01-01", "2024-04-01")
MARCH = between("2024-03-01", "2024-04-01")
INCIDENT = "incident"


def error_of(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()
    assert set(body) == {"error", "status"}
    assert set(body["error"]) == {"message", "detail"}
    assert body["status"] == "failure"
    return answer.status_code, body["error"]["message"]


@pytest.mark.parametrize("table", list(SHARES))
def test_every_way_of_paging_tiles_the_table_in_order(instance: Instance, table: str) -> None:
    truth = in_time(instance.truth(table, *QUARTER))
    assert len(truth) > 20
    assert instance.by_keyset(table, *QUARTER, size=7) == truth
    assert instance.by_offset(table, f"{between(*QUARTER)}^{BY_TIME}", size=50) == truth
    assert sorted(instance.by_offset(table, between(*QUARTER), size=30)) == sorted(truth)


@pytest.mark.parametrize("table", list(SHARES))
def test_the_count_equals_the_truth(instance: Instance, table: str) -> None:
    assert instance.count(table) == len(instance.truth(table))
    assert instance.count(table, between(*QUARTER)) == len(instance.truth(table, *QUARTER))
    assert int(instance.get(table, between(*QUARTER), limit=1).headers["X-Total-Count"]) == instance.count(
        table, between(*QUARTER)
    )


def test_the_order_of_ids_is_the_order_of_their_texts(instance: Instance) -> None:
    ids = [record["sys_id"] for record in instance.records(INCIDENT, f"{MARCH}^ORDERBYsys_id")]
    assert ids == sorted(ids)
    assert {len(each) for each in ids} == {32}
    assert [each["sys_id"] for each in instance.records(INCIDENT, f"{MARCH}^ORDERBYDESCsys_id")] == ids[::-1]


@pytest.mark.parametrize(
    ("order", "key"),
    [
        ("ORDERBYDESCsys_updated_on^ORDERBYDESCsys_id", lambda r: (r["sys_updated_on"], r["sys_id"])),
        ("ORDERBYDESCpriority^ORDERBYDESCsys_id", lambda r: (r["priority"], r["sys_id"])),
        ("ORDERBYDESCshort_description", lambda r: r["short_description"].casefold()),
    ],
)
def test_records_come_in_the_order_asked_for(instance: Instance, order: str, key: Any) -> None:
    found = [key(record) for record in instance.records(INCIDENT, f"{MARCH}^{order}")]
    assert found == sorted(found, reverse=True)


def test_a_parameter_that_does_not_exist_is_ignored(instance: Instance) -> None:
    plain = instance.records(INCIDENT, MARCH, limit=30)
    assert instance.records(INCIDENT, MARCH, limit=30, order_by="sys_updated_on") == plain
    assert [each["sys_id"] for each in plain] == sorted(each["sys_id"] for each in plain)


def test_other_conditions_are_evaluated_on_the_records(instance: Instance) -> None:
    every = instance.records(INCIDENT, MARCH)
    query = f"{MARCH}^active=true^priority=1^ORpriority=2^short_descriptionLIKEprinter"
    expected = [
        r
        for r in every
        if r["active"] == "true" and r["priority"] in "12" and "printer" in r["short_description"].lower()
    ]
    assert instance.records(INCIDENT, query) == expected
    assert 0 < instance.count(INCIDENT, query) == len(expected) < len(every)


def test_a_condition_may_look_into_another_table(instance: Instance) -> None:
    people = {r["sys_id"]: r for r in instance.records("sys_user")}
    found = instance.records(INCIDENT, f"{MARCH}^caller_id.last_name=Brown", exclude_reference_link="true")
    assert found
    assert {people[r["caller_id"]]["last_name"] for r in found} == {"Brown"}


def test_a_condition_on_a_field_that_does_not_exist_is_not_there(instance: Instance) -> None:
    assert instance.count(INCIDENT, f"{MARCH}^no_such_field=1") == instance.count(INCIDENT, MARCH)
    assert instance.count(INCIDENT, f"{MARCH}^caller_id.no_such_field=1") == instance.count(INCIDENT, MARCH)


@pytest.mark.parametrize("table", list(SHARES))
def test_every_value_is_a_text_and_every_reference_leads_somewhere(instance: Instance, table: str) -> None:
    for record in instance.records(table, limit=20):
        for name, value in record.items():
            if name in REFERENCES[table] and value:
                assert instance.client.get(value["link"]).json()["result"]["sys_id"] == value["value"]
            else:
                assert isinstance(value, str)


def test_references_are_plain_ids_when_links_are_not_wanted(instance: Instance) -> None:
    (linked,) = instance.records(INCIDENT, limit=1)
    (plain,) = instance.records(INCIDENT, limit=1, exclude_reference_link="true")
    assert plain["caller_id"] == linked["caller_id"]["value"]


def test_only_the_fields_asked_for_are_shown_even_of_other_tables(instance: Instance) -> None:
    fields = "sys_id,caller_id.name,caller_id.company.name,no_such_field"
    (shown,) = instance.records(INCIDENT, limit=1, fields=fields)
    assert list(shown) == ["sys_id", "caller_id.name", "caller_id.company.name"]
    assert all(shown.values())


@pytest.mark.parametrize(("display", "kind"), [("all", dict), ("true", str)])
def test_values_can_be_shown_as_people_see_them(instance: Instance, display: str, kind: type) -> None:
    (shown,) = instance.records(INCIDENT, limit=1, display_value=display)
    assert {type(value) for name, value in shown.items() if name not in REFERENCES[INCIDENT]} == {kind}
    assert shown["caller_id"]["display_value"]


def test_links_lead_to_the_neighbours_of_a_page(instance: Instance) -> None:
    total = instance.count(INCIDENT, MARCH)
    middle = instance.get(INCIDENT, MARCH, limit=50, offset=100)
    offsets = {name: httpx.URL(link["url"]).params["sysparm_offset"] for name, link in middle.links.items()}
    assert offsets == {"first": "0", "prev": "50", "next": "150", "last": str((total - 1) // 50 * 50)}
    last = instance.client.get(middle.links["last"]["url"])
    assert set(last.links) == {"first", "prev", "last"}
    assert len(last.json()["result"]) == total % 50 or 50


def test_no_count_drops_the_count_and_the_last_page(instance: Instance) -> None:
    answer = instance.get(INCIDENT, MARCH, limit=50, no_count="true")
    assert "X-Total-Count" not in answer.headers
    assert set(answer.links) == {"first", "next"}
    assert instance.get(INCIDENT, MARCH, limit=50, suppress_pagination_header="true").links == {}


def test_a_page_after_the_last_is_empty(instance: Instance) -> None:
    answer = instance.get(INCIDENT, MARCH, offset=90_000)
    assert (answer.status_code, answer.json()) == (200, {"result": []})
    assert "next" not in answer.links


def test_one_record_is_read_by_its_id(instance: Instance) -> None:
    (record,) = instance.records(INCIDENT, limit=1)
    assert instance.client.get(f"/table/{INCIDENT}/{record['sys_id']}").json() == {"result": record}
    for missing in ("0" * 32, "short"):
        answer = instance.client.get(f"/table/{INCIDENT}/{missing}")
        assert error_of(answer) == (404, "No Record found")


def test_a_named_list_of_ids_is_read_at_once(instance: Instance) -> None:
    wanted = [record["sys_id"] for record in instance.records(INCIDENT, MARCH, limit=100)]
    found = instance.records(INCIDENT, f"sys_idIN{','.join([*wanted[::3], 'f' * 32])}^{BY_TIME}")
    assert sorted(each["sys_id"] for each in found) == sorted(wanted[::3])
    assert pairs(found) == in_time(pairs(found))


def test_an_unknown_table_is_named(instance: Instance) -> None:
    assert error_of(instance.get("unicorn")) == (400, "Invalid table unicorn")
    assert error_of(instance.client.get("/stats/unicorn")) == (400, "Invalid table unicorn")


def test_an_address_that_is_none_is_refused(instance: Instance, server: SandboxServer) -> None:
    status, message = error_of(instance.client.get("/tables"))
    assert (status, message.startswith("Requested URI does not represent any resource")) == (400, True)
    assert httpx.get(f"{server.base_url('servicenow', 'umbrella')}/api/now/table/incident").status_code == 404
    assert error_of(instance.client.post("/table/incident", json={}))[0] == 405


@pytest.mark.parametrize("auth", [None, ("acme-user", "wrong"), ("globex-user", "globex-password")])
def test_wrong_credentials_are_refused(server: SandboxServer, auth: tuple[str, str] | None) -> None:
    answer = httpx.get(f"{server.base_url('servicenow', 'acme')}/api/now/table/incident", auth=auth)
    assert error_of(answer) == (401, "User Not Authenticated")


def test_a_tenant_over_its_limit_is_told_when_to_come_back() -> None:
    allowance = {"servicenow": Allowance(requests=2, seconds=10)}
    config = SandboxConfig(until=UNTIL, allowances=allowance)
    with SandboxServer(config) as server, Instance(server, "acme") as acme, Instance(server, "globex") as globex:
        answers = [acme.get(INCIDENT, limit=1) for _ in range(3)]
        assert globex.get(INCIDENT, limit=1).status_code == 200
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert {answer.headers["X-RateLimit-Limit"] for answer in answers} == {"720"}
    assert all(
        int(answer.headers["X-RateLimit-Reset"]) > 0 and answer.headers["X-RateLimit-Rule"] for answer in answers
    )
    assert 9 <= int(answers[-1].headers["Retry-After"]) <= 10
    assert error_of(answers[-1])[1].startswith("Rate limit exceeded")
