"""What the Salesforce client asks by queries, and what it makes of answers: over a scripted transport."""

from collections.abc import Callable, Iterable
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from backfill_assets.adapters.rest.salesforce import SalesforceSource
from backfill_assets.adapters.rest.salesforce_tables import ACCOUNT
from backfill_assets.core.source import Record
from backfill_assets.core.windows import BEGINNING
from backfill_assets.errors import ConfigurationError, NoSuchTable, TimedOut, UnexpectedResponse
from backfill_assets_tests.adapters.rest.scripted import Answer, Script, answer
from backfill_assets_tests.adapters.rest.scripted_salesforce import (
    ASKED_FOR,
    BASE_URL,
    CREDENTIAL,
    FIELDS,
    OPENING,
    REST,
    account,
    counted,
    described,
    part,
    refusal,
    salesforce,
    signed_in,
    versions,
)

START, END = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC)
RANGE = "SystemModstamp >= 2024-01-01T00:00:00Z AND SystemModstamp < 2024-02-01T00:00:00Z"
ORDER = "ORDER BY SystemModstamp ASC, Id ASC LIMIT 2"
LATER = "2024-01-03T00:00:00.000+0000"
EXPIRED = refusal(400, "INVALID_QUERY_LOCATOR", "invalid query locator")


def ask(script: Script, question: Callable[[SalesforceSource], Any], **settings: Any) -> Any:
    with closing(salesforce(script, **settings)) as source:
        return question(source)


def read(script: Script, start: datetime = START, end: datetime = END, **settings: Any) -> list[Record]:
    pages = ask(script, lambda source: list(source.records(ACCOUNT, start, end)), **settings)
    return [record for found in pages for record in found]


def script_of(*answers: Answer) -> Script:
    return Script([*OPENING, described(), *answers])


def queries(script: Script) -> list[str]:
    return [request.url.params["q"] for request in script.requests if "q" in request.url.params]


def ids(records: Iterable[Record]) -> list[Any]:
    return [record["Id"] for record in records]


def after(moment: str, key: str) -> str:
    later = f"SystemModstamp >= {moment} AND SystemModstamp < 2024-02-01T00:00:00Z"
    return f"{later} AND (SystemModstamp > {moment} OR (SystemModstamp = {moment} AND Id > '{key}'))"


def test_reads_in_the_order_of_time_and_id_and_goes_on_after_the_last_pair() -> None:
    script = script_of(part(account("b1"), account("c2")), part(account("a3", LATER)))
    assert ids(read(script)) == ["b1", "c2", "a3"]
    assert queries(script) == [
        f"SELECT {ASKED_FOR} FROM Account WHERE {condition} {ORDER}"
        for condition in (RANGE, after("2024-01-02T00:00:00Z", "c2"))
    ]
    assert script.paths() == [
        "/services/oauth2/token",
        "/services/data/",
        "/services/data/v58.0/sobjects/Account/describe",
        *["/services/data/v58.0/queryAll"] * 2,
    ]


def test_a_whole_answer_below_the_limit_is_the_end_and_one_that_reaches_it_is_not() -> None:
    script = script_of(part(account("a"), account("b")), part())
    assert len(read(script)) == 2
    assert len(queries(script)) == 2


def test_records_are_what_was_asked_for_without_their_attributes() -> None:
    [record] = read(script_of(part(account("a"))))
    assert record == {
        "Id": "a",
        "IsDeleted": False,
        "Name": "Acme",
        "NumberOfEmployees": 12,
        "AnnualRevenue": 1000.5,
        "SystemModstamp": "2024-01-02T00:00:00.000+0000",
    }
    assert list(record) == ASKED_FOR.split(", ")


def test_the_rest_of_an_answer_is_fetched_from_its_address() -> None:
    script = script_of(part(account("a"), rest=REST, held=2), part(account("b"), held=2), part())
    assert ids(read(script)) == ["a", "b"]
    assert script.paths()[-2:] == [REST, "/services/data/v58.0/queryAll"]
    assert "Id > 'b'" in queries(script)[-1]


def test_a_rest_whose_time_is_over_is_asked_for_anew_after_the_last_record() -> None:
    script = script_of(part(account("a"), rest=REST, held=2), EXPIRED, part(account("b")))
    assert ids(read(script)) == ["a", "b"]
    assert "Id > 'a'" in queries(script)[-1]


@pytest.mark.parametrize("moved", ["2024-02-15T00:00:00.000+0000", "2024-01-01T12:00:00.000+0000"])
def test_a_rest_in_which_a_record_changed_since_is_put_aside(moved: str) -> None:
    rest = part(account("b", moved), account("c"), held=3)
    script = script_of(part(account("a"), rest=REST, held=3), rest, part(account("c")))
    assert ids(read(script)) == ["a", "c"]
    assert "Id > 'a'" in queries(script)[-1]


