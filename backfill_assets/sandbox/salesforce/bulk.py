"""Salesforce's Bulk API 2.0 for queries: jobs that are made, looked at, read as CSV, stopped and thrown away.

Here belongs the life of a job. Which records it found belongs to `results.py`.
"""

import base64
import csv
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any

from starlette.responses import Response

from backfill_assets.sandbox.answering import Answer, as_json, sent
from backfill_assets.sandbox.faults import Target
from backfill_assets.sandbox.salesforce.calls import Call, Plan
from backfill_assets.sandbox.salesforce.querying import is_narrow, nonsense_of, read_soql
from backfill_assets.sandbox.salesforce.results import Result
from backfill_assets.sandbox.salesforce.schema import as_time
from backfill_assets.sandbox.salesforce.soql import Soql
from backfill_assets.sandbox.salesforce.wording import not_found, refusal
from backfill_assets.sandbox.selection import Json
from backfill_assets.sandbox.world import World

LARGEST_PAGE = 10_000
"""So many records at most are in one answer, however many are asked for."""

NO_COMPOUNDS = "FUNCTIONALITY_NOT_ENABLED: Selecting compound data not supported in Bulk Query"

_JOB = re.compile(r"jobs/query/(?P<job>750[A-Za-z0-9]+)(?P<results>/results)?")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000\+0000")
_DELIMITERS = {"COMMA": ",", "SEMICOLON": ";", "TAB": "\t", "PIPE": "|", "CARET": "^", "BACKQUOTE": "`"}
_LINE_ENDINGS = {"LF": "\n", "CRLF": "\r\n"}


class JobState(StrEnum):
    """How far a job is."""

    UPLOAD_COMPLETE = "UploadComplete"
    IN_PROGRESS = "InProgress"
    JOB_COMPLETE = "JobComplete"
    FAILED = "Failed"
    ABORTED = "Aborted"


@dataclass(kw_only=True)
class Job:
    """One query job; each look at it lets it get on by one state."""

    name: str
    tenant: str
    operation: str
    delimiter: str
    line_ending: str
    created: str
    result: Result
    error: str
    state: JobState = JobState.UPLOAD_COMPLETE

    def get_on(self) -> None:
        """Go to the next state, where there is one."""
        if self.state is JobState.UPLOAD_COMPLETE:
            self.state = JobState.IN_PROGRESS
        elif self.state is JobState.IN_PROGRESS:
            self.state = JobState.FAILED if self.error else JobState.JOB_COMPLETE

    def as_json(self, version: str) -> Json:
        """The job as it is told."""
        told = {
            "id": self.name,
            "operation": self.operation,
            "object": self.result.soql.sobject.name,
            "createdById": "0055f0000000000AAA",
            "createdDate": self.created,
            "systemModstamp": self.created,
            "state": self.state,
            "concurrencyMode": "Parallel",
            "contentType": "CSV",
            "apiVersion": float(version),
            "jobType": "V2Query",
            "lineEnding": self.line_ending,
            "columnDelimiter": self.delimiter,
            "retries": 0,
            "numberRecordsProcessed": self.result.total if self.state is JobState.JOB_COMPLETE else 0,
        }
        return {**told, "errorMessage": self.error} if self.state is JobState.FAILED else told


