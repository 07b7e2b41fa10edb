"""ConnectWise over real HTTP: credentials, addresses, conditions, order, pages, counts."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from backfill_assets.sandbox.connectwise.account import credentials
from backfill_assets.sandbox.connectwise.records import SHARES
from backfill_assets.sandbox.dataset import TENANTS
from backfill_assets.sandbox.server import SandboxServer
from backfill_assets_tests.sandbox.account import FORWARD_ONLY, TICKETS, Account, between, pairs

WEEK = ("2024-01-01T00:00:00Z", "2024-01-08T00:00:00Z")
YEAR = ("2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z")


@pytest.fixture(params=TENANTS)
def account(server: SandboxServer, request: pytest.FixtureRequest) -> Iterator[Account]:
    with Account(server, request.param) as opened:
        yield opened


def error_of(answer: httpx.Response) -> dict[str, Any]:
    body = answer.json()
    assert set(body) == {"code", "message", "errors"}
    return dict(body)


@pytest.mark.parametrize("table", list(SHARES))
@pytest.mark.parametrize("size", [7, 1000])
def test_keyset_paging_over_a_range_returns_exactly_the_truth(account: Account, table: str, size: int) -> None:
    start, end = ("2024-01-01T00:00:00Z", "2024-03-01T00:00:00Z") if size == 7 else YEAR
    found = account.by_keyset(table, between(start, end), size)
    assert found == sorted(account.truth(table, start, end))
    assert found


@pytest.mark.parametrize("table", list(SHARES))
def test_page_mode_and_forward_only_mode_agree_with_the_truth(account: Account, table: str) -> None:
    truth = sorted(account.truth(table, *YEAR))
    wanted = between(*YEAR)
    assert account.by_links(table, conditions=wanted, pageSize=300, orderBy="id asc") == truth
    assert account.by_links(table, FORWARD_ONLY, conditions=wanted, pageSize=300) == truth


def test_everything_is_found_without_any_condition(acme: Account) -> None:
    truth = sorted(acme.truth(TICKETS))
    assert acme.by_links(TICKETS, pageSize=1000) == truth
    assert acme.by_links(TICKETS, FORWARD_ONLY, pageSize=1000) == truth
    assert acme.by_keyset(TICKETS, "id > 0", 1000) == truth


@pytest.mark.parametrize(
    ("order", "key"),
    [
        ("id desc", lambda pair: (-pair[0],)),
        ("lastUpdated asc", lambda pair: (pair[1], pair[0])),
        ("_info/lastUpdated asc, id asc", lambda pair: (pair[1], pair[0])),
    ],
)
def test_records_come_in_the_order_asked_for(acme: Account, order: str, key: Any) -> None:
    found = acme.by_links(TICKETS, conditions=between(*YEAR), orderBy=order, pageSize=500)
    assert found == sorted(acme.truth(TICKETS, *YEAR), key=key)


def test_latest_first_is_earliest_first_the_other_way_round(acme: Account) -> None:
    found = acme.by_links(TICKETS, conditions=between(*YEAR), orderBy="lastUpdated desc", pageSize=500)
    assert found == sorted(acme.truth(TICKETS, *YEAR), key=lambda pair: (pair[1], pair[0]), reverse=True)


@pytest.mark.parametrize("table", list(SHARES))
def test_the_count_equals_the_truth(account: Account, table: str) -> None:
    assert account.count(table) == len(account.truth(table))
    assert account.count(table, between(*WEEK)) == len(account.truth(table, *WEEK))
    assert account.count(table, f"{between(*YEAR)} and id > 500") == sum(
        record_id > 500 for record_id, _ in account.truth(table, *YEAR)
    )


def test_other_conditions_are_evaluated_on_the_records(acme: Account) -> None:
    every = acme.records(TICKETS, conditions=between(*WEEK), pageSize=1000)
    wanted = f'{between(*WEEK)} and closedFlag = False and board/name in ("Help Desk", "Projects")'
    expected = [r for r in every if not r["closedFlag"] and r["board"]["name"] in ("Help Desk", "Projects")]
    assert acme.records(TICKETS, conditions=wanted, pageSize=1000) == expected
    assert 0 < acme.count(TICKETS, wanted) == len(expected) < len(every)


def test_a_record_on_the_boundary_belongs_to_the_range_it_begins(acme: Account) -> None:
    boundary = "2024-02-01T00:00:00Z"
    before = acme.by_keyset(TICKETS, between("2024-01-01T00:00:00Z", boundary), 1000)
    after = acme.by_keyset(TICKETS, between(boundary, "2024-03-01T00:00:00Z"), 1000)
    assert boundary in {updated for _, updated in after}
    assert boundary not in {updated for _, updated in before}
    assert "2024-01-31T23:59:59Z" in {updated for _, updated in before}
    assert sorted(before + after) == sorted(acme.truth(TICKETS, "2024-01-01T00:00:00Z", "2024-03-01T00:00:00Z"))


def test_both_names_of_the_update_time_select_the_same(acme: Account) -> None:
    short = between(*WEEK)
    assert acme.records(TICKETS, conditions=short) == acme.records(
        TICKETS, conditions=short.replace("lastUpdated", "_info/lastUpdated")
    )


def test_a_page_holds_25_records_unless_asked_otherwise(acme: Account) -> None:
    assert len(acme.records(TICKETS)) == 25
    assert len(acme.records(TICKETS, pageSize=1000)) == 1000


def test_links_lead_to_the_next_and_the_last_page(acme: Account) -> None:
    total = acme.count(TICKETS, between(*YEAR))
    answer = acme.get(TICKETS, conditions=between(*YEAR), pageSize=200)
    assert httpx.URL(answer.links["next"]["url"]).params["page"] == "2"
    last = acme.client.get(answer.links["last"]["url"])
    assert httpx.URL(answer.links["last"]["url"]).params["page"] == str(-(-total // 200))
    assert len(last.json()) == total % 200 or 200
    assert "next" not in last.links


def test_a_page_after_the_last_is_empty(acme: Account) -> None:
    assert acme.records(TICKETS, conditions=between(*WEEK), page=400) == []


def test_one_record_is_read_by_its_id(acme: Account) -> None:
    record = acme.records(TICKETS)[3]
    assert acme.get(f"{TICKETS}/{record['id']}").json() == record
    missing = acme.get(f"{TICKETS}/999999999")
    assert missing.status_code == 404
    assert error_of(missing)["code"] == "NotFound"


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"conditions": "id >"}, "conditions"),
        ({"conditions": 'lastUpdated > "2024-01-01"'}, "conditions"),
        ({"conditions": "unheardOf = 1"}, "conditions"),
        ({"pageSize": 1001}, "pageSize"),
        ({"pageSize": 0}, "pageSize"),
        ({"pageSize": "many"}, "pageSize"),
        ({"page": 0}, "page"),
        ({"page": -1}, "page"),
        ({"orderBy": "summary asc"}, "orderBy"),
        ({"orderBy": "id sideways"}, "orderBy"),
        ({"orderBy": "lastUpdated asc, id desc"}, "orderBy"),
        ({"orderBy": ""}, "orderBy"),
    ],
)
def test_a_query_that_makes_no_sense_is_refused(acme: Account, parameters: dict[str, Any], field: str) -> None:
    answer = acme.get(TICKETS, **parameters)
    assert answer.status_code == 400
    (detail,) = error_of(answer)["errors"]
    assert detail["field"] == field
    assert detail["resource"] == "ticket"


@pytest.mark.parametrize(
    "endpoint", ["service/boards", "service/tickets/count/more", "service/boards/count", "tickets"]
)
def test_an_unknown_endpoint_is_not_found(acme: Account, endpoint: str) -> None:
    answer = acme.get(endpoint)
    assert answer.status_code == 404
    assert error_of(answer)["code"] == "NotFound"


def test_only_current_codebases_are_known(acme: Account, server: SandboxServer) -> None:
    base = server.base_url("connectwise", "acme")
    assert acme.client.get(f"{base}/v4_6_release/apis/3.0/system/info").json()["version"]
    gone = acme.client.get(f"{base}/v2019_1/apis/3.0/system/info")
    assert gone.status_code == 404
    assert error_of(gone)["code"] == "NotFound"


def test_the_codebase_is_told_without_signing_in(server: SandboxServer) -> None:
    base = server.base_url("connectwise", "globex")
    told = httpx.get(f"{base}/login/companyinfo/globex").json()
    assert (told["Codebase"], told["CompanyID"]) == ("v2024_1/", "globex")
    assert told["SiteUrl"]
    assert httpx.get(f"{base}/login/companyinfo/other").status_code == 404


def test_an_unknown_tenant_is_not_found(server: SandboxServer) -> None:
    answer = httpx.get(f"{server.base_url('connectwise', 'umbrella')}/v2024_1/apis/3.0/system/info")
    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("user", "password", "headers", "complaint"),
    [
        ("acme+acme-public", "wrong", {"clientId": "x"}, "private key"),
        ("acme+wrong", "acme-private", {"clientId": "x"}, "public key"),
        ("globex+globex-public", "globex-private", {"clientId": "x"}, "company"),
        ("acme+acme-public", "acme-private", {}, "clientId"),
        ("", "", {"clientId": "x"}, "missing"),
    ],
)
def test_wrong_credentials_are_refused(
    server: SandboxServer, user: str, password: str, headers: dict[str, str], complaint: str
) -> None:
    url = f"{server.base_url('connectwise', 'acme')}/v2024_1/apis/3.0/{TICKETS}"
    answer = httpx.get(url, auth=(user, password) if user else None, headers=headers)
    assert answer.status_code == 401
    error = error_of(answer)
    assert error["code"] == "Unauthorized"
    assert complaint in error["message"]
    assert error["errors"] == []


def test_the_name_of_the_client_header_may_be_written_in_any_case(server: SandboxServer) -> None:
    keys = credentials("acme")
    url = f"{server.base_url('connectwise', 'acme')}/v2024_1/apis/3.0/system/info"
    user = f"{keys['company_id']}+{keys['public_key']}"
    for name in ("clientId", "ClientID", "clientid"):
        answer = httpx.get(url, auth=(user, keys["private_key"]), headers={name: keys["client_id"]})
        assert answer.status_code == 200


def test_nothing_can_be_written(acme: Account) -> None:
    assert acme.client.post(f"/{TICKETS}", json={}).status_code == 405


def test_unicode_and_quotes_travel_unharmed(acme: Account) -> None:
    texts = {record["name"] for record in acme.records("company/companies", pageSize=1000)}
    assert any("日本" in text for text in texts)
    assert any('"' in text for text in texts)
    assert pairs(acme.records(TICKETS)) == pairs(acme.records(TICKETS))


def test_only_the_fields_asked_for_are_sent(acme: Account) -> None:
    whole = acme.records(TICKETS, conditions=between(*WEEK))
    narrow = acme.records(TICKETS, conditions=between(*WEEK), fields="id,_info/lastUpdated")
    assert narrow == [{"id": r["id"], "_info": {"lastUpdated": r["_info"]["lastUpdated"]}} for r in whole]
    (one, *_) = acme.records(TICKETS, conditions=between(*WEEK), fields="summary, board/name,board/id,nothing")
    assert one == {
        "summary": whole[0]["summary"],
        "board": {"name": whole[0]["board"]["name"], "id": whole[0]["board"]["id"]},
    }
    assert acme.get(f"{TICKETS}/{whole[0]['id']}", fields="id").json() == {"id": whole[0]["id"]}
