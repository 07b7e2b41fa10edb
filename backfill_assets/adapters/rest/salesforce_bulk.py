"""Salesforce's Bulk API 2.0: a query as a job whose result is fetched as CSV.

Here belongs the life of a job: made, watched, fetched, deleted. What is asked and what a record must be belongs to
`salesforce`, how values are spelled to `salesforce_values`.
"""

import csv
import io
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import httpx

from backfill_assets.adapters.rest.http import Call, HttpSession, NotFound
from backfill_assets.adapters.rest.retries import Sleep
from backfill_assets.adapters.rest.salesforce_values import Columns, as_record
from backfill_assets.core.source import Record
from backfill_assets.errors import BackfillError, IncompleteRead, TimedOut, TransientError, UnexpectedResponse

RECORDS_AT_ONCE = 10_000

FIRST_PAUSE, PAUSE_GROWTH, LONGEST_PAUSE = 1.0, 1.5, 60.0
LONGEST_JOB = 3600.0
"""Seconds of pauses after which a job is given up."""

_UNDER_WAY = ("UploadComplete", "InProgress")
_DONE = "JobComplete"
_ENDED_BADLY = ("Failed", "Aborted")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class _Part:
    rows: Sequence[Mapping[str, str]]
    locator: str | None


class BulkQueries:
    """Runs queries as jobs of one account; `jobs` is the address of query jobs, `where` begins sentences."""

    def __init__(
        self,
        *,
        http: HttpSession,
        jobs: str,
        where: str,
        redact: Callable[[str], str],
        sleep: Sleep,
        records_at_once: int = RECORDS_AT_ONCE,
    ) -> None:
        self._http, self._jobs, self._where, self._redact = http, jobs, where, redact
        self._sleep, self._records_at_once = sleep, records_at_once

    def pages(self, soql: str, columns: Columns) -> Iterator[Sequence[Record]]:
        """The records that the query finds, deleted ones included, in no order."""
        # A try whose answer was lost leaves a job behind that nobody fetches; Salesforce deletes it after a week.
        job = self._create(soql)
        is_done = False
        try:
            held = self._wait_for(job)
            is_done = True
            yield from self._results(job, columns, held)
        finally:
            self._discard(job, is_done=is_done)

    def _create(self, soql: str) -> str:
        answer = self._http.request(
            Call(path=self._jobs, method="POST", content={"operation": "queryAll", "query": soql})
        )
        job = answer.get("id") if isinstance(answer, dict) else None
        if not isinstance(job, str) or not job.isalnum():
            raise UnexpectedResponse(f"{self._where} made a bulk job without an id.")
        return job

    def _wait_for(self, job: str) -> int | None:
        """Wait until the job is done; how many records it found, where it says so."""
        waited, pause = 0.0, FIRST_PAUSE
        while True:
            state = self._http.get(f"{self._jobs}/{job}")
            match state.get("state") if isinstance(state, dict) else None:
                case "JobComplete":
                    held = state.get("numberRecordsProcessed")
                    return held if type(held) is int else None
                case "Failed" | "Aborted" as ending:
                    words = self._redact(str(state.get("errorMessage") or "it does not say why"))
                    raise TransientError(f"{self._where} ended the bulk job {job} as {ending}: {words}")
                case "UploadComplete" | "InProgress":
                    pass
                case unknown:
                    raise UnexpectedResponse(f"{self._where} says that the bulk job {job} is {unknown!r}.")
            if waited >= LONGEST_JOB:
                raise TimedOut(f"{self._where} did not finish the bulk job {job} within {waited:.0f} s.")
            self._sleep(pause)
            waited, pause = waited + pause, min(pause * PAUSE_GROWTH, LONGEST_PAUSE)

    def _results(self, job: str, columns: Columns, held: int | None) -> Iterator[Sequence[Record]]:
        received, locator, is_first = 0, None, True
        while locator or is_first:
            part = self._part(job, columns, locator)
            if part.locator and not part.rows:
                raise UnexpectedResponse(f"{self._where} sent a part of the bulk job {job} that holds nothing.")
            received += len(part.rows)
            locator, is_first = part.locator, False
            if part.rows:
                yield [as_record(row, columns) for row in part.rows]
        if held is not None and received < held:
            raise IncompleteRead(f"{self._where} found {held} records in the bulk job {job}, but sent {received}.")

    def _part(self, job: str, columns: Columns, locator: str | None) -> _Part:
        params = {"maxRecords": str(self._records_at_once), **({"locator": locator} if locator else {})}
        call = Call(path=f"{self._jobs}/{job}/results", params=params, headers={"Accept": "text/csv"}, body="CSV")
        try:
            part: _Part = self._http.request(call, lambda response: _read_part(response, columns))
        except NotFound as error:
            raise TransientError(f"{self._where} no longer knows the bulk job {job}.") from error
        return part

    def _discard(self, job: str, *, is_done: bool) -> None:
        """Delete the job, and stop it first where it may be under way: it would go on to use up the tenant's quota."""
        address = f"{self._jobs}/{job}"
        if not is_done:
            with suppress(BackfillError):  # one that failed cannot be stopped any more
                self._http.once(Call(path=address, method="PATCH", content={"state": "Aborted"}), _nothing)
        try:
            self._http.once(Call(path=address, method="DELETE"), _nothing)
        except BackfillError as error:
            # What was read is whole without this, and an error under way must not be hidden by it.
            _log.info("the bulk job %s is left to be deleted by Salesforce in a week: %s", job, error)


def _nothing(_response: httpx.Response) -> None:
    return None


def _read_part(response: httpx.Response, columns: Columns) -> _Part:
    """The rows of a part by column; raises ValueError where the body is cut, or is not what was asked for."""
    text = response.content.decode("utf-8")
    try:
        # newline="": line ends within a text are part of it.
        header, *lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    except csv.Error as error:
        raise ValueError("this is not CSV") from error
    if set(header) != set(columns) or any(len(line) != len(header) for line in lines):
        raise ValueError("these are other columns")
    told = response.headers.get("Sforce-NumberOfRecords")
    if told is not None and int(told) != len(lines):
        raise ValueError("rows are missing")
    locator = response.headers.get("Sforce-Locator")
    rows = [dict(zip(header, line, strict=True)) for line in lines]
    return _Part(rows=rows, locator=None if locator in (None, "", "null") else locator)
