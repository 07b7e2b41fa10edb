"""What is asked of the sandbox itself, below `/_sandbox/`: faults, changed records, requests seen, the truth.

Here belongs reading these requests and answering them. How a fault spoils an answer belongs to `faults.py`, what the
truth is to `truth.py`.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from backfill_assets.sandbox.dataset import as_moment
from backfill_assets.sandbox.faults import Fault, Moment
from backfill_assets.sandbox.ids import Numbers
from backfill_assets.sandbox.table import Table
from backfill_assets.sandbox.truth import digest, true_lines
from backfill_assets.sandbox.world import World

_LINES_AT_ONCE = 1000
_SHORTEST_ID = 15
"""Ids that are texts are at least this long."""
Asked = TypeVar("Asked", bound=BaseModel)


class ChangedRecord(BaseModel):
    """How a record is to change; without `lastUpdated` it stays where it is in time."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lastUpdated: Moment | None = None
    set: dict[str, Any] = Field(default_factory=dict)
    delete: bool = False


def routes(world: World) -> list[Route]:
    """Every address below `/_sandbox/`."""
    control = Control(world)
    return [
        Route("/_sandbox/faults", control.add_fault, methods=["POST"]),
        Route("/_sandbox/faults", control.list_faults, methods=["GET"]),
        Route("/_sandbox/faults", control.clear_faults, methods=["DELETE"]),
        Route("/_sandbox/faults/{fault:int}", control.remove_fault, methods=["DELETE"]),
        Route("/_sandbox/requests", control.list_requests, methods=["GET"]),
        Route("/_sandbox/requests", control.clear_requests, methods=["DELETE"]),
        Route("/_sandbox/sessions", control.close_sessions, methods=["DELETE"]),
        Route("/_sandbox/records", control.restore, methods=["DELETE"]),
        Route("/_sandbox/records/{service}/{tenant}/{table:path}/{record}", control.change, methods=["PUT"]),
        Route("/_sandbox/records/{service}/{tenant}/{table:path}/{record}", control.create, methods=["POST"]),
        Route("/_sandbox/truth/{service}/{tenant}/{table:path}", control.truth, methods=["GET"]),
    ]


class Control:
    """Answers requests to the sandbox itself."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def add_fault(self, request: Request) -> Response:
        """Turn a fault on."""
        return JSONResponse({"id": self._world.faults.add(await _body(request, Fault))}, status_code=201)

    async def list_faults(self, request: Request) -> Response:
        """The faults that are on, with their hits."""
        return JSONResponse(self._world.faults.as_json())

    async def clear_faults(self, request: Request) -> Response:
        """Turn every fault off."""
        self._world.faults.clear()
        return Response(status_code=204)

    async def remove_fault(self, request: Request) -> Response:
        """Turn one fault off."""
        if not self._world.faults.remove(request.path_params["fault"]):
            raise HTTPException(404, "There is no such fault; GET /_sandbox/faults lists them.")
        return Response(status_code=204)

    async def list_requests(self, request: Request) -> Response:
        """How many requests came to which endpoint, and the last of them."""
        return JSONResponse(self._world.log.as_json())

    async def clear_requests(self, request: Request) -> Response:
        """Forget the requests seen."""
        self._world.log.clear()
        return Response(status_code=204)

    async def close_sessions(self, request: Request) -> Response:
        """Let the tokens of everyone, or of one `tenant`, expire."""
        self._world.sessions.close_all(request.query_params.get("tenant"))
        return Response(status_code=204)

    async def restore(self, request: Request) -> Response:
        """Forget every changed record."""
        for table in self._world.every_table():
            table.restore()
        return Response(status_code=204)

    async def change(self, request: Request) -> Response:
        """Change or delete a record that exists; one that is only marked as deleted is so from now on."""
        table = self._table(request)
        record_id = _record_id(request, table)
        asked, moment = await _body(request, ChangedRecord), table.moment(record_id)
        if moment is None:
            raise HTTPException(404, f"There is no record {request.path_params['record']}; POST adds one.")
        if asked.delete:
            table.delete(record_id, _seconds(asked, self._world.until))
            return Response(status_code=204)
        return JSONResponse(table.change(record_id, _seconds(asked, moment), asked.set))

    async def create(self, request: Request) -> Response:
        """Add a record under an id that is free; without `lastUpdated` it is as late as the newest may be."""
        table = self._table(request)
        record_id = _record_id(request, table)
        asked = await _body(request, ChangedRecord)
        if record_id < 1 or table.get(record_id) is not None:
            raise HTTPException(409, f"The id {request.path_params['record']} is not free; PUT changes a record.")
        moment = _seconds(asked, self._world.until)
        return JSONResponse(table.change(record_id, moment, asked.set), status_code=201)

    async def truth(self, request: Request) -> Response:
        """Every record of a table within a range, as lines of JSON, or only their number and digest.

        With `gone=0`, without those that are marked as deleted.
        """
        with_gone = request.query_params.get("gone") != "0"
        lines = true_lines(self._table(request).as_it_is(), *_range(request), with_gone=with_gone)
        if request.query_params.get("summary") == "1":
            return JSONResponse(await asyncio.to_thread(_summary, lines))
        return StreamingResponse(_in_blocks(lines), media_type="application/x-ndjson")

    def _table(self, request: Request) -> Table:
        asked = request.path_params
        table = (self._world.tables(asked["service"], asked["tenant"]) or {}).get(asked["table"])
        if table is None:
            raise HTTPException(404, f"The sandbox has no {asked['service']}/{asked['tenant']}/{asked['table']}.")
        return table


def _record_id(request: Request, table: Table) -> int:
    """The number of the record; a short number is one itself, for ids that no one has yet."""
    written = request.path_params["record"]
    number = Numbers().number(written) if len(written) < _SHORTEST_ID else table.id_format.number(written)
    if number is None:
        raise HTTPException(404, f"{written} is no id of this table; give one, or a number from 1 on.")
    return number


async def _body(request: Request, kind: type[Asked]) -> Asked:
    try:
        return kind.model_validate_json(await request.body())
    except ValidationError as error:
        raise HTTPException(400, str(error)) from None


def _seconds(asked: ChangedRecord, otherwise: int) -> int:
    return otherwise if asked.lastUpdated is None else int(asked.lastUpdated.timestamp())


def _range(request: Request) -> tuple[float, float]:
    start, end = (request.query_params.get(name) for name in ("from", "to"))
    try:
        return as_moment(start) if start else -math.inf, as_moment(end) if end else math.inf
    except ValueError:
        raise HTTPException(400, "from and to are ISO 8601 datetimes, such as 2024-01-07T00:00:00Z.") from None


def _summary(lines: Iterator[str]) -> dict[str, Any]:
    held = list(lines)
    return {"count": len(held), "digest": digest(held)}


async def _in_blocks(lines: Iterator[str]) -> AsyncIterator[str]:
    while block := list(islice(lines, _LINES_AT_ONCE)):
        yield "\n".join(block) + "\n"
        await asyncio.sleep(0)  # other requests go on meanwhile
