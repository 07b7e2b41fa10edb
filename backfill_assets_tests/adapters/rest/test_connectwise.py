"""What the ConnectWise client asks, and what it makes of answers: over a scripted transport."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from backfill_assets.adapters.rest.connectwise import ConnectWiseSource
from backfill_assets.adapters.rest.connectwise_tables import TICKETS
from backfill_assets.core.source import Record
from backfill_assets.errors import ConfigurationError, UnexpectedResponse
from backfill_assets_tests.adapters.rest.scripted import (
    BASE_URL,
    CREDENTIAL,
    Answer,
    Script,
    answer,
    codebase,
    connectwise,
    page,
    ticket,
)

START, END = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC)
NOT_FOUND = httpx.Response(404, json={"code": "NotFound", "message": "no such thing"})


def read(script: Script, *, start: datetime = START, end: datetime = END, page_size: int = 2) -> list[Record]:
    source = connectwise(script, page_size=page_size)
    try:
        return [record for found in source.records(TICKETS, start, end) for record in found]
    finally:
        source.close()


def ask(script: Script, question: Callable[[ConnectWiseSource], Any]) -> Any:
    source = connectwise(script)
    try:
        return question(source)
    finally:
        source.close()


def test_asks_for_the_range_by_keyset_in_the_order_of_ids_and_never_by_page_number() -> None:
    script = Script([codebase(), page(ticket(3), ticket(8)), page(ticket(9)), page()])
    assert [record["id"] for record in read(script)] == [3, 8, 9]
    bounds = "lastUpdated >= [2024-01-01T00:00:00Z] and lastUpdated < [2024-02-01T00:00:00Z]"
    conditions = [bounds, f"{bounds} and id > 8", f"{bounds} and id > 9"]
    assert script.queries() == [{"conditions": x, "orderBy": "id asc", "pageSize": "2"} for x in conditions]
    assert script.paths() == ["/login/companyinfo/acme", *["/v2024_1/apis/3.0/service/tickets"] * 3]


def test_a_short_page_is_not_the_end_for_the_service_may_cap_its_pages() -> None:
    script = Script([codebase(), page(ticket(1)), page(ticket(2)), page(ticket(3)), page()])
    assert len(read(script, page_size=1000)) == 3


def test_sends_the_credential_as_basic_authorisation_and_client_id() -> None:
    script = Script([codebase(), page()])
    read(script)
    headers = script.requests[-1].headers
    assert headers["authorization"] == "Basic YWNtZSt0aGUtcHVibGljLWtleTp0aGUtcHJpdmF0ZS1rZXk="
    assert headers["clientid"] == "the-client-id"


def test_bounds_between_seconds_are_rounded_up() -> None:
    script = Script([codebase(), page()])
    read(script, start=START.replace(microsecond=1), end=END.replace(microsecond=999_999))
    conditions = script.queries()[0]["conditions"]
    assert conditions == "lastUpdated >= [2024-01-01T00:00:01Z] and lastUpdated < [2024-02-01T00:00:01Z]"


def test_the_beginning_of_time_is_written_like_any_other() -> None:
    script = Script([codebase(), page()])
    read(script, start=datetime(1970, 1, 1, tzinfo=UTC))
    assert script.queries()[0]["conditions"].startswith("lastUpdated >= [1970-01-01T00:00:00Z]")


def test_counts_with_the_conditions_of_the_reading() -> None:
    script = Script([codebase(), answer({"count": 12})])
    assert ask(script, lambda source: source.count(TICKETS, START, END)) == 12
    bounds = "lastUpdated >= [2024-01-01T00:00:00Z] and lastUpdated < [2024-02-01T00:00:00Z]"
    assert script.queries() == [{"conditions": bounds}]
    assert script.paths()[-1] == "/v2024_1/apis/3.0/service/tickets/count"


@pytest.mark.parametrize("body", [[], {}, {"count": "12"}, {"count": True}, {"count": -1}, {"count": None}, 12, None])
def test_a_count_that_is_none_is_refused(body: object) -> None:
    script = Script([codebase(), answer(body)])
    with pytest.raises(UnexpectedResponse, match="service/tickets/count without a number"):
        ask(script, lambda source: source.count(TICKETS, START, END))


def test_check_names_version_and_host() -> None:
    script = Script([codebase(), answer({"version": "v2025.1"})])
    assert ask(script, lambda source: source.check()) == "ConnectWise v2025.1 at api-na.example.com"


def test_check_refuses_an_answer_without_a_version() -> None:
    script = Script([codebase(), answer(["v2025.1"])])
    with pytest.raises(UnexpectedResponse, match="without a version"):
        ask(script, lambda source: source.check())


def test_records_without_an_id_or_a_version_are_passed_on_for_quarantine() -> None:
    nameless: dict[str, Any] = {"_info": {"lastUpdated": "2024-01-02T00:00:00Z"}}
    odd = [ticket(4, "yesterday"), ticket(5, None), ticket(6, 17), {"id": 7, "_info": "none"}, {"id": 8}]
    script = Script([codebase(), page(ticket(3), nameless, ticket(None), ticket(""), *odd, nameless), page()])
    assert len(read(script)) == 10
    assert script.queries()[-1]["conditions"].endswith("id > 8")


def test_a_page_without_any_usable_id_cannot_be_gone_on_from() -> None:
    script = Script([codebase(), page(ticket(None), {"name": "x"})])
    with pytest.raises(UnexpectedResponse, match="whole page without a usable id"):
        read(script)


@pytest.mark.parametrize(
    "pages",
    [
        [page(ticket(2), ticket(1))],
        [page(ticket(1), ticket(1))],
        [page(ticket(1), ticket(2)), page(ticket(1), ticket(2))],
        [page(ticket(1), ticket(2)), page(ticket(2), ticket(3))],
        [page(ticket(1), ticket(None), ticket(1))],
    ],
)
def test_ids_that_do_not_increase_mean_that_the_service_ignored_what_was_asked(pages: list[Answer]) -> None:
    with pytest.raises(UnexpectedResponse, match="ignored the order by id or the condition on it"):
        read(Script([codebase(), *pages]))


@pytest.mark.parametrize("key", ["12", 12.0, True, False, [1], {"id": 1}])
def test_an_id_that_is_no_integer_is_refused(key: object) -> None:
    with pytest.raises(UnexpectedResponse, match="which is no integer"):
        read(Script([codebase(), page(ticket(key))]))


@pytest.mark.parametrize("updated", ["2023-12-31T23:59:59Z", "2024-02-01T00:00:00Z", "2024-02-01T00:00:00"])
def test_a_record_from_outside_the_range_means_that_the_service_ignored_the_condition(updated: str) -> None:
    with pytest.raises(UnexpectedResponse, match="ignored the condition on lastUpdated: record 1 was updated at 20"):
        read(Script([codebase(), page(ticket(1, updated))]))


@pytest.mark.parametrize("body", [{"data": []}, {"code": "x"}, "[]", 1, None])
def test_anything_but_a_list_is_refused_and_never_taken_for_an_empty_page(body: object) -> None:
    with pytest.raises(UnexpectedResponse, match="instead of a list of records"):
        read(Script([codebase(), answer(body)]))


@pytest.mark.parametrize("record", [None, 1, "x", []])
def test_a_list_of_anything_but_objects_is_refused(record: object) -> None:
    with pytest.raises(UnexpectedResponse, match="where records should be"):
        read(Script([codebase(), page(record)]))


def test_the_codebase_is_looked_up_once() -> None:
    script = Script([codebase(), page(ticket(1)), page()])
    source = connectwise(script)
    list(source.records(TICKETS, START, END))
    list(source.records(TICKETS, START, END))
    source.close()
    assert script.paths().count("/login/companyinfo/acme") == 1


def test_a_codebase_that_moved_between_two_pages_is_found_again() -> None:
    answers = [codebase("v4_6_release/"), page(ticket(1), ticket(2)), NOT_FOUND, codebase(), page(ticket(3)), page()]
    script = Script(answers)
    assert [record["id"] for record in read(script)] == [1, 2, 3]
    assert script.paths() == [
        "/login/companyinfo/acme",
        *["/v4_6_release/apis/3.0/service/tickets"] * 2,
        "/login/companyinfo/acme",
        *["/v2024_1/apis/3.0/service/tickets"] * 2,
    ]


@pytest.mark.parametrize("again", [[codebase()], [codebase("v2025_1"), NOT_FOUND]])
def test_what_is_still_not_found_is_a_table_that_the_service_does_not_have(again: list[Answer]) -> None:
    with pytest.raises(UnexpectedResponse, match=r"has no table service/tickets at api-na\.example\.com"):
        read(Script([codebase(), NOT_FOUND, *again]))


@pytest.mark.parametrize(
    "body", [None, [], {}, {"Codebase": None}, {"Codebase": ""}, {"Codebase": "../"}, {"Codebase": "../../x?y"}]
)
def test_a_codebase_that_is_none_is_refused(body: object) -> None:
    with pytest.raises(UnexpectedResponse, match="did not name its codebase"):
        read(Script([answer(body)]))


def test_a_company_that_the_service_does_not_know_is_named_as_the_cause() -> None:
    with pytest.raises(UnexpectedResponse, match="Check company_id"):
        read(Script([NOT_FOUND]))


@pytest.mark.parametrize(
    "base_url", [f"{BASE_URL}/", f"{BASE_URL}/v4_6_release/apis/3.0", f"{BASE_URL}/v4_6_release/apis/3.0/", ""]
)
def test_takes_the_addresses_that_existing_installations_hold(base_url: str) -> None:
    script = Script([codebase(), page()])
    source = ConnectWiseSource(
        tenant="acme",
        base_url=base_url,
        credential={**CREDENTIAL, "api_base_url": BASE_URL},
        wire=script.wire(),
    )
    list(source.records(TICKETS, START, END))
    source.close()
    assert str(script.requests[0].url) == f"{BASE_URL}/login/companyinfo/acme"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"credential": {**CREDENTIAL, "private_key": ""}}, "lacks private_key"),
        ({"credential": {"company_id": "acme"}}, "lacks public_key, private_key, client_id"),
        ({"credential": {**CREDENTIAL, "client_id": "the-client-id\n"}}, "client_id of tenant acme"),
        ({"credential": {**CREDENTIAL, "client_id": "müller"}}, "client_id of tenant acme"),
        ({"base_url": ""}, "must look like https://host"),
        ({"base_url": "api-na.example.com"}, "must look like https://host"),
        ({"base_url": "ftp://api-na.example.com"}, "must look like https://host"),
        ({"base_url": "https://user:the-private-key@api-na.example.com"}, "without a user or password"),
        ({"base_url": "https://api-na.example.com:port"}, "must look like https://host"),
        ({"page_size": 0}, "page_size"),
        ({"page_size": 1001}, "page_size"),
    ],
)
def test_what_cannot_work_is_refused_before_any_request(changes: dict[str, Any], words: str) -> None:
    settings: dict[str, Any] = {"tenant": "acme", "base_url": BASE_URL, "credential": CREDENTIAL}
    with pytest.raises(ConfigurationError, match=words) as caught:
        ConnectWiseSource(**(settings | changes))
    assert "the-private-key" not in str(caught.value)
    assert "the-client-id" not in str(caught.value)
