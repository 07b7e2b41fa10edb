"""ServiceNow's Table API and its counts over the sandbox's tables: addresses, credentials, pages, errors.

Here belongs what is ServiceNow's own way to be asked and to answer. What its records look like belongs to
`records.py`, its queries to `query.py`. Rows that somebody may not see are taken from a page after its limit is
applied, as ServiceNow does: a page can be short, or empty, and not be the last.
"""

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from backfill_assets.sandbox.answering import Answer, Refusal, Sent, answered, as_json, sent
from backfill_assets.sandbox.faults import Target
from backfill_assets.sandbox.ids import RecordId, Texts
from backfill_assets.sandbox.selection import Json
from backfill_assets.sandbox.servicenow.account import SERVICE, credentials
from backfill_assets.sandbox.servicenow.query import Query, parse_query
from backfill_assets.sandbox.servicenow.records import TYPED_FIELDS
from backfill_assets.sandbox.servicenow.rendering import Database, View
from backfill_assets.sandbox.table import Table
from backfill_assets.sandbox.world import World

CANCELLED = "Transaction cancelled: maximum execution time exceeded"

_PATH = re.compile(r"api/now/(?:v\d/)?(?P<kind>table|stats)/(?P<table>[^/]+)(?:/(?P<record>[^/]+))?")
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def routes(world: World) -> list[Route]:
    """Every address of ServiceNow."""
    return [Route(f"/{SERVICE}/{{tenant}}/{{rest:path}}", ServiceNow(world).answer, methods=_METHODS)]


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request, once it is known whose it is and what it asks about."""

    request: Request
    tenant: str
    database: Database
    kind: str
    table_name: str
    record: str | None

    @property
    def endpoint(self) -> str:
        """What is asked about, for the log."""
        if self.table_name not in self.database.tables:
            return "unknown"
        return f"{self.table_name}/count" if self.kind == "stats" else self.table_name


class ServiceNow:
    """Answers requests to ServiceNow."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def answer(self, request: Request) -> Response:
        """Answer any request below `/servicenow/{tenant}/`."""
        tenant = request.path_params["tenant"]
        try:
            response = await self._answer(request, tenant)
        except Refusal as refusal:
            response = refusal.response
        response.headers.update(self._limits(tenant))
        return response

    async def _answer(self, request: Request, tenant: str) -> Response:
        call = self._call(request, tenant)
        self._admit(call)
        table = call.database.tables.get(call.table_name)
        if table is None:
            raise _refusal(400, f"Invalid table {call.table_name}")
        target, answer = self._route(call, table)
        return await answered(self._world, request, target, answer, _Words())

    def _call(self, request: Request, tenant: str) -> Call:
        tables, rest = self._world.tables(SERVICE, tenant), request.path_params["rest"]
        if tables is None:
            raise _refusal(404, f"There is no instance {tenant}")
        match = _PATH.fullmatch(rest.strip("/"))
        if match is None:
            self._log(request, tenant, "unknown")
            raise _refusal(400, f"Requested URI does not represent any resource: /{rest.removeprefix('api/')}")
        call = Call(
            request=request,
            tenant=tenant,
            database=Database(tables=tables),
            kind=match["kind"],
            table_name=match["table"],
            record=match["record"],
        )
        self._log(request, tenant, call.endpoint)
        return call

    def _log(self, request: Request, tenant: str, endpoint: str) -> None:
        self._world.log.add(
            target=f"{SERVICE}/{tenant}/{endpoint}",
            method=request.method,
            path=request.url.path,
            query=request.url.query,
        )

    def _admit(self, call: Call) -> None:
        if call.request.method != "GET":
            raise _refusal(405, f"{call.request.method} is not supported here")
        if wait := self._world.admit(SERVICE, call.tenant):
            raise Refusal(_Words().rate_limited(wait))
        _check_credentials(call.request, call.tenant)

    def _limits(self, tenant: str) -> Mapping[str, str]:
        limit = self._world.limit(SERVICE)
        if limit.allowance is None:
            return {}
        return {
            "X-RateLimit-Limit": str(round(limit.allowance.requests * 3600 / limit.allowance.seconds)),
            "X-RateLimit-Reset": str(int(self._world.now() + limit.allowance.seconds)),
            "X-RateLimit-Rule": f"requests of {tenant}",
        }

    def _route(self, call: Call, table: Table) -> tuple[Target, Callable[[], Answer]]:
        """What the request is about, for the faults, and how to answer it."""
        record = call.record
        if record is not None:
            target = Target(service=SERVICE, tenant=call.tenant, table=call.table_name)
            return target, lambda: self._one(call, table, target, record)
        query = parse_query(call.request.query_params, call.database, call.table_name, _ids_of(table))
        window = Target(service=SERVICE, tenant=call.tenant, table=call.table_name, window=query.window)
        if call.kind == "stats":
            return window, lambda: self._statistics(call, table, query)
        return window, lambda: self._page(call, table, window, query)

    def _one(self, call: Call, table: Table, target: Target, sys_id: str) -> Answer:
        number = table.id_format.number(sys_id)
        record = None if number is None else table.get(number)
        found = [] if record is None or number is None else [(number, record)]
        shown = self._sent(call, table, target, found)
        if not shown.records:
            raise _refusal(404, "No Record found", "Record doesn't exist or ACL restricts the record retrieval")
        return Answer(response=as_json({"result": shown.each(self._view(call))[0]}), holds=shown.holds)

    def _statistics(self, call: Call, table: Table, query: Query) -> Answer:
        is_asked = call.request.query_params.get("sysparm_count", "false").lower() == "true"
        stats = {"count": str(table.count(query.selection))} if is_asked else {}
        return Answer(response=as_json({"result": {"stats": stats}}))

    def _page(self, call: Call, table: Table, target: Target, query: Query) -> Answer:
        found = list(query.page(table, partial(call.database.read, call.table_name)))
        total = None if _is_on(call, "sysparm_no_count") else table.count(query.selection)
        links = _links(call, query, more=len(found) > query.limit, total=total)
        headers = {} if total is None else {"X-Total-Count": str(total)}
        if not _is_on(call, "sysparm_suppress_pagination_header"):
            headers["Link"] = ",".join(links)
        shown = self._sent(call, table, target, found[: query.limit])
        return Answer(response=as_json({"result": shown.each(self._view(call))}, headers=headers), holds=shown.holds)

    def _sent(self, call: Call, table: Table, target: Target, found: Sequence[tuple[int, Json]]) -> Sent:
        nonsense = {TYPED_FIELDS[call.table_name]: "neither this nor that"}
        is_narrow = View.parse(call.request.query_params).is_narrow
        return sent(self._world, target, table, found, nonsense=nonsense, is_narrow=is_narrow)

    def _view(self, call: Call) -> Callable[[RecordId, Json], Json]:
        view, address = View.parse(call.request.query_params), _address(call)
        return lambda _record_id, record: view.of(call.database, call.table_name, record, address)