def test_a_rest_whose_last_record_changed_after_the_query_was_asked_is_put_aside_for_it_would_hide_others() -> None:
    # Its new place is still behind the others, so that the order does not tell.
    first = part(account("a"), rest=REST, held=2, date="Wed, 10 Jan 2024 00:00:00 GMT")
    moved = account("b", "2024-01-10T00:00:07.000+0000")
    script = script_of(first, part(moved, held=2), part(account("c"), moved), part())
    assert ids(read(script)) == ["a", "c", "b"]


def test_an_answer_that_holds_less_than_it_found_is_not_the_end() -> None:
    script = script_of(part(account("a"), held=2), part(account("b"), held=1))
    assert ids(read(script, page_size=2000)) == ["a", "b"]
    with pytest.raises(UnexpectedResponse, match="says that it holds records, but sent none"):
        read(script_of(part(held=2)))


def test_the_token_goes_to_no_other_host_whatever_an_answer_names() -> None:
    elsewhere = f"https://elsewhere.example.com{REST}"
    script = script_of(part(account("a"), rest=elsewhere, held=2), part(account("b")), part())
    assert ids(read(script)) == ["a", "b"]
    assert {request.url.host for request in script.requests} == {"acme.my.salesforce.example.com"}


@pytest.mark.parametrize("rest", ["", "https://elsewhere.example.com/", 7])
def test_a_part_without_the_address_of_the_rest_is_refused(rest: Any) -> None:
    body = {"totalSize": 2, "done": False, "records": [account("a")], "nextRecordsUrl": rest}
    with pytest.raises(UnexpectedResponse, match="without the address of the rest"):
        read(script_of(answer(body)))


def test_bounds_are_rounded_up_to_milliseconds_and_the_beginning_of_time_is_none() -> None:
    script = script_of(part())
    read(script, start=BEGINNING, end=END.replace(microsecond=1001))
    assert "WHERE SystemModstamp < 2024-02-01T00:00:00.002Z ORDER" in queries(script)[0]


def test_goes_on_after_a_version_with_milliseconds() -> None:
    updated = "2024-01-02T00:00:00.120+0000"
    script = script_of(part(account("a", updated), account("b", updated)), part())
    read(script)
    assert after("2024-01-02T00:00:00.120Z", "b") in queries(script)[-1]


def test_counts_deleted_records_too() -> None:
    script = Script([*OPENING, counted(12)])
    assert ask(script, lambda source: source.count(ACCOUNT, START, END)) == 12
    assert queries(script) == [f"SELECT COUNT() FROM Account WHERE {RANGE}"]
    assert script.paths()[-1].endswith("/queryAll")


def test_identities_ask_for_nothing_else_and_need_no_description() -> None:
    script = Script([*OPENING, part({"attributes": {}, "Id": "a", "SystemModstamp": LATER})])
    found = ask(script, lambda source: list(source.identities(ACCOUNT, START, END)))
    assert found == [[("a", datetime(2024, 1, 3, tzinfo=UTC))]]
    assert queries(script)[0].startswith("SELECT Id, SystemModstamp FROM Account WHERE")


def test_fetches_by_ids_and_asks_again_for_what_an_answer_did_not_hold() -> None:
    script = script_of(part(account("a"), rest=REST, held=3), part(account("b"), account("c")))
    assert ids(ask(script, lambda source: source.fetch(ACCOUNT, ["c", "a", "b", "d'"]))) == ["a", "b", "c"]
    wanted = ["'a', 'b', 'c', 'd\\''", "'b', 'c', 'd\\''"]
    assert queries(script) == [
        f"SELECT {ASKED_FOR} FROM Account WHERE Id IN ({listed}) ORDER BY Id ASC" for listed in wanted
    ]


def test_check_names_version_and_host() -> None:
    script = Script([*OPENING, answer({"sobjects": "/x"})])
    told = ask(script, lambda source: source.check())
    assert told == "Salesforce v58.0 at acme.my.salesforce.example.com"
    assert script.paths()[-1] == "/services/data/v58.0/"


