"""What the Salesforce client makes of bulk jobs, and that a record is the same by either way: scripted."""

import json
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from backfill_assets.adapters.rest.salesforce_bulk import LONGEST_JOB, LONGEST_PAUSE
from backfill_assets.adapters.rest.salesforce_tables import ACCOUNT
from backfill_assets.adapters.rest.salesforce_values import as_record
from backfill_assets.core.source import Record
from backfill_assets.errors import BackfillError, IncompleteRead, TimedOut, TransientError, UnexpectedResponse
from backfill_assets.tenant_history.rows import RowFitter
from backfill_assets_tests.adapters.rest.scripted import Answer, Script, answer
from backfill_assets_tests.adapters.rest.scripted_salesforce import (
    ASKED_FOR,
    FIELDS,
    JOB,
    OPENING,
    account,
    counted,
    described,
    job,
    part,
    refusal,
    rows,
    salesforce,
)

START, END = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC)
DONE, GONE = job("JobComplete"), httpx.Response(204)
JOBS = "/services/data/v58.0/jobs/query"


def row(key: str, updated: str = "2024-01-02T00:00:00.000Z") -> str:
    return f'"{key}","false","Acme","12","1000.5","{updated}"'


def read(script: Script, **settings: Any) -> list[Record]:
    with closing(salesforce(script, bulk_above_rows=1, bulk_records_at_once=2, **settings)) as source:
        return [record for found in source.records(ACCOUNT, START, END) for record in found]


def script_of(*answers: Answer) -> Script:
    return Script([*OPENING, described(), counted(3), job("UploadComplete"), *answers])


def refused(kind: type[BackfillError], words: str, *answers: Answer) -> Script:
    script = script_of(*answers)
    with pytest.raises(kind, match=words):
        read(script)
    return script


def asked(script: Script) -> list[tuple[str, str]]:
    return [(request.method, request.url.path) for request in script.requests[4:]]


def ids(records: Iterable[Record]) -> list[Any]:
    return [record["Id"] for record in records]


def test_a_range_that_holds_more_is_read_by_a_job_that_is_deleted_afterwards() -> None:
    script = script_of(job("InProgress"), DONE, rows(row("b"), row("a"), locator="MTAw"), rows(row("c")), GONE)
    assert ids(read(script)) == ["b", "a", "c"]
    assert asked(script) == [
        ("POST", JOBS),
        *[("GET", f"{JOBS}/{JOB}")] * 2,
        *[("GET", f"{JOBS}/{JOB}/results")] * 2,
        ("DELETE", f"{JOBS}/{JOB}"),
    ]
    assert json.loads(script.requests[4].content) == {
        "operation": "queryAll",
        "query": (
            f"SELECT {ASKED_FOR} FROM Account WHERE SystemModstamp >= 2024-01-01T00:00:00Z "
            "AND SystemModstamp < 2024-02-01T00:00:00Z"
        ),
    }
    results = [dict(request.url.params) for request in script.requests if request.url.path.endswith("/results")]
    assert results == [{"maxRecords": "2"}, {"maxRecords": "2", "locator": "MTAw"}]


def test_a_range_that_holds_no_more_is_read_by_queries() -> None:
    script = Script([*OPENING, described(), counted(1), part(account("a"))])
    assert ids(read(script)) == ["a"]


def test_a_table_too_wide_for_an_address_is_read_by_a_job_whatever_it_holds() -> None:
    wide = {**FIELDS, **{f"A_rather_long_name_of_a_custom_field_{n:04d}__c": "string" for n in range(300)}}
    script = Script([*OPENING, described(wide), job("UploadComplete"), job("Failed", errorMessage="no")])
    with pytest.raises(TransientError):
        read(script)
    assert not [request for request in script.requests if "q" in request.url.params]


def test_a_record_is_the_same_to_the_byte_by_either_way() -> None:
    fields = {
        "Id": "id",
        "Flag": "boolean",
        "Count": "int",
        "Big": "long",
        "Ratio": "double",
        "Money": "currency",
        "Share": "percent",
        "At": "datetime",
        "On": "date",
        "Clock": "time",
        "Words": "textarea",
        "Nothing": "string",
        "SystemModstamp": "datetime",
    }
    by_query = {
        "attributes": {"type": "Account"},
        "Id": "a",
        "Flag": True,
        "Count": 12,
        "Big": 9007199254740993,
        "Ratio": 3.5e8,
        "Money": 350000000,
        "Share": 0.1,
        "At": "2024-01-02T03:04:05.678+0000",
        "On": "2024-01-02",
        "Clock": "10:00:00.000Z",
        "Words": 'a "b",\r\nc',
        "Nothing": None,
        "SystemModstamp": "2024-01-02T00:00:00.000+0000",
    }
    by_job = {
        "Id": "a",
        "Flag": "true",
        "Count": "12",
        "Big": "9007199254740993",
        "Ratio": "350000000",
        "Money": "3.5E8",
        "Share": "0.1",
        "At": "2024-01-02T03:04:05.678Z",
        "On": "2024-01-02",
        "Clock": "10:00:00.000Z",
        "Words": 'a "b",\r\nc',
        "Nothing": "",
        "SystemModstamp": "2024-01-02T00:00:00.000Z",
    }
    records = [as_record(sent, fields) for sent in (by_query, by_job)]
    assert repr(records[0]) == repr(records[1])
    fitter = RowFitter(ACCOUNT)
    assert repr(fitter.fit(records[0])) == repr(fitter.fit(records[1]))
    assert records[0]["Big"] == 9007199254740993


