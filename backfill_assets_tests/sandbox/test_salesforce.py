"""Salesforce over real HTTP: sessions, queries, pages, single records, limits, and what is refused."""

from typing import Any

import httpx
import pytest

from backfill_assets.sandbox.salesforce.records import SHARES
from backfill_assets.sandbox.salesforce.schema import OBJECTS
from backfill_assets.sandbox.server import SandboxConfig, SandboxServer
from backfill_assets.sandbox.traffic import Allowance
from backfill_assets_tests.sandbox.conftest import UNTIL
from backfill_assets_tests.sandbox.organisation import VERSION, Organisation, Pair, error_of, pairs, within

QUARTER = ("2024-01-01T00:00:00Z", "2024-04-01T00:00:00Z")
IN_QUARTER = within(*QUARTER)
EXPIRED = (401, "INVALID_SESSION_ID")


def in_time(found: list[Pair]) -> list[Pair]:
    return sorted(found, key=lambda pair: (pair[1], pair[0]))


def by_keyset(organisation: Organisation, name: str, size: int) -> list[Pair]:
    found: list[Pair] = []
    condition = IN_QUARTER
    order = f"ORDER BY SystemModstamp ASC, Id ASC LIMIT {size}"
    while page := organisation.records(f"SELECT Id, SystemModstamp FROM {name} WHERE {condition} {order}"):
        found += pairs(page)
        record_id, updated = found[-1]
        later = f"SystemModstamp > {updated} OR (SystemModstamp = {updated} AND Id > '{record_id}')"
        condition = f"SystemModstamp < {QUARTER[1]} AND ({later})"
    return found


@pytest.mark.parametrize("name", list(SHARES))
def test_every_way_of_paging_tiles_the_table_in_order(organisation: Organisation, name: str) -> None:
    soql = f"SELECT Id, SystemModstamp FROM {name} WHERE {IN_QUARTER} ORDER BY SystemModstamp, Id"
    with_gone, without = organisation.truth(name, *QUARTER), organisation.truth(name, *QUARTER, gone="0")
    assert len(with_gone) > len(without) > 50
    assert pairs(organisation.records(soql, size=7)) == in_time(without)
    assert pairs(organisation.records(soql, size=40, path="queryAll")) == in_time(with_gone)
    assert by_keyset(organisation, name, 30) == in_time(without)


@pytest.mark.parametrize("name", list(SHARES))
def test_the_count_equals_the_truth(organisation: Organisation, name: str) -> None:
    for condition, bounds in (("", ()), (f" WHERE {IN_QUARTER}", QUARTER)):
        soql = f"SELECT COUNT() FROM {name}{condition}"
        assert organisation.count(soql) == len(organisation.truth(name, *bounds, gone="0"))
        assert organisation.count(soql, "queryAll") == len(organisation.truth(name, *bounds))


def test_one_in_fifty_records_is_deleted_and_only_seen_when_asked_for(organisation: Organisation) -> None:
    soql = "SELECT Id, IsDeleted FROM Case"
    everything = organisation.records(soql, path="queryAll")
    gone = [record["Id"] for record in everything if record["IsDeleted"]]
    assert 0.01 < len(gone) / len(everything) < 0.03
    assert [record["Id"] for record in organisation.records(soql)] == [
        record["Id"] for record in everything if not record["IsDeleted"]
    ]
    assert error_of(organisation.get(f"sobjects/Case/{gone[0]}")) == (404, "ENTITY_IS_DELETED")
    named = f"SELECT Id FROM Case WHERE IsDeleted = true AND Id = '{gone[0]}'"
    assert (organisation.count(named), organisation.count(named, "queryAll")) == (0, 1)


def test_a_result_stays_what_it_was_while_records_move(organisation: Organisation, sandbox: httpx.Client) -> None:
    soql = f"SELECT Id FROM Lead WHERE {IN_QUARTER} ORDER BY SystemModstamp, Id"
    expected = organisation.records(soql)
    pages = organisation.pages(soql, size=20)
    read = next(pages)
    for record in expected[::5]:
        sandbox.put(f"/records/salesforce/acme/Lead/{record['Id']}", json={"lastUpdated": "2025-01-01T00:00:00Z"})
    assert read + [record for page in pages for record in page] == expected
    assert len(organisation.records(soql)) < len(expected)


