"""How any service answers a request: slowed down, answered, and spoilt as faults ask.

Here belongs what is the same for every service. What an answer looks like belongs to each.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response

from backfill_assets.sandbox import faults
from backfill_assets.sandbox.faults import Fault, FaultKind, Target
from backfill_assets.sandbox.ids import RecordId
from backfill_assets.sandbox.selection import Json
from backfill_assets.sandbox.table import Table
from backfill_assets.sandbox.world import World


class Refusal(Exception):
    """An answer that is an error; `response` says so in the service's words."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status_code)
        self.response = response


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is to be sent, and which records it holds in full."""

    response: Response
    holds: Collection[RecordId] = ()


class Words(Protocol):
    """How a service tells what went wrong."""

    def failed(self, status: int) -> Response:
        """An error with this status."""
        ...

    def rate_limited(self, wait: int) -> Response:
        """Too many requests."""
        ...

    def query_timeout(self) -> Response:
        """The query took too long."""
        ...

    def expired_cursor(self) -> Response:
        """The place in a result is not known any more."""
        ...

    def unauthorized(self) -> Response:
        """Nobody is signed in."""
        ...

    def wrong_shape(self) -> Response:
        """Good JSON of a shape that nobody expects."""
        ...


async def answered(
    world: World, request: Request, target: Target, make: Callable[[], Answer], words: Words
) -> Response:
    """The answer, late and spoilt as configuration and faults want it."""
    if seconds := world.customs.latency_seconds + world.faults.delay(target):
        await faults.stall(request, seconds)
    fault = world.faults.take(target)
    if fault is None:
        answer = make()
        fault = world.faults.take_holding(target, answer.holds)
        return answer.response if fault is None else await _spoilt(request, fault, lambda: answer.response, words)
    return await _spoilt(request, fault, lambda: make().response, words)


async def _spoilt(request: Request, fault: Fault, answer: Callable[[], Response], words: Words) -> Response:
    match fault.kind:
        case FaultKind.TIMEOUT:
            await faults.stall(request, fault.seconds)
            return answer()
        case FaultKind.RATE_LIMIT:
            return words.rate_limited(fault.retry_after)
        case FaultKind.DROP:
            return faults.dropped(answer())
        case FaultKind.HTML:
            return faults.html_page()
        case FaultKind.TRUNCATE:
            return faults.truncated(answer())
        case FaultKind.WRONG_SHAPE:
            return words.wrong_shape()
        case FaultKind.QUERY_TIMEOUT:
            return words.query_timeout()
        case FaultKind.EXPIRED_CURSOR:
            return words.expired_cursor()
        case FaultKind.EXPIRED_SESSION:
            return words.unauthorized()
    return words.failed(fault.status)


@dataclass(frozen=True, kw_only=True)
class Sent:
    """The records of one answer by id, and which of them it holds in full."""

    records: Mapping[RecordId, Json]
    holds: Collection[RecordId]

    def each(self, view: Callable[[RecordId, Json], Json]) -> list[Json]:
        """Every record as `view` shows it."""
        return [view(written, record) for written, record in self.records.items()]


def sent(
    world: World, target: Target, table: Table, found: Sequence[tuple[int, Json]], *, nonsense: Json, is_narrow: bool
) -> Sent:
    """What is left of these records (each with its number) once faults hid some and put `nonsense` into others.

    An answer that `is_narrow`, holding ids and versions only, holds no record in full.
    """
    numbers: Mapping[RecordId, int] = {table.id_format.written(number): number for number, _ in found}
    hidden = world.faults.hide(target, numbers, lambda written: table.moment(numbers[written]) or 0)
    pairs = zip(numbers, (record for _, record in found), strict=True)
    shown = {written: record for written, record in pairs if written not in hidden}
    if is_narrow:
        return Sent(records=shown, holds=())
    bad = world.faults.malform(target, shown)
    spoilt = {written: {**shown[written], **nonsense} for written in bad}
    return Sent(records={**shown, **spoilt}, holds=shown.keys())


def as_json(content: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """The content as JSON in UTF-8."""
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    return Response(body, status_code=status, headers=headers, media_type="application/json")
