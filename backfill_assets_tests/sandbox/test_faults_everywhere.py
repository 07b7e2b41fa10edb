"""Faults as each service tells them, and the ones that look into an answer: poison, hidden rows, slowness."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from backfill_assets.sandbox.server import SandboxConfig, SandboxServer
from backfill_assets_tests.sandbox import organisation as salesforce
from backfill_assets_tests.sandbox.account import TICKETS, Account
from backfill_assets_tests.sandbox.account import between as cw_between
from backfill_assets_tests.sandbox.conftest import UNTIL
from backfill_assets_tests.sandbox.instance import Instance
from backfill_assets_tests.sandbox.instance import between as sn_between
from backfill_assets_tests.sandbox.organisation import Organisation

START, END = "2024-03-01", "2024-04-01"
SERVICES = ("connectwise", "servicenow", "salesforce")
Id = int | str
Ask = Callable[[], httpx.Response]


@dataclass(frozen=True, kw_only=True)
class Reader:
    """The same questions to any service: a page of March, its ids and versions only, its size, one record."""

    service: str
    table: str
    page: Ask
    narrow: Ask
    count: Ask
    one: Callable[[Id], httpx.Response]
    records: Callable[[httpx.Response], list[dict[str, Any]]]
    id_field: str

    def ids(self, answer: httpx.Response) -> list[Id]:
        """The ids in an answer."""
        return [record[self.id_field] for record in self.records(answer.raise_for_status())]


def connectwise_reader(acme: Account) -> Reader:
    march: dict[str, Any] = {"conditions": cw_between(f"{START}T00:00:00Z", f"{END}T00:00:00Z"), "pageSize": 40}
    return Reader(
        service="connectwise",
        table=TICKETS,
        page=lambda: acme.get(TICKETS, **march),
        narrow=lambda: acme.get(TICKETS, fields="id,_info/lastUpdated", **march),
        count=lambda: acme.get(f"{TICKETS}/count", conditions=march["conditions"]),
        one=lambda record_id: acme.get(f"{TICKETS}/{record_id}"),
        records=lambda answer: list(answer.json()),
        id_field="id",
    )


def servicenow_reader(acme: Instance) -> Reader:
    march = sn_between(START, END)
    return Reader(
        service="servicenow",
        table="incident",
        page=lambda: acme.get("incident", march, limit=40),
        narrow=lambda: acme.get("incident", march, limit=40, fields="sys_id,sys_updated_on"),
        count=lambda: acme.client.get("/stats/incident", params={"sysparm_count": "true", "sysparm_query": march}),
        one=lambda sys_id: acme.client.get(f"/table/incident/{sys_id}"),
        records=lambda answer: list(answer.json()["result"]),
        id_field="sys_id",
    )


def salesforce_reader(acme: Organisation) -> Reader:
    march = f"FROM Case WHERE {salesforce.within(f'{START}T00:00:00Z', f'{END}T00:00:00Z')}"
    headers = {"Sforce-Query-Options": "batchSize=40"}
    return Reader(
        service="salesforce",
        table="Case",
        page=lambda: acme.get("query", headers, q=f"SELECT Id, Subject, IsClosed {march}"),
        narrow=lambda: acme.get("query", headers, q=f"SELECT Id, SystemModstamp {march}"),
        count=lambda: acme.get("query", q=f"SELECT COUNT() {march}"),
        one=lambda record_id: acme.get(f"sobjects/Case/{record_id}"),
        records=lambda answer: list(answer.json()["records"]),
        id_field="Id",
    )


@pytest.fixture(params=SERVICES)
def reader(server: SandboxServer, request: pytest.FixtureRequest) -> Iterator[Reader]:
    with ExitStack() as opened:
        match request.param:
            case "connectwise":
                yield connectwise_reader(opened.enter_context(Account(server, "acme")))
            case "servicenow":
                yield servicenow_reader(opened.enter_context(Instance(server, "acme")))
            case _:
                yield salesforce_reader(opened.enter_context(Organisation(server, "acme")))


def add(sandbox: httpx.Client, reader: Reader, kind: str, **fault: Any) -> int:
    body = {"kind": kind, "service": reader.service, "table": reader.table, **fault}
    return int(sandbox.post("/faults", json=body).raise_for_status().json()["id"])


def hits(sandbox: httpx.Client) -> int:
    return sum(fault["hits"] for fault in sandbox.get("/faults").json())


@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_a_status_hits_every_service(sandbox: httpx.Client, reader: Reader, status: int) -> None:
    add(sandbox, reader, "status", status=status, times=1)
    assert [reader.page().status_code for _ in range(2)] == [status, 200]


def test_a_poisoned_record_spoils_each_answer_that_would_hold_it_in_full(sandbox: httpx.Client, reader: Reader) -> None:
    ids = reader.ids(reader.page())
    add(sandbox, reader, "status", status=500, record_id=ids[7])
    assert reader.page().status_code == 500
    assert reader.one(ids[7]).status_code == 500
    assert reader.one(ids[8]).status_code == 200
    assert reader.count().status_code == 200
    assert reader.ids(reader.narrow()) == ids
    assert hits(sandbox) == 2


def test_a_malformed_record_loses_a_type_but_not_its_id(sandbox: httpx.Client, reader: Reader) -> None:
    before = reader.records(reader.page())
    wanted = before[7][reader.id_field]
    add(sandbox, reader, "malformed_record", record_id=wanted)
    after = reader.records(reader.page())
    changed = [new for old, new in zip(before, after, strict=True) if new != old]
    assert [record[reader.id_field] for record in changed] == [wanted]
    assert "neither this nor that" in changed[0].values()


def test_hidden_rows_shorten_a_page_that_is_not_the_last(sandbox: httpx.Client, reader: Reader) -> None:
    ids, size = reader.ids(reader.page()), reader.count().content
    add(sandbox, reader, "hidden_records", record_id=ids[0])
    assert reader.ids(reader.page()) == ids[1:]
    assert reader.one(ids[0]).status_code == 404
    assert reader.count().content == size


def test_hidden_rows_of_a_range_can_leave_a_page_empty_for_a_while(sandbox: httpx.Client, reader: Reader) -> None:
    ids = reader.ids(reader.page())
    add(sandbox, reader, "hidden_records", times=2, **{"from": START, "to": END})
    assert [reader.ids(reader.page()) for _ in range(3)] == [[], [], ids]


def test_slowness_delays_without_being_a_failure(sandbox: httpx.Client, reader: Reader) -> None:
    ids = reader.ids(reader.page())
    add(sandbox, reader, "latency", tenant="acme", seconds=0.1)
    add(sandbox, reader, "latency", tenant="globex", seconds=30)
    started = time.monotonic()
    assert reader.ids(reader.page()) == ids
    assert 0.1 <= time.monotonic() - started < 5
    add(sandbox, reader, "status", status=503, times=1)
    assert [reader.page().status_code for _ in range(2)] == [503, 200]


@pytest.mark.parametrize("kind", ["html", "truncate", "wrong_shape"])
def test_an_answer_that_is_none_comes_with_status_200(sandbox: httpx.Client, reader: Reader, kind: str) -> None:
    well = reader.page()
    add(sandbox, reader, kind, times=1)
    spoilt = reader.page()
    assert (spoilt.status_code, spoilt.content == well.content) == (200, False)
    assert reader.records(reader.page()) == reader.records(well)


@pytest.fixture
def march(organisation: Organisation) -> Callable[[], httpx.Response]:
    """Asks Salesforce for the first page of March."""
    return salesforce_reader(organisation).page


def test_servicenow_cancels_a_query_in_an_answer_of_status_200(sandbox: httpx.Client, instance: Instance) -> None:
    sandbox.post("/faults", json={"kind": "query_timeout", "table": "incident", "times": 1}).raise_for_status()
    answer = instance.get("incident", limit=5)
    assert answer.status_code == 200
    assert "Transaction cancelled: maximum execution time exceeded" in answer.json()["error"]["message"]
    assert len(instance.records("incident", limit=5)) == 5


def test_servicenow_shows_the_next_page_after_an_empty_one(sandbox: httpx.Client, instance: Instance) -> None:
    query = sn_between(START, END)
    fault = {"kind": "hidden_records", "table": "incident", "from": START, "to": "2024-03-20"}
    sandbox.post("/faults", json=fault).raise_for_status()
    answer = instance.get("incident", f"{query}^ORDERBYsys_updated_on", limit=20)
    assert (answer.json()["result"], "next" in answer.links) == ([], True)
    assert int(answer.headers["X-Total-Count"]) == instance.count("incident", query)
    shown = instance.by_offset("incident", query, 20)
    assert shown
    assert sorted(shown) == sorted(pair for pair in instance.truth("incident", START, END) if pair[1] >= "2024-03-20")


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("query_timeout", 400, "QUERY_TIMEOUT"),
        ("rate_limit", 403, "REQUEST_LIMIT_EXCEEDED"),
        ("expired_session", 401, "INVALID_SESSION_ID"),
    ],
)
def test_salesforce_has_codes_for_what_goes_wrong(
    sandbox: httpx.Client, march: Callable[[], httpx.Response], kind: str, status: int, code: str
) -> None:
    sandbox.post("/faults", json={"kind": kind, "table": "Case", "times": 1}).raise_for_status()
    assert salesforce.error_of(march()) == (status, code)


def test_a_session_that_expired_stays_so(
    sandbox: httpx.Client, organisation: Organisation, march: Callable[[], httpx.Response]
) -> None:
    sandbox.post("/faults", json={"kind": "expired_session", "times": 1, "after_page": 1}).raise_for_status()
    assert [march().status_code for _ in range(3)] == [200, 401, 401]
    organisation.client.headers["Authorization"] = f"Bearer {organisation.sign_in()}"
    assert march().status_code == 200


def test_a_place_in_a_result_expires_and_the_query_does_not(
    sandbox: httpx.Client, organisation: Organisation, march: Callable[[], httpx.Response]
) -> None:
    sandbox.post("/faults", json={"kind": "expired_cursor"}).raise_for_status()
    first = march().json()
    answer = organisation.client.get(first["nextRecordsUrl"])
    assert salesforce.error_of(answer) == (400, "INVALID_QUERY_LOCATOR")


def test_signing_in_fails_only_where_a_fault_names_it(sandbox: httpx.Client, organisation: Organisation) -> None:
    sandbox.post("/faults", json={"kind": "status", "service": "salesforce", "status": 503}).raise_for_status()
    assert organisation.ask_for_token().status_code == 200
    named = {"kind": "status", "table": "oauth2/token", "status": 503}
    sandbox.post("/faults", json=named).raise_for_status()
    assert organisation.ask_for_token().status_code == 503


def test_everything_can_be_slow_from_the_start() -> None:
    config = SandboxConfig(until=UNTIL, latency_seconds=0.1)
    with SandboxServer(config) as server, Account(server, "acme") as acme:
        started = time.monotonic()
        assert acme.get("system/info").status_code == 200
    assert time.monotonic() - started >= 0.1