def test_a_page_that_is_asked_for_again_is_the_same(organisation: Organisation) -> None:
    headers = {"Sforce-Query-Options": "batchSize=20"}
    first = organisation.get("query", headers, q=f"SELECT Id FROM Lead WHERE {IN_QUARTER}").json()
    second = organisation.client.get(first["nextRecordsUrl"], headers=headers).json()
    organisation.client.get(second["nextRecordsUrl"], headers=headers)
    assert organisation.client.get(first["nextRecordsUrl"], headers=headers).json() == second


@pytest.mark.parametrize(
    ("order", "key"),
    [
        ("Id DESC", lambda r: r["Id"]),
        ("SystemModstamp DESC, Id DESC", lambda r: (r["SystemModstamp"], r["Id"])),
        ("Priority DESC, Id DESC", lambda r: (r["Priority"], r["Id"])),
    ],
)
def test_records_come_in_the_order_asked_for(organisation: Organisation, order: str, key: Any) -> None:
    soql = f"SELECT Id, Priority, SystemModstamp FROM Case WHERE {IN_QUARTER} ORDER BY {order}"
    found = [key(record) for record in organisation.records(soql, size=50)]
    assert found == sorted(found, reverse=True)


def test_limit_and_offset_cut_a_result(organisation: Organisation) -> None:
    soql = "SELECT Id FROM Contact WHERE HasOptedOutOfEmail = true ORDER BY LastName"
    everything = organisation.records(soql)
    answer = organisation.get("query", q=f"{soql} LIMIT 30 OFFSET 20").json()
    assert answer["records"] == everything[20:50]
    assert answer["totalSize"] == 30
    assert organisation.records(f"{soql} LIMIT 30 OFFSET 20", size=7) == everything[20:50]


def test_a_record_has_the_types_that_its_description_tells(organisation: Organisation) -> None:
    kinds: dict[str, type | tuple[type, ...]] = {"boolean": bool, "currency": float, "int": int, "address": dict}
    for name in OBJECTS:
        fields = organisation.get(f"sobjects/{name}/describe").json()["fields"]
        names = ", ".join(field["name"] for field in fields)
        (record,) = organisation.records(f"SELECT {names} FROM {name} LIMIT 1")
        assert record.pop("attributes")["url"].endswith(f"/{VERSION}/sobjects/{name}/{record['Id']}")
        assert list(record) == [field["name"] for field in fields]
        wrong = [
            field["name"]
            for field in fields
            if record[field["name"]] is not None
            and not isinstance(record[field["name"]], kinds.get(field["type"], (str, float)))
        ]
        assert wrong == []
        assert organisation.get(f"sobjects/{name}/{record['Id']}").json().items() >= record.items()


def test_ids_are_in_the_order_of_their_texts_and_may_lack_their_check(organisation: Organisation) -> None:
    ids = [record["Id"] for record in organisation.records("SELECT Id FROM Opportunity ORDER BY Id LIMIT 500")]
    assert ids == sorted(ids)
    assert {(len(each), each[:3]) for each in ids} == {(18, "006")}
    assert organisation.get(f"sobjects/Opportunity/{ids[70][:15]}").json()["Id"] == ids[70]
    named = organisation.records(f"SELECT Id FROM Opportunity WHERE Id IN ('{ids[9]}', '{ids[3][:15]}')")
    assert [record["Id"] for record in named] == [ids[3], ids[9]]


@pytest.mark.parametrize(
    ("soql", "code"),
    [
        ("SELECT Id FROM", "MALFORMED_QUERY"),
        ("SELECT Id FROM Case WHERE IsClosed = true AND Status = 'New' OR Id = null", "MALFORMED_QUERY"),
        ("SELECT Unheard FROM Case", "INVALID_FIELD"),
        ("SELECT Id FROM Case WHERE SystemModstamp > '2024-01-01T00:00:00Z'", "INVALID_FIELD"),
        ("SELECT Id FROM Unicorn", "INVALID_TYPE"),
        ("SELECT Id FROM Case LIMIT 5 OFFSET 2001", "NUMBER_OUTSIDE_VALID_RANGE"),
        ("", "MALFORMED_QUERY"),
    ],
)
def test_a_query_that_makes_no_sense_is_refused(organisation: Organisation, soql: str, code: str) -> None:
    assert error_of(organisation.get("query", q=soql)) == (400, code)


@pytest.mark.parametrize("path", ["nothing", "sobjects/Unicorn/describe", "sobjects/Case/5005f0000zzzzzzAAA"])
def test_what_is_not_there_is_not_found(organisation: Organisation, path: str) -> None:
    assert error_of(organisation.get(path)) == (404, "NOT_FOUND")