class _Words:
    """See `Words`."""

    def failed(self, status: int) -> Response:
        return _refusal(status, f"The server answers {status} as asked").response

    def rate_limited(self, wait: int) -> Response:
        message = f"Rate limit exceeded; try again in {wait} seconds"
        return _refusal(429, message, headers={"Retry-After": str(wait)}).response

    def query_timeout(self) -> Response:
        error = {"message": CANCELLED, "detail": "maximum execution time exceeded Check logs for error trace"}
        return as_json({"result": [], "error": error, "status": "failure"})

    def expired_cursor(self) -> Response:
        return _refusal(400, "The page is not known").response

    def unauthorized(self) -> Response:
        return _refusal(401, "User Not Authenticated", "Required to provide Auth information").response

    def wrong_shape(self) -> Response:
        return as_json({"data": []})


def _ids_of(table: Table) -> Texts:
    if not isinstance(table.id_format, Texts):
        raise TypeError(f"{table.id_format!r} are no ids of ServiceNow")
    return table.id_format


def _is_on(call: Call, parameter: str) -> bool:
    return call.request.query_params.get(parameter, "false").lower() == "true"


def _address(call: Call) -> Callable[[str, str], str]:
    url = call.request.url
    return lambda table, sys_id: f"{url.scheme}://{url.netloc}/{SERVICE}/{call.tenant}/api/now/table/{table}/{sys_id}"


def _links(call: Call, query: Query, *, more: bool, total: int | None) -> list[str]:
    offsets = {"first": 0}
    if query.offset:
        offsets["prev"] = max(0, query.offset - query.limit)
    if more:
        offsets["next"] = query.offset + query.limit
    if total is not None:
        offsets["last"] = max(0, total - 1) // max(1, query.limit) * query.limit
    return [_link(call, relation, offset, query.limit) for relation, offset in offsets.items()]


def _link(call: Call, relation: str, offset: int, limit: int) -> str:
    url = call.request.url.include_query_params(sysparm_limit=limit, sysparm_offset=offset)
    return f'<{url}>;rel="{relation}"'


def _check_credentials(request: Request, tenant: str) -> None:
    expected = credentials(tenant)
    wanted = base64.b64encode(f"{expected['username']}:{expected['password']}".encode()).decode()
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic" or token.strip() != wanted:
        raise Refusal(_Words().unauthorized())


def _refusal(
    status: int, message: str, detail: str | None = None, *, headers: Mapping[str, Any] | None = None
) -> Refusal:
    content = {"error": {"message": message, "detail": detail}, "status": "failure"}
    return Refusal(as_json(content, status=status, headers=headers))
