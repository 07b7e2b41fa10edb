"""Faults that a test or a demo asks for: what they are, which requests they hit, and how they spoil an answer.

Here belongs what is the same for every service. The body of an error belongs to the service's module.
"""

import asyncio
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import Receive, Scope, Send

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
    MALFORMED_RECORD = "malformed_record"


def _in_utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


Moment = Annotated[datetime, AfterValidator(_in_utc)]


class Fault(BaseModel):
    """One fault as it was asked for; what is None is not looked at.

    With `from` and `to`, only requests hit whose range of update times overlaps `[from, to)`. The first `after_page`
    matching requests pass unharmed, the next `times` are hit (None: all).
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
    record_id: int | None = None


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a request is about; `window` is the range of update times it asks for, None where it asks for none."""

    service: str
    tenant: str
    table: str
    window: tuple[float, float] | None = None


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

    def take(self, target: Target) -> Fault | None:
        """The fault that hits this request, if one does; it counts as a hit."""
        for fault_id, fault in self._faults.items():
            if fault.kind is not FaultKind.MALFORMED_RECORD and _aims_at(fault, target) and self._is_due(fault_id):
                self._hits[fault_id] += 1
                return fault
        return None

    def malform(self, target: Target, record_ids: Collection[int]) -> set[int]:
        """Which of these records are to be sent malformed; each counts as a hit."""
        hit = set()
        for fault_id, fault in self._faults.items():
            wanted = fault.kind is FaultKind.MALFORMED_RECORD and fault.record_id in record_ids
            if wanted and _is_about(fault, target) and self._is_due(fault_id):
                self._hits[fault_id] += 1
                hit.add(fault.record_id or 0)
        return hit

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


def _aims_at(fault: Fault, target: Target) -> bool:
    if not _is_about(fault, target):
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
