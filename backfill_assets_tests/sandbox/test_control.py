"""What is asked of the sandbox itself: changed records, the truth, the requests seen."""

from hashlib import sha256
from typing import Any

import httpx
import pytest

from backfill_assets.sandbox.truth import digest, line
from backfill_assets_tests.sandbox.account import FORWARD_ONLY, TICKETS, Account, between, pairs

OLD = ("2024-01-01T00:00:00Z", "2024-02-01T00:00:00Z")
NEW = ("2025-06-01T00:00:00Z", "2025-06-08T00:00:00Z")
MOVED_TO = "2025-06-03T10:20:30Z"


def put(sandbox: httpx.Client, record_id: int, **body: Any) -> httpx.Response:
    return sandbox.put(f"/records/connectwise/acme/{TICKETS}/{record_id}", json=body)


def agrees_with_truth(account: Account, start: str, end: str) -> bool:
    """Whether every way of reading finds the truth."""
    truth, wanted = sorted(account.truth(TICKETS, start, end)), between(start, end)
    return (
        account.by_keyset(TICKETS, wanted, 7)
        == account.by_links(TICKETS, conditions=wanted, pageSize=9)
        == account.by_links(TICKETS, FORWARD_ONLY, conditions=wanted, pageSize=11)
        == sorted(account.by_links(TICKETS, conditions=wanted, orderBy="lastUpdated desc", pageSize=13))
        == truth
    ) and account.count(TICKETS, wanted) == len(truth)


def test_a_changed_record_moves_from_its_old_range_to_the_new_one(sandbox: httpx.Client, acme: Account) -> None:
    record_id, _ = acme.truth(TICKETS, *OLD)[17]
    answer = put(sandbox, record_id, lastUpdated=MOVED_TO, set={"summary": "moved", "board": {"name": "Elsewhere"}})
    assert answer.status_code == 200
    assert record_id not in dict(acme.by_keyset(TICKETS, between(*OLD), 1000))
    assert dict(acme.by_keyset(TICKETS, between(*NEW), 1000))[record_id] == MOVED_TO
    assert agrees_with_truth(acme, *OLD)
    assert agrees_with_truth(acme, *NEW)
    read = acme.get(f"{TICKETS}/{record_id}").json()
    assert (read["summary"], read["board"]["name"], read["_info"]["lastUpdated"]) == ("moved", "Elsewhere", MOVED_TO)
    assert read["board"]["id"]
    assert acme.records(TICKETS, conditions=f'{between(*NEW)} and summary = "moved"') == [read]


def test_everything_is_still_found_once_after_many_changes(sandbox: httpx.Client, acme: Account) -> None:
    before = acme.truth(TICKETS)
    for number, (record_id, _) in enumerate(before[::500]):
        put(sandbox, record_id, lastUpdated=f"2025-06-0{number % 7 + 1}T00:00:00Z").raise_for_status()
    assert sorted(dict(acme.truth(TICKETS))) == sorted(dict(before))
    assert acme.by_links(TICKETS, pageSize=1000) == sorted(acme.truth(TICKETS))
    assert agrees_with_truth(acme, *NEW)
    assert acme.count(TICKETS) == len(before)


def test_a_record_without_a_new_time_stays_where_it_is(sandbox: httpx.Client, acme: Account) -> None:
    record_id, updated = acme.truth(TICKETS, *OLD)[3]
    put(sandbox, record_id, set={"summary": "the same time"}).raise_for_status()
    assert dict(acme.truth(TICKETS, *OLD))[record_id] == updated
    assert acme.get(f"{TICKETS}/{record_id}").json()["summary"] == "the same time"
    assert agrees_with_truth(acme, *OLD)


def test_a_deleted_record_is_gone_everywhere(sandbox: httpx.Client, acme: Account) -> None:
    record_id, _ = acme.truth(TICKETS, *OLD)[3]
    total = acme.count(TICKETS)
    assert put(sandbox, record_id, delete=True).status_code == 204
    assert acme.get(f"{TICKETS}/{record_id}").status_code == 404
    assert record_id not in dict(acme.truth(TICKETS))
    assert acme.count(TICKETS) == total - 1
    assert agrees_with_truth(acme, *OLD)
    assert put(sandbox, record_id, set={}).status_code == 404