@pytest.mark.parametrize(("kind", "sent"), [("boolean", "maybe"), ("int", "12.5"), ("double", "x"), ("datetime", 7)])
def test_a_value_that_is_not_of_its_type_is_passed_on_for_quarantine(kind: str, sent: Any) -> None:
    assert as_record({"x": sent}, {"x": kind}) == {"x": sent}


def test_line_ends_and_quotes_within_a_text_survive() -> None:
    line = '"a","false","He said ""no"",\r\nthen\nleft","12","1000.5","2024-01-02T00:00:00.000Z"'
    [record] = read(script_of(DONE, rows(line), GONE))
    assert record["Name"] == 'He said "no",\r\nthen\nleft'


def test_a_result_without_records_is_none() -> None:
    assert read(script_of(DONE, rows(), GONE)) == []


@pytest.mark.parametrize("state", ["Failed", "Aborted"])
def test_a_job_that_ended_badly_is_told_in_its_own_words_and_deleted(state: str) -> None:
    ended = job(state, errorMessage="the-password: too many fields")
    script = refused(TransientError, rf"as {state}: \*\*\*: too many fields", ended, GONE)
    assert asked(script)[-1] == ("DELETE", f"{JOBS}/{JOB}")


def test_a_job_is_watched_at_longer_and_longer_intervals_and_given_up_in_the_end() -> None:
    script = refused(TimedOut, "did not finish the bulk job", job("InProgress"))
    pauses = script.pauses
    assert pauses[:3] == [1, 1.5, 2.25]
    assert pauses == sorted(pauses)
    assert max(pauses) == LONGEST_PAUSE
    assert LONGEST_JOB <= sum(pauses) <= LONGEST_JOB + LONGEST_PAUSE
    assert [method for method, _ in asked(script)][-2:] == ["PATCH", "DELETE"]
    assert json.loads(script.requests[-2].content) == {"state": "Aborted"}


def test_a_job_that_nobody_reads_to_its_end_is_deleted_too() -> None:
    script = script_of(DONE, rows(row("a"), locator="x"), GONE)
    source = salesforce(script, bulk_above_rows=1)
    pages = source.records(ACCOUNT, START, END)
    next(pages)
    pages.close()  # type: ignore[attr-defined]
    source.close()
    assert asked(script)[-1] == ("DELETE", f"{JOBS}/{JOB}")


def test_a_job_that_cannot_be_deleted_fails_nothing() -> None:
    assert ids(read(script_of(DONE, rows(row("a")), refusal(500, "UNKNOWN_EXCEPTION")))) == ["a"]


@pytest.mark.parametrize(
    "cut",
    [
        rows(row("a"), **{"Sforce-NumberOfRecords": "2"}),
        rows('"a","false","Acm'),
        rows('"a","false"'),
        rows("Id,Name"),
        httpx.Response(200, html="<html>We'll be back soon</html>"),
        httpx.Response(200, text=""),
        httpx.Response(200, content=b"\xff\xfe"),
    ],
)
def test_a_part_that_is_cut_or_no_csv_is_asked_for_again_and_never_taken_for_the_end(cut: Answer) -> None:
    assert ids(read(script_of(DONE, cut, cut, rows(row("a")), GONE))) == ["a"]
    refused(UnexpectedResponse, "not CSV.*Gave up after 4 tries", DONE, cut)


def test_fewer_records_than_the_job_found_are_an_incomplete_read() -> None:
    done = job("JobComplete", numberRecordsProcessed=3)
    refused(IncompleteRead, "found 3 records in the bulk job", done, rows(row("a")), GONE)
    assert ids(read(script_of(job("JobComplete", numberRecordsProcessed=1), rows(row("a")), GONE))) == ["a"]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([rows(row("a"), row("a"))], "sent the record 'a' twice"),
        ([rows(row("a"), locator="x"), rows(row("a"))], "sent the record 'a' twice"),
        ([rows(row("a", "2024-02-01T00:00:00.000Z"))], "ignored the condition on SystemModstamp"),
        ([rows(locator="x")], "that holds nothing"),
    ],
)
def test_what_came_twice_or_from_outside_is_refused(parts: list[Answer], words: str) -> None:
    refused(UnexpectedResponse, words, DONE, *parts)


@pytest.mark.parametrize("made", [answer({}), answer([]), answer({"id": "../x"})])
def test_a_job_without_an_id_is_refused(made: Answer) -> None:
    with pytest.raises(UnexpectedResponse, match="without an id"):
        read(Script([*OPENING, described(), counted(3), made]))


@pytest.mark.parametrize("state", [job("Paused"), answer([]), answer({"state": None})])
def test_a_state_that_is_none_is_refused(state: Answer) -> None:
    refused(UnexpectedResponse, "says that the bulk job", state)


def test_a_job_that_is_forgotten_while_it_is_read_can_be_made_again() -> None:
    refused(TransientError, "no longer knows the bulk job", DONE, refusal(404, "NOT_FOUND"))


def test_fetches_a_table_too_wide_for_an_address_by_a_job() -> None:
    wide = {**FIELDS, **{f"A_rather_long_name_of_a_custom_field_{n:04d}__c": "string" for n in range(300)}}
    columns = [name for name, kind in wide.items() if kind not in ("address", "base64")]
    body = ",".join(columns) + "\n" + ",".join(["a", *[""] * (len(columns) - 1)]) + "\n"
    result = httpx.Response(200, text=body, headers={"Content-Type": "text/csv"})
    script = Script([*OPENING, described(wide), job("UploadComplete"), DONE, result, GONE])
    with closing(salesforce(script)) as source:
        assert ids(source.fetch(ACCOUNT, ["a"])) == ["a"]
    assert "WHERE Id IN ('a')" in json.loads(script.requests[3].content)["query"]
