"""ConnectWise PSA's HTTP interface over the sandbox's tables: addresses, credentials, queries, pages, errors.

Here belongs what is ConnectWise's own way to be asked and to answer. What its records look like belongs to
`records.py`, its conditions to `conditions.py`.
"""

import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from backfill_assets.errors import UsageError
from backfill_assets.sandbox import faults, records
from backfill_assets.sandbox.connectwise_query import Query, parse_query
from backfill_assets.sandbox.dataset import Timeline
from backfill_assets.sandbox.faults import Fault, FaultKind, Target
from backfill_assets.sandbox.table import Build, Json, Table
from backfill_assets.sandbox.world import World

SERVICE = "connectwise"
CODEBASE = "v2024_1/"
RECORDS_A_DAY = 37.5
"""Of all tenants and tables together, at scale 1."""

_CODEBASES = ("v2024_1", "v4_6_release")
_TENANT_SHARES = {"acme": 0.5, "globex": 0.3, "initech": 0.2}
_RESOURCES = {
    records.TICKETS: "ticket",
    records.TIME_ENTRIES: "timeentry",
    records.COMPANIES: "company",
    records.CONTACTS: "contact",
}
_ENDPOINT = re.compile(r"(?P<codebase>[^/]+)/apis/3\.0/(?P<endpoint>.+)")
_COMPANY_INFO = re.compile(r"login/companyinfo/(?P<company>[^/]+)")
_RECORD = re.compile(r"(?P<table>.+)/(?P<record>\d+)")


def credentials(tenant: str) -> dict[str, str]:
    """What a client of this tenant signs in with."""
    return {
        "company_id": tenant,
        "public_key": f"{tenant}-public",
        "private_key": f"{tenant}-private",
        "client_id": f"{tenant}-client-id",
    }


def add_tables(world: World, tenant: str, *, seed: int, scale: int, since: datetime, until: datetime) -> None:
    """Give a tenant its ConnectWise tables."""
    per_day = RECORDS_A_DAY * scale * _TENANT_SHARES.get(tenant, 0.2)
    key = f"{seed}/{scale}/{SERVICE}/{tenant}"
    timelines = {
        table: Timeline(f"{key}/{table}", per_day=per_day * share, since=since, until=until)
        for table, share in records.SHARES.items()
    }
    made = records.Records(key, timelines)
    builds: dict[str, Build] = {
        records.TICKETS: made.ticket,
        records.TIME_ENTRIES: made.time_entry,
        records.COMPANIES: made.company,
        records.CONTACTS: made.contact,
    }
    table = partial(Table, stamp=records.stamp, cache=world.cache)
    world.add(SERVICE, tenant, {name: table(timelines[name], build=build) for name, build in builds.items()})


def routes(world: World) -> list[Route]:
    """Every address of ConnectWise."""
    answer = ConnectWise(world).answer
    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    return [Route(f"/{SERVICE}/{{tenant}}/{{rest:path}}", answer, methods=methods)]


class ApiError(Exception):
    """An answer that is an error, in ConnectWise's words."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        errors: list[Json] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.response = _json(
            {"code": code, "message": message, "errors": errors or []}, status=status, headers=headers
        )


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request, once it is known whose it is and what it asks about."""

    request: Request
    tenant: str
    tables: Mapping[str, Table]
    endpoint: str
    table_name: str


