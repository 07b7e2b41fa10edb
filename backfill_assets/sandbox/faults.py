"""Faults that a test or a demo asks for: what they are, which requests they hit, and how they spoil an answer.

Here belongs what is the same for every service. The body of an error belongs to the service's module.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import Receive, Scope, Send

from backfill_assets.sandbox.ids import RecordId

HTML_PAGE = (
    "<!DOCTYPE html><html><head><title>Maintenance</title></head><body><h1>We'll be back soon</h1></body></html>"
)


class ConnectionDropped(Exception):
    """Raised in the middle of a body, so that the server closes the connection."""


class FaultKind(StrEnum):
    """What goes wrong."""

    STATUS = "status"
    RATE_LIMIT = "rate_limit"
    TIMEOUT = "timeout"
    DROP = "drop"
    HTML = "html"
    TRUNCATE = "truncate"
    WRONG_SHAPE = "wrong_shape"
    QUERY_TIMEOUT = "query_timeout"
    EXPIRED_SESSION = "expired_session"
    EXPIRED_CURSOR = "expired_cursor"
    FAILED_JOB = "failed_job"
    MALFORMED_RECORD = "malformed_record"
    HIDDEN_RECORDS = "hidden_records"
    LATENCY = "latency"
    NOT_JSON = "not_json"
    UNFIT_ANSWER = "unfit_answer"
    REFUSED_TEXT = "refused_text"
    FILTERED_TEXT = "filtered_text"
    WRONG_DIMENSIONS = "wrong_dimensions"


TWISTS = (
    FaultKind.NOT_JSON,
    FaultKind.UNFIT_ANSWER,
    FaultKind.REFUSED_TEXT,
    FaultKind.FILTERED_TEXT,
    FaultKind.WRONG_DIMENSIONS,
)
"""What a model does wrong; with `record_id`, only for texts that hold it."""

_BESIDE_ANSWERS = (
    FaultKind.MALFORMED_RECORD,
    FaultKind.HIDDEN_RECORDS,
    FaultKind.LATENCY,
    FaultKind.FAILED_JOB,
    *TWISTS,
)
_INSTEAD_OF_ANSWERS = frozenset(FaultKind).difference(_BESIDE_ANSWERS)


def _in_utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


Moment = Annotated[datetime, AfterValidator(_in_utc)]


class Fault(BaseModel):
    """One fault as it was asked for; what is None is not looked at.

    With `from` and `to`, only requests are hit whose range of update times overlaps `[from, to)`; with `record_id`,
    only answers that would hold that record in full, not those narrowed to ids and versions. Hidden records are those
    updated in `[from, to)`, or the one with `record_id`. The first `after_page` matching requests pass unharmed, the
    next `times` are hit (None: all). Signing in is only hit where `table` names it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    kind: FaultKind
    service: str | None = None
    tenant: str | None = None
    table: str | None = None
    status: int = Field(default=500, ge=400, le=599)
    retry_after: int = Field(default=1, ge=0)
    seconds: float = Field(default=30, ge=0, le=600)
    times: int | None = Field(default=None, ge=1)
    start: Moment | None = Field(default=None, alias="from")
    end: Moment | None = Field(default=None, alias="to")
    after_page: int = Field(default=0, ge=0)
    record_id: RecordId | None = None


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a request is about; `window` is the range of update times it asks for, None where it asks for none.

    `is_aside` are requests that are no reading, such as signing in; `is_cursor` those that go on with a result.
    """

    service: str
    tenant: str
    table: str
    window: tuple[float, float] | None = None
    is_aside: bool = False
    is_cursor: bool = False


class FaultBook:
    """The faults that are on, with how often each has hit."""

    def __init__(self) -> None:
        self._faults: dict[int, Fault] = {}
        self._hits: Counter[int] = Counter()
        self._matched: Counter[int] = Counter()
        self._last_id = 0

    def add(self, fault: Fault) -> int:
        """Turn a fault on; return its id."""
        self._last_id += 1
        self._faults[self._last_id] = fault
        return self._last_id

    def remove(self, fault_id: int) -> bool:
        """Turn a fault off; say whether it was on."""
        return self._faults.pop(fault_id, None) is not None

    def clear(self) -> None:
        """Turn every fault off."""
        self._faults.clear()

    def as_json(self) -> list[dict[str, Any]]:
        """Every fault with its id and its hits."""
        return [
            {"id": fault_id, "hits": self._hits[fault_id], **fault.model_dump(mode="json", by_alias=True)}
            for fault_id, fault in self._faults.items()
        ]

    def delay(self, target: Target) -> float:
        """How many seconds this request is to be slowed down by."""
        aimed = self._aimed(target, (FaultKind.LATENCY,))
        return sum(fault.seconds for number, fault in aimed if self._hit(number))

    def take(self, target: Target) -> Fault | None:
        """The fault that hits this request whatever its answer, if one does; it counts as a hit."""
        aimed = (
            (number, fault) for number, fault in self._aimed(target, _INSTEAD_OF_ANSWERS) if fault.record_id is None
        )
        return next((fault for number, fault in aimed if self._hit(number)), None)

    def take_holding(self, target: Target, held: Collection[RecordId]) -> Fault | None:
        """The fault that hits an answer with these records in full, if one does; it counts as a hit."""
        texts = set(map(str, held))
        aimed = (
            (number, fault)
            for number, fault in self._aimed(target, _INSTEAD_OF_ANSWERS)
            if str(fault.record_id) in texts
        )
        return next((fault for number, fault in aimed if self._hit(number)), None)

    def fails_job(self, target: Target) -> bool:
        """Whether the job that this request begins is to fail; it counts as a hit."""
        return any(self._hit(number) for number, _ in self._aimed(target, (FaultKind.FAILED_JOB,)))

    def twist(self, target: Target, text: str) -> FaultKind | None:
        """What the model does wrong with this text, if anything; it counts as a hit."""
        aimed = (
            (number, fault)
            for number, fault in self._aimed(target, TWISTS)
            if fault.record_id is None or str(fault.record_id) in text
        )
        return next((fault.kind for number, fault in aimed if self._hit(number)), None)

    def malform(self, target: Target, record_ids: Collection[RecordId]) -> set[RecordId]:
        """Which of these records are to be sent malformed; each counts as a hit."""
        by_text = {str(record_id): record_id for record_id in record_ids}
        return {
            by_text[str(fault.record_id)]
            for number, fault in self._faults.items()
            if fault.kind is FaultKind.MALFORMED_RECORD
            and str(fault.record_id) in by_text
            and _is_about(fault, target)
            and self._hit(number)
        }

    def hide(
        self, target: Target, record_ids: Collection[RecordId], moment_of: Callable[[RecordId], int]
    ) -> set[RecordId]:
        """Which of these records are to be left out; each answer that lacks some counts as a hit."""
        hidden: set[RecordId] = set()
        for number, fault in self._faults.items():
            if fault.kind is FaultKind.HIDDEN_RECORDS and _is_about(fault, target):
                found = {record_id for record_id in record_ids if _hides(fault, record_id, moment_of)}
                hidden |= found if found and self._hit(number) else set()
        return hidden

    def _aimed(self, target: Target, kinds: Collection[FaultKind]) -> Iterator[tuple[int, Fault]]:
        for number, fault in list(self._faults.items()):
            if fault.kind in kinds and _aims_at(fault, target):
                yield number, fault

    def _hit(self, fault_id: int) -> bool:
        due = self._is_due(fault_id)
        self._hits[fault_id] += due
        return due

    def _is_due(self, fault_id: int) -> bool:
        fault = self._faults[fault_id]
        self._matched[fault_id] += 1
        spent = fault.times is not None and self._hits[fault_id] >= fault.times
        return not spent and self._matched[fault_id] > fault.after_page


def _is_about(fault: Fault, target: Target) -> bool:
    return (
        fault.service in (None, target.service)
        and fault.tenant in (None, target.tenant)
        and fault.table in (None, target.table)
    )


def _hides(fault: Fault, record_id: RecordId, moment_of: Callable[[RecordId], int]) -> bool:
    if fault.record_id is not None:
        return str(fault.record_id) == str(record_id)
    if fault.start is None and fault.end is None:
        return True
    moment = moment_of(record_id)
    return (fault.start is None or fault.start.timestamp() <= moment) and (
        fault.end is None or moment < fault.end.timestamp()
    )


def _aims_at(fault: Fault, target: Target) -> bool:
    if not _is_about(fault, target) or (target.is_aside and fault.table is None):
        return False
    if fault.kind is FaultKind.EXPIRED_CURSOR and not target.is_cursor:
        return False
    if fault.start is None and fault.end is None:
        return True
    if target.window is None:
        return False
    start, end = target.window
    return (fault.end is None or start < fault.end.timestamp()) and (
        fault.start is None or fault.start.timestamp() < end
    )


class DroppedResponse(Response):
    """Promises a whole body, sends half of it, and breaks the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        body = bytes(self.body)
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        raise ConnectionDropped


def truncated(answer: Response) -> Response:
    """The first half of the answer, with a length that says that it is all."""
    body = bytes(answer.body)
    headers = {name: value for name, value in answer.headers.items() if name != "content-length"}
    return Response(body[: len(body) // 2], status_code=answer.status_code, headers=headers)


def dropped(answer: Response) -> Response:
    """The answer, broken off in its middle."""
    return DroppedResponse(answer.body, status_code=answer.status_code, headers=dict(answer.headers))


def html_page() -> Response:
    """A page for people, with status 200, as load balancers send it."""
    return HTMLResponse(HTML_PAGE)


async def stall(request: Request, seconds: float) -> None:
    """Wait, but not longer than the client does."""
    try:
        await asyncio.wait_for(_disconnected(request), seconds)
    except TimeoutError:
        return


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