class Bulk:
    """Plans the answers to requests about jobs."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._jobs: dict[str, Job] = {}
        self._given = 0

    def plan(self, call: Call) -> Plan | None:
        """How to answer this request; None where it is about no job."""
        if call.path == "jobs/query":
            return self._begin(call)
        match = _JOB.fullmatch(call.path)
        if match is None:
            return None
        job = self._jobs.get(match["job"])
        if job is None or job.tenant != call.tenant:
            raise not_found(f"There is no job {match['job']}")
        if match["results"]:
            return self._results(call, job)
        target = call.target(job.result.soql.sobject.name)
        return call.plan("jobs/query", lambda: Answer(response=self._about(call, job)), target)

    def _begin(self, call: Call) -> Plan:
        if call.method != "POST":
            raise refusal(405, "METHOD_NOT_ALLOWED", f"{call.method} is not allowed here")
        asked = _object_in(call.body)
        if asked.get("operation") not in ("query", "queryAll"):
            raise refusal(400, "INVALIDJOB", f"Unsupported operation {asked.get('operation')}")
        soql = read_soql(str(asked.get("query", "")))
        if not soql.fields or soql.offset:
            raise refusal(400, "API_ERROR", "Aggregate queries and OFFSET are not supported in Bulk Query")
        target = call.target(soql.sobject.name)
        return call.plan("jobs/query", partial(self._started, call, target, asked, soql), target)

    def _started(self, call: Call, target: Target, asked: Json, soql: Soql) -> Answer:
        result = Result(call.tables[soql.sobject.name], soql, with_gone=asked["operation"] == "queryAll")
        error = NO_COMPOUNDS if any(field.type == "address" for field in soql.fields) else ""
        if self._world.faults.fails_job(target):
            error = "InternalServerError: the job failed as asked"
        return Answer(response=as_json(self._keep(call, asked, result, error).as_json(call.version)))

    def _keep(self, call: Call, asked: Json, result: Result, error: str) -> Job:
        self._given += 1
        job = Job(
            name=f"7505f0000{self._given:06d}AAA",
            tenant=call.tenant,
            operation=asked["operation"],
            delimiter=_known(asked, "columnDelimiter", _DELIMITERS),
            line_ending=_known(asked, "lineEnding", _LINE_ENDINGS),
            created=as_time(self._world.now()),
            result=result,
            error=error,
        )
        self._jobs[job.name] = job
        return job

    def _about(self, call: Call, job: Job) -> Response:
        match call.method:
            case "GET":
                job.get_on()
            case "PATCH":
                if _object_in(call.body).get("state") != JobState.ABORTED:
                    raise refusal(400, "INVALIDJOBSTATE", "A job can only be aborted")
                job.state = JobState.ABORTED
            case "DELETE":
                del self._jobs[job.name]
                return Response(status_code=204)
            case _:
                raise refusal(405, "METHOD_NOT_ALLOWED", f"{call.method} is not allowed here")
        return as_json(job.as_json(call.version))

    def _results(self, call: Call, job: Job) -> Plan:
        target = call.target(job.result.soql.sobject.name, window=job.result.window)
        return call.plan("jobs/query/results", partial(self._page, call, target, job), target)

    def _page(self, call: Call, target: Target, job: Job) -> Answer:
        if job.state is not JobState.JOB_COMPLETE:
            raise refusal(400, "INVALIDJOBSTATE", f"The job is {job.state}, its results cannot be had")
        start = _place(call.request.query_params.get("locator", ""))
        found = job.result.page(start, _page_size(call.request.query_params.get("maxRecords", "")))
        sobject, fields = job.result.soql.sobject, job.result.soql.fields
        shown = sent(
            self._world, target, job.result.table, found, nonsense=nonsense_of(sobject), is_narrow=is_narrow(fields)
        )
        end = start + len(found)
        headers = {
            "Sforce-Locator": _locator(end) if end < job.result.total else "null",
            "Sforce-NumberOfRecords": str(len(shown.records)),
        }
        rows = shown.each(lambda _id, record: {field.name: _cell(record[field.name]) for field in fields})
        text = _csv(job, [field.name for field in fields], rows)
        return Answer(response=Response(text, headers=headers, media_type="text/csv"), holds=shown.holds)


def _object_in(body: bytes) -> Json:
    try:
        asked = json.loads(body)
    except ValueError:
        asked = None
    if not isinstance(asked, dict):
        raise refusal(400, "JSON_PARSER_ERROR", "The body is no JSON object")
    return asked


def _known(asked: Json, name: str, known: Mapping[str, str]) -> str:
    value = str(asked.get(name, next(iter(known))))
    if value not in known:
        raise refusal(400, "INVALIDJOB", f"{name} cannot be {value}")
    return value


def _page_size(text: str) -> int:
    return min(LARGEST_PAGE, int(text)) if text.isdigit() and int(text) else LARGEST_PAGE


def _locator(place: int) -> str:
    return base64.urlsafe_b64encode(str(place).encode()).decode().rstrip("=")


def _place(locator: str) -> int:
    try:
        return int(base64.urlsafe_b64decode(locator + "=" * (-len(locator) % 4))) if locator else 0
    except ValueError:
        raise refusal(400, "INVALID_LOCATOR", f"The locator {locator} is not known") from None


def _csv(job: Job, names: list[str], rows: list[Json]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(
        text,
        names,
        delimiter=_DELIMITERS[job.delimiter],
        lineterminator=_LINE_ENDINGS[job.line_ending],
        quoting=csv.QUOTE_ALL,
    )
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case str():
            return value.replace("+0000", "Z") if _TIME.fullmatch(value) else value
    return str(value)
