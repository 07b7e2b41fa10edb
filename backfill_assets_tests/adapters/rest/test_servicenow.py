"""What the ServiceNow client asks, and what it makes of answers: over a scripted transport."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from backfill_assets.adapters.rest.servicenow import MOST_EMPTY_PAGES, ServiceNowSource
from backfill_assets.adapters.rest.servicenow_tables import INCIDENT
from backfill_assets.core.pacing import Advice
from backfill_assets.core.source import Record
from backfill_assets.core.windows import BEGINNING
from backfill_assets.errors import (
    ConfigurationError,
    CredentialRefused,
    NoSuchTable,
    RateLimited,
    TimedOut,
    UnexpectedResponse,
)
from backfill_assets_tests.adapters.rest.scripted import NOW, Answer, Learner, Script, answer

BASE_URL = "https://acme.service-now.example.com"
CREDENTIAL = {"username": "reader", "password": "the-password"}
START, END = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC)
ORDER = "^ORDERBYsys_updated_on^ORDERBYsys_id"
BOUNDS = "sys_updated_on>=2024-01-01 00:00:00^sys_updated_on<2024-02-01 00:00:00"
NEXT = {"Link": f'<{BASE_URL}/api/now/table/incident?sysparm_offset=2>;rel="next"'}
CANCELLED = {"error": {"message": "Transaction cancelled: maximum execution time exceeded", "detail": "rule"}}


def incident(key: Any, updated: Any = "2024-01-02 00:00:00", **more: Any) -> dict[str, Any]:
    return {"sys_id": key, "sys_updated_on": updated, **more}


def page(*records: Any, headers: Mapping[str, str] | None = None) -> httpx.Response:
    return httpx.Response(200, json={"result": list(records)}, headers=headers)


def client(script: Script, *, page_size: int = 2, learner: Learner | None = None) -> ServiceNowSource:
    wire = script.wire()
    return ServiceNowSource(
        tenant="acme",
        base_url=BASE_URL,
        credential=CREDENTIAL,
        credential_names=("BACKFILL_ACME_SERVICENOW_PASSWORD",),
        page_size=page_size,
        wire=replace(wire, pacer=learner) if learner else wire,
    )


def ask(script: Script, question: Callable[[ServiceNowSource], Any], **settings: Any) -> Any:
    source = client(script, **settings)
    try:
        return question(source)
    finally:
        source.close()


def read(script: Script, start: datetime = START, end: datetime = END, **settings: Any) -> list[Record]:
    pages = ask(script, lambda source: list(source.records(INCIDENT, start, end)), **settings)
    return [record for found in pages for record in found]


def queries(script: Script) -> list[str]:
    return [request.url.params["sysparm_query"] for request in script.requests]


def after(moment: str, key: str) -> str:
    later = f"sys_updated_on>{moment}^sys_updated_on<2024-02-01 00:00:00"
    return f"{later}^NQsys_updated_on={moment}^sys_id>{key}{ORDER}"


def test_reads_in_the_order_of_time_and_id_and_goes_on_after_the_last_pair() -> None:
    second = "2024-01-03 10:00:00"
    script = Script([page(incident("b1"), incident("c2")), page(incident("a3", second)), page()])
    assert [record["sys_id"] for record in read(script)] == ["b1", "c2", "a3"]
    assert queries(script) == [
        f"{BOUNDS}{ORDER}",
        after("2024-01-02 00:00:00", "c2"),
        after(second, "a3"),
    ]


def test_asks_for_plain_references_and_never_for_what_is_no_parameter() -> None:
    script = Script([page(incident("a")), page()])
    read(script)
    assert {request.url.path for request in script.requests} == {"/api/now/table/incident"}
    for request in script.requests:
        params = {name: value for name, value in request.url.params.items() if name != "sysparm_query"}
        assert params == {
            "sysparm_limit": "2",
            "sysparm_exclude_reference_link": "true",
            "sysparm_display_value": "false",
        }
    assert script.requests[0].headers["authorization"] == "Basic cmVhZGVyOnRoZS1wYXNzd29yZA=="


def test_a_short_page_is_not_the_end_for_rows_are_hidden_after_the_limit() -> None:
    script = Script([page(incident("a")), page(incident("b")), page(incident("c")), page()])
    assert len(read(script, page_size=1000)) == 3


def test_an_empty_page_with_a_next_one_is_not_the_end_and_the_next_overlaps_it_by_half() -> None:
    answers = [page(headers=NEXT), page(headers=NEXT), page(incident("a")), page(headers=NEXT), page()]
    script = Script(answers)
    assert [record["sys_id"] for record in read(script, page_size=10)] == ["a"]
    offsets = [request.url.params.get("sysparm_offset") for request in script.requests]
    assert offsets == [None, "5", "10", None, "5"]
    assert queries(script)[2] == f"{BOUNDS}{ORDER}"
    assert "^NQ" in queries(script)[3] == queries(script)[4]


def test_empty_pages_that_never_end_are_no_empty_table() -> None:
    script = Script([page(headers=NEXT)])
    with pytest.raises(UnexpectedResponse, match="1000 empty pages of incident"):
        read(script)
    assert len(script.requests) == MOST_EMPTY_PAGES


def test_from_the_beginning_of_time_there_is_no_lower_bound_and_fractions_are_rounded_up() -> None:
    script = Script([page()])
    read(script, start=BEGINNING, end=END.replace(microsecond=1))
    assert queries(script) == [f"sys_updated_on<2024-02-01 00:00:01{ORDER}"]


def test_counts_by_the_aggregate_interface() -> None:
    script = Script([answer({"result": {"stats": {"count": "12"}}})])
    assert ask(script, lambda source: source.count(INCIDENT, START, END)) == 12
    assert script.paths() == ["/api/now/stats/incident"]
    assert dict(script.requests[0].url.params) == {"sysparm_count": "true", "sysparm_query": BOUNDS}


@pytest.mark.parametrize("body", [[], {}, {"result": []}, {"result": {"stats": {"count": "-1"}}}, None])
def test_a_count_that_is_none_is_refused(body: object) -> None:
    with pytest.raises(UnexpectedResponse, match="without a number of records"):
        ask(Script([answer(body)]), lambda source: source.count(INCIDENT, START, END))


def test_identities_ask_for_nothing_else() -> None:
    script = Script([page(incident("a"), {"sys_id": "b", "sys_updated_on": ""}), page()])
    found = ask(script, lambda source: list(source.identities(INCIDENT, START, END)))
    assert found == [[("a", datetime(2024, 1, 2, tzinfo=UTC))]]
    assert script.requests[0].url.params["sysparm_fields"] == "sys_id,sys_updated_on"


def test_fetches_by_ids_and_asks_for_none_not_at_all() -> None:
    script = Script([page(incident("a"))])
    assert ask(script, lambda source: source.fetch(INCIDENT, ["a", "b"])) == [incident("a")]
    assert queries(script) == ["sys_idINa,b^ORDERBYsys_id"]
    assert ask(script, lambda source: source.fetch(INCIDENT, [])) == []
    assert len(script.requests) == 1


def test_check_makes_one_request() -> None:
    script = Script([page()])
    assert ask(script, lambda source: source.check()) == "ServiceNow at acme.service-now.example.com"
    assert len(script.requests) == 1


@pytest.mark.parametrize(
    "refusal",
    [
        httpx.Response(400, json={"error": {"message": "Invalid table incident", "detail": None}, "status": "failure"}),
        httpx.Response(404, json={"error": {"message": "No such path"}}),
    ],
)
def test_an_unknown_table_is_told_as_such(refusal: httpx.Response) -> None:
    with pytest.raises(NoSuchTable, match=r"has no table incident at acme\.service-now"):
        read(Script([refusal]))
    with pytest.raises(NoSuchTable):
        ask(Script([refusal]), lambda source: source.count(INCIDENT, START, END))


@pytest.mark.parametrize(
    "cancelled",
    [
        httpx.Response(200, json=CANCELLED),
        httpx.Response(200, json={"result": [incident("a")], **CANCELLED}),
        httpx.Response(200, content=b'{"result":[{"sys_id":"a"},' + str(CANCELLED).encode()),
        httpx.Response(500, json=CANCELLED),
    ],
)
def test_a_query_that_was_cancelled_timed_out_even_in_a_success(cancelled: Answer) -> None:
    script = Script([cancelled, page(incident("a")), page()])
    assert len(read(script)) == 1
    with pytest.raises(TimedOut, match="Gave up after 4 tries"):
        read(Script([cancelled]))


def test_a_record_that_speaks_of_a_cancelled_query_is_a_record() -> None:
    told = "Transaction cancelled: maximum execution time exceeded"
    assert read(Script([page(incident("a", description=told, error='"error"')), page()]))[0]["description"] == told


def test_another_error_in_a_success_is_refused_in_the_services_own_words() -> None:
    script = Script([answer({"error": {"message": "no the-password"}, "result": []})])
    with pytest.raises(UnexpectedResponse, match=r"answered 200 \(no \*\*\*\)"):
        read(script)


@pytest.mark.parametrize("body", [[], {"records": []}, {"result": {}}, {"result": None}, None, "[]"])
def test_anything_but_a_list_is_refused_and_never_taken_for_an_empty_page(body: object) -> None:
    with pytest.raises(UnexpectedResponse, match="without a list of records"):
        read(Script([answer(body)]))


@pytest.mark.parametrize(
    "pages",
    [
        [page(incident("b"), incident("a"))],
        [page(incident("a"), incident("a"))],
        [page(incident("a", "2024-01-03 00:00:00"), incident("b", "2024-01-02 00:00:00"))],
        [page(incident("a"), incident("b")), page(incident("a"), incident("b"))],
    ],
)
def test_pairs_that_do_not_increase_mean_that_the_service_ignored_what_was_asked(pages: list[Answer]) -> None:
    with pytest.raises(UnexpectedResponse, match="ignored the order by sys_updated_on and sys_id"):
        read(Script(pages))


@pytest.mark.parametrize("updated", ["2023-12-31 23:59:59", "2024-02-01 00:00:00"])
def test_a_record_from_outside_the_range_is_refused(updated: str) -> None:
    with pytest.raises(UnexpectedResponse, match="ignored the condition on sys_updated_on"):
        read(Script([page(incident("a", updated))]))


def test_records_without_an_id_or_a_version_are_passed_on_for_quarantine() -> None:
    script = Script([page(incident("a"), incident(""), incident("b", "yesterday"), incident("c")), page()])
    assert len(read(script)) == 4
    assert "sys_id>c" in queries(script)[-1]


def test_the_services_limit_is_told_with_each_answer() -> None:
    headers = {"X-RateLimit-Limit": "600", "X-RateLimit-Reset": "1714566000", "X-RateLimit-Rule": "Readers"}
    learner = Learner()
    read(Script([page(incident("a"), headers=headers), page(headers=headers)]), learner=learner)
    reason = "ServiceNow allows 600 requests an hour (Readers)"
    assert learner.learned == [Advice(reason=reason, requests_per_minute=10)] * 2


def test_an_allowance_that_is_used_up_is_waited_for_until_its_reset() -> None:
    headers = {
        "X-RateLimit-Limit": "600",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": f"{NOW.timestamp() + 90:.0f}",
    }
    learner = Learner()
    read(Script([page(headers=headers)]), learner=learner)
    assert [advice.wait_seconds for advice in learner.learned] == [90]
    learner = Learner()
    headers.pop("X-RateLimit-Remaining")
    limited = httpx.Response(429, headers={**headers, "Retry-After": "7"})
    read(Script([limited, page()]), learner=learner)
    assert [advice.wait_seconds for advice in learner.learned] == [90, 7]


def test_a_rate_limit_that_stays_is_raised_in_the_end() -> None:
    with pytest.raises(RateLimited, match="answered 429"):
        read(Script([httpx.Response(429, headers={"Retry-After": "300"})]))


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_credential_names_the_setting_and_not_the_secret(status: int) -> None:
    refusal = httpx.Response(status, json={"error": {"message": "User Not Authenticated", "detail": "the-password"}})
    script = Script([refusal])
    with pytest.raises(CredentialRefused, match="Check BACKFILL_ACME_SERVICENOW_PASSWORD") as caught:
        read(script)
    assert "the-password" not in str(caught.value)
    assert len(script.requests) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"credential": {"username": "reader"}}, "lacks password"),
        ({"credential": {}}, "lacks username, password"),
        ({"base_url": ""}, "must look like https://host"),
        ({"page_size": 0}, "page_size"),
        ({"page_size": 10_001}, "page_size"),
    ],
)
def test_what_cannot_work_is_refused_before_any_request(changes: dict[str, Any], words: str) -> None:
    settings: dict[str, Any] = {"tenant": "acme", "base_url": BASE_URL, "credential": CREDENTIAL}
    with pytest.raises(ConfigurationError, match=words):
        ServiceNowSource(**(settings | changes))


def test_takes_the_address_from_the_credential_where_no_other_is_given() -> None:
    script = Script([page()])
    credential = {**CREDENTIAL, "instance_url": BASE_URL}
    source = ServiceNowSource(tenant="acme", base_url="", credential=credential, wire=script.wire())
    assert list(source.records(INCIDENT, START, END)) == []
    source.close()