@pytest.mark.parametrize(
    ("listed", "spoken"),
    [
        (versions("57.0", "58.0", "66.0"), "58.0"),
        (versions("61.0", "9.0", "66.0"), "66.0"),
        (versions(), "58.0"),
        (answer({"x": 1}), "58.0"),
        (refusal(404, "NOT_FOUND"), "58.0"),
    ],
)
def test_speaks_version_58_while_it_is_there_and_else_the_newest(listed: Answer, spoken: str) -> None:
    script = Script([signed_in(), listed, counted(1)])
    ask(script, lambda source: source.count(ACCOUNT, START, END))
    assert script.paths()[-1] == f"/services/data/v{spoken}/queryAll"


@pytest.mark.parametrize(
    "answers",
    [
        [refusal(404, "NOT_FOUND", "The requested resource does not exist")],
        [described(), refusal(400, "INVALID_TYPE", "sObject type 'Account' is not supported.")],
    ],
)
def test_an_unknown_table_is_told_as_such(answers: list[Answer]) -> None:
    with pytest.raises(NoSuchTable, match=r"has no table Account at acme\.my\.salesforce"):
        read(Script([*OPENING, *answers]))


def test_a_hidden_key_field_is_told_before_anything_is_read() -> None:
    hidden = {name: kind for name, kind in FIELDS.items() if name != "SystemModstamp"}
    with pytest.raises(UnexpectedResponse, match="does not show SystemModstamp"):
        read(Script([*OPENING, described(hidden)]))


def test_a_query_that_timed_out_is_told_as_such_and_a_wrong_field_in_the_services_words() -> None:
    with pytest.raises(TimedOut, match="Gave up after 4 tries"):
        read(script_of(refusal(400, "QUERY_TIMEOUT", "Your query request was running for too long.")))
    with pytest.raises(UnexpectedResponse, match="INVALID_FIELD: No such column 'Nmae'"):
        read(script_of(refusal(400, "INVALID_FIELD", "No such column 'Nmae'")))


@pytest.mark.parametrize("body", [[], {}, {"records": None, "totalSize": 0}, {"records": [], "totalSize": "0"}, None])
def test_anything_but_a_list_and_a_number_is_refused_and_never_taken_for_the_end(body: object) -> None:
    with pytest.raises(UnexpectedResponse, match="without a list of records and their number"):
        read(script_of(answer(body)))


def test_values_that_are_no_records_are_refused() -> None:
    with pytest.raises(UnexpectedResponse, match="NoneType values where records should be"):
        read(script_of(part(None)))


@pytest.mark.parametrize(
    "pages",
    [
        [part(account("b"), account("a"))],
        [part(account("a"), account("a"))],
        [part(account("a", LATER), account("b"))],
        [part(account("a"), account("b")), part(account("a"), account("b"))],
    ],
)
def test_pairs_that_do_not_increase_mean_that_the_service_ignored_what_was_asked(pages: list[Answer]) -> None:
    with pytest.raises(UnexpectedResponse, match="ignored the order by SystemModstamp and Id"):
        read(script_of(*pages))


@pytest.mark.parametrize("updated", ["2023-12-31T23:59:59.000+0000", "2024-02-01T00:00:00.000+0000"])
def test_a_record_from_outside_the_range_is_refused(updated: str) -> None:
    with pytest.raises(UnexpectedResponse, match="ignored the condition on SystemModstamp"):
        read(script_of(part(account("a", updated))))


def test_records_without_an_id_or_a_version_are_passed_on_for_quarantine() -> None:
    script = script_of(part(account(None), account("b", "yesterday"), account("c")))
    assert len(read(script, page_size=2000)) == 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"credential": {**CREDENTIAL, "password": ""}}, "lacks password"),
        ({"credential": {"username": "x"}}, "lacks client_id, client_secret, password"),
        ({"credential": {}}, "lacks client_id, client_secret"),
        ({"base_url": ""}, "must look like https://host"),
        ({"page_size": 0}, "page_size"),
        ({"page_size": 2001}, "page_size"),
    ],
)
def test_what_cannot_work_is_refused_before_any_request(changes: dict[str, Any], words: str) -> None:
    settings: dict[str, Any] = {"tenant": "acme", "base_url": BASE_URL, "credential": CREDENTIAL}
    with pytest.raises(ConfigurationError, match=words):
        SalesforceSource(**(settings | changes))


def test_an_address_for_signing_in_only_is_refused_with_what_to_give_instead() -> None:
    script = Script([httpx.Response(500)])
    with pytest.raises(ConfigurationError, match=r"test\.salesforce\.com is for signing in only"):
        ask(script, lambda source: source.check(), base_url="https://test.salesforce.com")
    assert script.requests == []


def test_takes_the_address_from_the_credential_where_no_other_is_given() -> None:
    credential = {**CREDENTIAL, "instance_url": f"{BASE_URL}/"}
    assert read(script_of(part()), base_url="", credential=credential) == []