def test_a_place_in_no_result_is_refused(organisation: Organisation) -> None:
    assert error_of(organisation.get("query/01g5f0000999999AAA-2000")) == (400, "INVALID_QUERY_LOCATOR")


def test_only_reading_is_allowed(organisation: Organisation) -> None:
    answer = organisation.client.post(f"/{VERSION}/sobjects/Case", json={})
    assert error_of(answer) == (405, "METHOD_NOT_ALLOWED")


def test_versions_are_told_without_signing_in(server: SandboxServer) -> None:
    base = server.base_url("salesforce", "acme")
    assert "58.0" in [each["version"] for each in httpx.get(f"{base}/services/data").json()]
    assert httpx.get(f"{base}/{VERSION}/limits").status_code == 401


@pytest.mark.parametrize("grant", ["password", "client_credentials"])
def test_signing_in_gives_a_token_and_the_address_of_the_instance(
    organisation: Organisation, server: SandboxServer, grant: str
) -> None:
    told = organisation.ask_for_token(grant_type=grant).json()
    assert told["instance_url"] == server.base_url("salesforce", "acme")
    assert (told["token_type"], told["issued_at"].isdigit()) == ("Bearer", True)
    headers = {"Authorization": f"Bearer {told['access_token']}"}
    assert httpx.get(f"{told['instance_url']}/{VERSION}/limits", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"password": "wrong"}, "invalid_grant"),
        ({"username": "somebody"}, "invalid_grant"),
        ({"client_id": "other"}, "invalid_client_id"),
        ({"client_secret": "other"}, "invalid_client"),
        ({"grant_type": "magic"}, "unsupported_grant_type"),
    ],
)
def test_who_signs_in_wrongly_is_told_why(organisation: Organisation, changed: dict[str, str], error: str) -> None:
    answer = organisation.ask_for_token(**changed)
    assert (answer.status_code, answer.json()["error"]) == (400, error)
    assert set(answer.json()) == {"error", "error_description"}


def test_a_security_token_may_follow_the_password(organisation: Organisation) -> None:
    assert organisation.ask_for_token(password="acme-passwordstand-in-security-token").status_code == 200


def test_tokens_expire_on_request_and_in_the_middle_of_a_result(
    organisation: Organisation, sandbox: httpx.Client
) -> None:
    first = organisation.get("query", {"Sforce-Query-Options": "batchSize=20"}, q="SELECT Id FROM Lead").json()
    sandbox.delete("/sessions", params={"tenant": "globex"}).raise_for_status()
    assert organisation.get("limits").status_code == 200
    sandbox.delete("/sessions", params={"tenant": "acme"}).raise_for_status()
    assert error_of(organisation.client.get(first["nextRecordsUrl"])) == EXPIRED
    organisation.client.headers["Authorization"] = f"Bearer {organisation.sign_in()}"
    assert organisation.client.get(first["nextRecordsUrl"]).json()["records"]


def test_a_token_lasts_as_many_requests_as_is_configured() -> None:
    config = SandboxConfig(until=UNTIL, requests_per_token=2, salesforce_page_size=10)
    with SandboxServer(config) as server, Organisation(server, "acme") as acme:
        first = acme.get("query", q="SELECT Id FROM Lead")
        assert (first.status_code, len(first.json()["records"])) == (200, 10)
        assert acme.get("limits").status_code == 200
        assert error_of(acme.get("limits")) == EXPIRED


def test_another_tenants_token_is_none(organisation: Organisation, server: SandboxServer) -> None:
    token = organisation.client.headers["Authorization"]
    answer = httpx.get(f"{server.base_url('salesforce', 'globex')}/{VERSION}/limits", headers={"Authorization": token})
    assert error_of(answer) == EXPIRED


def test_every_answer_says_how_much_of_the_limit_is_used_and_the_last_one_is_refused() -> None:
    config = SandboxConfig(until=UNTIL, allowances={"salesforce": Allowance(requests=3, seconds=600)})
    with SandboxServer(config) as server, Organisation(server, "acme") as acme:
        answers = [acme.get("limits") for _ in range(4)]
    assert [answer.headers["Sforce-Limit-Info"] for answer in answers] == [
        f"api-usage={used}/3" for used in (1, 2, 3, 3)
    ]
    assert answers[0].json()["DailyApiRequests"] == {"Max": 3, "Remaining": 2}
    assert error_of(answers[-1]) == (403, "REQUEST_LIMIT_EXCEEDED")
    assert answers[-1].json()[0]["message"] == "TotalRequests Limit exceeded."
