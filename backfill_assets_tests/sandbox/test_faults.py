"""Every kind of fault, seen over real HTTP, and that a fault hits what it is aimed at and nothing else."""

import json
import time
from typing import Any

import httpx
import pytest

from backfill_assets.sandbox.server import SandboxConfig, SandboxServer
from backfill_assets_tests.sandbox.account import TICKETS, Account, between
from backfill_assets_tests.sandbox.conftest import UNTIL

JANUARY = ("2024-01-01T00:00:00Z", "2024-02-01T00:00:00Z")
MARCH = ("2024-03-01T00:00:00Z", "2024-04-01T00:00:00Z")


def add(sandbox: httpx.Client, **fault: Any) -> int:
    answer = sandbox.post("/faults", json={"service": "connectwise", **fault})
    assert answer.status_code == 201, answer.text
    return int(answer.json()["id"])


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500, 502, 503])
def test_a_status_is_answered_in_the_words_of_connectwise(sandbox: httpx.Client, acme: Account, status: int) -> None:
    add(sandbox, kind="status", status=status)
    answer = acme.get(TICKETS)
    assert answer.status_code == status
    assert set(answer.json()) == {"code", "message", "errors"}


def test_a_rate_limit_says_how_long_to_wait(sandbox: httpx.Client, acme: Account) -> None:
    add(sandbox, kind="rate_limit", retry_after=7)
    answer = acme.get(TICKETS)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
    assert answer.json()["code"] == "TooManyRequests"


def test_a_timeout_outlasts_the_patience_of_the_client(sandbox: httpx.Client, acme: Account) -> None:
    add(sandbox, kind="timeout", seconds=30)
    with pytest.raises(httpx.ReadTimeout):
        acme.client.get(f"/{TICKETS}", timeout=0.1)


def test_a_short_timeout_is_only_a_slow_answer(sandbox: httpx.Client, acme: Account) -> None:
    add(sandbox, kind="timeout", seconds=0.05)
    started = time.monotonic()
    assert len(acme.records(TICKETS)) == 25
    assert time.monotonic() - started >= 0.05


def test_a_drop_breaks_the_connection_in_the_middle_of_the_body(
    sandbox: httpx.Client, acme: Account, caplog: pytest.LogCaptureFixture
) -> None:
    add(sandbox, kind="drop")
    received: list[bytes] = []
    with acme.client.stream("GET", f"/{TICKETS}") as answer:
        assert answer.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            received.extend(answer.iter_bytes(chunk_size=1024))
    assert 0 < sum(map(len, received)) < int(answer.headers["content-length"])
    assert not [record for record in caplog.records if record.name.startswith("uvicorn")]


def test_a_page_for_people_comes_with_status_200(sandbox: httpx.Client, acme: Account) -> None:
    add(sandbox, kind="html")
    answer = acme.get(TICKETS)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.text.startswith("<!DOCTYPE html>")


def test_a_truncated_body_has_the_length_it_says(sandbox: httpx.Client, acme: Account) -> None:
    whole = acme.get(TICKETS).content
    add(sandbox, kind="truncate")
    answer = acme.get(TICKETS)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert answer.content == whole[: len(whole) // 2]
    with pytest.raises(json.JSONDecodeError):
        answer.json()


def test_a_wrong_shape_is_good_json(sandbox: httpx.Client, acme: Account) -> None:
    add(sandbox, kind="wrong_shape")
    assert acme.get(TICKETS).json() == {"data": []}


@pytest.mark.parametrize(("table", "field"), [(TICKETS, "closedFlag"), ("time/entries", "actualHours")])
def test_a_malformed_record_keeps_its_id_and_loses_a_type(
    sandbox: httpx.Client, acme: Account, table: str, field: str
) -> None:
    before = acme.records(table, pageSize=50)
    wanted = before[10]["id"]
    add(sandbox, kind="malformed_record", table=table, record_id=wanted)
    after = acme.records(table, pageSize=50)
    changed = [new for old, new in zip(before, after, strict=True) if new != old]
    assert [record["id"] for record in changed] == [wanted]
    assert isinstance(changed[0][field], str)
    assert acme.get(f"{table}/{wanted}").json() == changed[0]
    assert sandbox.get("/faults").json()[0]["hits"] == 2


def test_a_fault_hits_only_as_often_as_it_should(sandbox: httpx.Client, acme: Account) -> None:
    add(sandbox, kind="status", status=503, times=2)
    assert [acme.get(TICKETS).status_code for _ in range(4)] == [503, 503, 200, 200]
    assert sandbox.get("/faults").json()[0]["hits"] == 2


def test_a_fault_can_let_the_first_pages_pass(sandbox: httpx.Client, acme: Account) -> None:
    add(sandbox, kind="status", after_page=2, times=1)
    assert [acme.get(TICKETS, page=page).status_code for page in range(1, 5)] == [200, 200, 500, 200]


def test_a_fault_hits_only_its_tenant_and_table(sandbox: httpx.Client, server: SandboxServer, acme: Account) -> None:
    add(sandbox, kind="status", tenant="acme", table=TICKETS)
    assert acme.get(TICKETS).status_code == 500
    assert acme.get(f"{TICKETS}/count").status_code == 500
    assert acme.get("time/entries").status_code == 200
    assert acme.get("system/info").status_code == 200
    with Account(server, "globex") as globex:
        assert globex.get(TICKETS).status_code == 200


def test_a_fault_hits_only_ranges_that_overlap_its_own(sandbox: httpx.Client, acme: Account) -> None:
    add(sandbox, kind="status", **{"from": JANUARY[1], "to": MARCH[0]})
    february = between("2024-02-10T00:00:00Z", "2024-02-11T00:00:00Z")
    assert acme.get(TICKETS, conditions=between(*JANUARY)).status_code == 200
    assert acme.get(TICKETS, conditions=between(*MARCH)).status_code == 200
    assert acme.get(TICKETS, conditions=february).status_code == 500
    assert acme.get(TICKETS, conditions=between(JANUARY[0], MARCH[1])).status_code == 500
    assert acme.get(TICKETS).status_code == 500
    assert acme.get("system/info").status_code == 200


def test_faults_are_turned_off_one_by_one_and_all_together(sandbox: httpx.Client, acme: Account) -> None:
    first, second = add(sandbox, kind="status"), add(sandbox, kind="html")
    assert [fault["id"] for fault in sandbox.get("/faults").json()] == [first, second]
    sandbox.delete(f"/faults/{first}").raise_for_status()
    assert acme.get(TICKETS).headers["content-type"].startswith("text/html")
    sandbox.delete("/faults").raise_for_status()
    assert len(acme.records(TICKETS)) == 25
    assert sandbox.delete(f"/faults/{second}").status_code == 404


@pytest.mark.parametrize(
    "fault", [{}, {"kind": "explode"}, {"kind": "status", "sttus": 3}, {"kind": "drop", "times": 0}]
)
def test_a_fault_that_makes_no_sense_is_refused(sandbox: httpx.Client, fault: dict[str, Any]) -> None:
    assert sandbox.post("/faults", json=fault).status_code == 400


def test_a_stalled_request_does_not_hold_up_the_end() -> None:
    with SandboxServer(SandboxConfig(until=UNTIL)) as server, Account(server, "acme") as account:
        httpx.post(f"{server.url}/_sandbox/faults", json={"kind": "timeout", "seconds": 30}).raise_for_status()
        with pytest.raises(httpx.ReadTimeout):
            account.client.get(f"/{TICKETS}", timeout=0.1)
        leaving = time.monotonic()
    assert time.monotonic() - leaving < 3