def test_a_new_record_is_added_under_a_free_id(sandbox: httpx.Client, acme: Account) -> None:
    url = f"/records/connectwise/acme/{TICKETS}/7000001"
    body = {"lastUpdated": "2024-01-15T12:00:00Z", "set": {"summary": "brand new"}}
    assert sandbox.post(url, json=body).status_code == 201
    assert sandbox.post(url, json=body).status_code == 409
    assert acme.get(f"{TICKETS}/7000001").json()["summary"] == "brand new"
    assert acme.by_keyset(TICKETS, between(*OLD), 50)[-1] == (7000001, "2024-01-15T12:00:00Z")
    assert agrees_with_truth(acme, *OLD)


def test_a_new_record_without_a_time_is_as_late_as_the_newest_may_be(sandbox: httpx.Client, acme: Account) -> None:
    sandbox.post(f"/records/connectwise/acme/{TICKETS}/7000002", json={}).raise_for_status()
    assert pairs(acme.records(TICKETS, orderBy="lastUpdated desc", pageSize=1)) == [(7000002, "2025-06-30T15:30:00Z")]


def test_changes_are_forgotten_on_request(sandbox: httpx.Client, acme: Account) -> None:
    before = acme.truth(TICKETS, *OLD)
    put(sandbox, before[0][0], lastUpdated=MOVED_TO).raise_for_status()
    sandbox.delete("/records").raise_for_status()
    assert acme.truth(TICKETS, *OLD) == before
    assert agrees_with_truth(acme, *OLD)


@pytest.mark.parametrize("body", [{"set": 3}, {"lastUpdated": "soon"}, {"lastUpdate": "2024-01-01T00:00:00Z"}])
def test_a_change_that_makes_no_sense_is_refused(sandbox: httpx.Client, body: dict[str, Any]) -> None:
    assert put(sandbox, 1, **body).status_code == 400


def test_the_summary_of_the_truth_is_the_digest_of_its_sorted_lines(sandbox: httpx.Client, acme: Account) -> None:
    truth = acme.truth(TICKETS, *OLD)
    lines = sorted(f'[{record_id}, "{updated}"]' for record_id, updated in truth)
    expected = sha256("".join(f"{text}\n" for text in lines).encode()).hexdigest()
    url = f"/truth/connectwise/acme/{TICKETS}"
    told = sandbox.get(url, params={"from": OLD[0], "to": OLD[1], "summary": 1}).json()
    assert told == {"count": len(truth), "digest": expected}
    assert digest(line(*pair) for pair in reversed(truth)) == expected


@pytest.mark.parametrize("path", ["connectwise/acme/service/boards", "connectwise/umbrella/service/tickets", "x/y/z"])
def test_there_is_no_truth_about_an_unknown_table(sandbox: httpx.Client, path: str) -> None:
    assert sandbox.get(f"/truth/{path}").status_code == 404


def test_a_truth_between_times_that_are_none_is_refused(sandbox: httpx.Client) -> None:
    assert sandbox.get(f"/truth/connectwise/acme/{TICKETS}", params={"from": "soon"}).status_code == 400


def test_the_log_shows_how_pages_were_asked_for(sandbox: httpx.Client, acme: Account) -> None:
    sandbox.delete("/requests").raise_for_status()
    acme.by_keyset(TICKETS, between(*OLD), 100)
    acme.count(TICKETS)
    acme.get("service/boards")
    seen = sandbox.get("/requests").json()
    asked = [request for request in seen["requests"] if request["path"].endswith(TICKETS)]
    assert seen["counts"][f"connectwise/acme/{TICKETS}"] == len(asked) > 2
    assert seen["counts"][f"connectwise/acme/{TICKETS}/count"] == 1
    assert seen["counts"]["connectwise/acme/unknown"] == 1
    assert all(request["method"] == "GET" and "id+%3E+" in request["query"] for request in asked)


def test_the_log_keeps_the_last_200_requests(sandbox: httpx.Client, acme: Account) -> None:
    for _ in range(205):
        acme.get("system/info")
    seen = sandbox.get("/requests").json()
    assert len(seen["requests"]) == 200
    assert seen["counts"]["connectwise/acme/system/info"] == 205
