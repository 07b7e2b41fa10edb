"""Salesforce's bulk queries over real HTTP: the life of a job, and its results."""

import httpx
import pytest

from backfill_assets_tests.sandbox.organisation import VERSION, Organisation, error_of, within

QUARTER = within("2024-01-01T00:00:00Z", "2024-04-01T00:00:00Z")
SOQL = f"SELECT Id, Name, AnnualRevenue, IsDeleted, SystemModstamp FROM Account WHERE {QUARTER} ORDER BY Id"


def state_of(organisation: Organisation, job: str) -> str:
    return str(organisation.get(f"jobs/query/{job}").json()["state"])


def change(organisation: Organisation, job: str, state: str) -> httpx.Response:
    return organisation.client.patch(f"/{VERSION}/jobs/query/{job}", json={"state": state})


def test_a_job_goes_through_its_states_and_tells_how_much_it_found(organisation: Organisation) -> None:
    made = organisation.start_job(SOQL).json()
    assert (made["state"], made["object"], made["operation"]) == ("UploadComplete", "Account", "query")
    assert error_of(organisation.get(f"jobs/query/{made['id']}/results")) == (400, "INVALIDJOBSTATE")
    assert [state_of(organisation, made["id"]) for _ in range(3)] == ["InProgress", "JobComplete", "JobComplete"]
    told = organisation.get(f"jobs/query/{made['id']}").json()
    assert told["numberRecordsProcessed"] == organisation.count(SOQL)


@pytest.mark.parametrize("operation", ["query", "queryAll"])
def test_the_results_are_what_the_query_finds_as_texts(organisation: Organisation, operation: str) -> None:
    expected = organisation.records(SOQL, path=operation)
    rows = organisation.rows(organisation.finished_job(SOQL, operation), size=20)
    assert [row["Id"] for row in rows] == [record["Id"] for record in expected]
    assert [row["Name"] for row in rows] == [record["Name"] for record in expected]
    assert [row["IsDeleted"] for row in rows] == [str(record["IsDeleted"]).lower() for record in expected]
    assert {row["AnnualRevenue"] == "" for row in rows} == {True, False}
    assert rows[0]["SystemModstamp"] == expected[0]["SystemModstamp"].replace("+0000", "Z")


def test_a_result_without_records_is_only_a_header(organisation: Organisation) -> None:
    job = organisation.finished_job("SELECT Id, Name FROM Account WHERE Name = 'Nobody'")
    answer = organisation.get(f"jobs/query/{job}/results")
    assert answer.text == '"Id","Name"\n'
    assert (answer.headers["Sforce-Locator"], answer.headers["Sforce-NumberOfRecords"]) == ("null", "0")
    assert answer.headers["content-type"].startswith("text/csv")


def test_the_text_can_be_written_in_other_ways(organisation: Organisation) -> None:
    job = organisation.finished_job("SELECT Id, Name FROM Lead LIMIT 1", columnDelimiter="TAB", lineEnding="CRLF")
    head, row, end = organisation.get(f"jobs/query/{job}/results").text.split("\r\n")
    assert (head, row.count("\t"), end) == ('"Id"\t"Name"', 1, "")
    assert error_of(organisation.start_job(SOQL, columnDelimiter="DASH")) == (400, "INVALIDJOB")


def test_the_result_stays_what_it_was_when_the_job_was_made(organisation: Organisation, sandbox: httpx.Client) -> None:
    job = organisation.finished_job(SOQL)
    before = organisation.rows(job, size=50)
    moved = before[3]["Id"]
    sandbox.put(f"/records/salesforce/acme/Account/{moved}", json={"lastUpdated": "2025-01-01T00:00:00Z"})
    assert organisation.rows(job, size=50) == before


def test_a_job_can_be_aborted_and_thrown_away(organisation: Organisation) -> None:
    job = organisation.start_job(SOQL).json()["id"]
    assert error_of(change(organisation, job, "UploadComplete")) == (400, "INVALIDJOBSTATE")
    assert change(organisation, job, "Aborted").json()["state"] == "Aborted"
    assert state_of(organisation, job) == "Aborted"
    assert error_of(organisation.get(f"jobs/query/{job}/results")) == (400, "INVALIDJOBSTATE")
    assert organisation.client.delete(f"/{VERSION}/jobs/query/{job}").status_code == 204
    assert error_of(organisation.get(f"jobs/query/{job}")) == (404, "NOT_FOUND")


def test_addresses_as_a_whole_fail_the_job(organisation: Organisation) -> None:
    job = organisation.finished_job("SELECT Id, BillingAddress FROM Account")
    told = organisation.get(f"jobs/query/{job}").json()
    assert told["state"] == "Failed"
    assert "compound data not supported" in told["errorMessage"]


def test_a_job_fails_when_it_is_asked_to(organisation: Organisation, sandbox: httpx.Client) -> None:
    fault = {"kind": "failed_job", "service": "salesforce", "table": "Account", "times": 1}
    sandbox.post("/faults", json=fault).raise_for_status()
    failed, well = (organisation.finished_job(SOQL) for _ in range(2))
    assert (state_of(organisation, failed), state_of(organisation, well)) == ("Failed", "JobComplete")


@pytest.mark.parametrize(
    ("soql", "operation", "code"),
    [
        ("SELECT Nothing FROM Account", "query", "INVALID_FIELD"),
        ("SELECT", "query", "MALFORMED_QUERY"),
        ("SELECT COUNT() FROM Account", "query", "API_ERROR"),
        ("SELECT Id FROM Account", "insert", "INVALIDJOB"),
    ],
)
def test_a_job_that_makes_no_sense_is_refused(organisation: Organisation, soql: str, operation: str, code: str) -> None:
    assert error_of(organisation.start_job(soql, operation)) == (400, code)


def test_a_job_is_its_tenants_own(organisation: Organisation) -> None:
    answer = organisation.get("jobs/query/7505f0000999999AAA/results")
    assert error_of(answer) == (404, "NOT_FOUND")
    assert error_of(organisation.get("jobs/query")) == (405, "METHOD_NOT_ALLOWED")
    assert organisation.client.post(f"/{VERSION}/jobs/query", content=b"nonsense").status_code == 400