class ConnectWise:
    """Answers requests to ConnectWise."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def answer(self, request: Request) -> Response:
        """Answer any request below `/connectwise/{tenant}/`."""
        try:
            return await self._answer(request)
        except ApiError as error:
            return error.response

    async def _answer(self, request: Request) -> Response:
        tenant, rest = request.path_params["tenant"], request.path_params["rest"]
        tables = self._world.tables(SERVICE, tenant)
        if tables is None:
            raise _not_found(f"There is no company {tenant}")
        if match := _COMPANY_INFO.fullmatch(rest):
            self._log(request, tenant, "login/companyinfo")
            return self._company_info(request, tenant, match["company"])
        match = _ENDPOINT.fullmatch(rest)
        if match is None or match["codebase"] not in _CODEBASES:
            self._log(request, tenant, "unknown")
            raise _not_found(f"Cannot find the address {request.url.path}")
        call = _call(request, tenant, tables, match["endpoint"])
        self._log(request, tenant, _endpoint_of(call))
        self._admit(call)
        return await self._spoilt(call, self._route(call))

    def _log(self, request: Request, tenant: str, endpoint: str) -> None:
        self._world.log.add(
            target=f"{SERVICE}/{tenant}/{endpoint}",
            method=request.method,
            path=request.url.path,
            query=request.url.query,
        )

    def _admit(self, call: Call) -> None:
        if call.request.method != "GET":
            raise ApiError(405, "MethodNotAllowed", f"{call.request.method} is not supported here")
        if wait := self._world.limit.wait(f"{SERVICE}/{call.tenant}"):
            raise _rate_limited(wait)
        _check_credentials(call.request, call.tenant)

    def _company_info(self, request: Request, tenant: str, company: str) -> Response:
        if company.lower() != tenant.lower():
            raise _not_found(f"There is no company {company}")
        facts = {"CompanyName": tenant.title(), "CompanyID": tenant, "Codebase": CODEBASE, "VersionCode": "v2024.1"}
        return _json({**facts, "IsCloud": True, "SiteUrl": request.url.netloc})

    def _route(self, call: Call) -> tuple[Target, Callable[[], Response]]:
        """What the request is about, for the faults, and how to answer it."""
        about = partial(Target, service=SERVICE, tenant=call.tenant, table=call.table_name)
        if call.endpoint == "system/info":
            return about(), lambda: _json({"version": "v2024.1", "isCloud": True, "serverTimeZone": "UTC"})
        table = call.tables.get(call.table_name)
        if table is None:
            raise _not_found(f"There is no endpoint {call.endpoint}")
        if match := _RECORD.fullmatch(call.endpoint):
            return about(), lambda: self._one(call, table, int(match["record"]))
        query = _query(call)
        target = about(window=query.window)
        if call.endpoint.endswith("/count"):
            return target, lambda: _json({"count": table.count(query.selection)})
        return target, lambda: self._page(call, table, query)

    def _one(self, call: Call, table: Table, record_id: int) -> Response:
        record = table.get(record_id)
        if record is None:
            raise _not_found(f"{_RESOURCES[call.table_name]} {record_id} not found")
        return _json(self._as_sent(call, [record])[0])

    def _page(self, call: Call, table: Table, query: Query) -> Response:
        found = list(islice(table.records(query.selection), query.skip, query.skip + query.page_size + 1))
        page = found[: query.page_size]
        links = self._links(call, table, query, page, more=len(found) > len(page))
        return _json(self._as_sent(call, page), headers={"Link": ", ".join(links)} if links else None)

    def _links(self, call: Call, table: Table, query: Query, page: list[Json], *, more: bool) -> list[str]:
        if not more:
            return []
        if query.forward_only:
            return [_link(call, "next", pageId=page[-1]["id"])]
        links = [_link(call, "next", page=query.page + 1)]
        if table.is_cheap_to_count(query.selection):
            links.append(_link(call, "last", page=-(-table.count(query.selection) // query.page_size)))
        return links

    def _as_sent(self, call: Call, page: list[Json]) -> list[Json]:
        target = Target(service=SERVICE, tenant=call.tenant, table=call.table_name)
        bad = self._world.faults.malform(target, {record["id"] for record in page})
        nonsense = {records.TYPED_FIELDS[call.table_name]: "neither this nor that"}
        return [{**record, **nonsense} if record["id"] in bad else record for record in page]

    async def _spoilt(self, call: Call, route: tuple[Target, Callable[[], Response]]) -> Response:
        target, answer = route
        fault = self._world.faults.take(target)
        if fault is None:
            return answer()
        if fault.kind is FaultKind.TIMEOUT:
            await faults.stall(call.request, fault.seconds)
            return answer()
        return _SPOILERS[fault.kind](fault, answer)


def _status(fault: Fault, answer: Callable[[], Response]) -> Response:
    code = {401: "Unauthorized", 403: "Forbidden", 404: "NotFound"}.get(fault.status, "ApiError")
    return ApiError(fault.status, code, f"The server answers {fault.status} as asked").response


_SPOILERS: Mapping[FaultKind, Callable[[Fault, Callable[[], Response]], Response]] = {
    FaultKind.STATUS: _status,
    FaultKind.RATE_LIMIT: lambda fault, answer: _rate_limited(fault.retry_after).response,
    FaultKind.DROP: lambda fault, answer: faults.dropped(answer()),
    FaultKind.HTML: lambda fault, answer: faults.html_page(),
    FaultKind.TRUNCATE: lambda fault, answer: faults.truncated(answer()),
    FaultKind.WRONG_SHAPE: lambda fault, answer: _json({"data": []}),
}


def _call(request: Request, tenant: str, tables: Mapping[str, Table], endpoint: str) -> Call:
    match = _RECORD.fullmatch(endpoint)
    table = match["table"] if match else endpoint.removesuffix("/count")
    return Call(request=request, tenant=tenant, tables=tables, endpoint=endpoint, table_name=table)


def _endpoint_of(call: Call) -> str:
    if call.endpoint != "system/info" and call.table_name not in call.tables:
        return "unknown"
    return call.endpoint if call.endpoint.endswith("/count") else call.table_name


def _query(call: Call) -> Query:
    try:
        return parse_query(call.request, call.tables[call.table_name])
    except UsageError as error:
        field = str(error).partition(":")[0]
        detail = {
            "code": "InvalidField",
            "message": str(error),
            "resource": _RESOURCES[call.table_name],
            "field": field,
        }
        raise ApiError(400, "InvalidArgument", f"{error}", errors=[detail]) from None


def _check_credentials(request: Request, tenant: str) -> None:
    expected = credentials(tenant)
    if not request.headers.get("clientid"):
        raise ApiError(401, "Unauthorized", "Cannot route. The clientId header is missing or not valid")
    user = f"{expected['company_id']}+{expected['public_key']}:{expected['private_key']}"
    wanted = "Basic " + base64.b64encode(user.encode()).decode()
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if f"{scheme.title()} {token.strip()}" != wanted:
        raise ApiError(401, "Unauthorized", "The company, public key or private key is missing or not valid")


def _rate_limited(wait: int) -> ApiError:
    message = f"Too many requests; try again in {wait} seconds"
    return ApiError(429, "TooManyRequests", message, headers={"Retry-After": str(wait)})


def _not_found(message: str) -> ApiError:
    return ApiError(404, "NotFound", message)


def _link(call: Call, relation: str, **parameters: Any) -> str:
    return f'<{call.request.url.include_query_params(**parameters)}>; rel="{relation}"'


def _json(content: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    return Response(body, status_code=status, headers=headers, media_type="application/json")
