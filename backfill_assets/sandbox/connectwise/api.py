"""ConnectWise PSA's HTTP interface over the sandbox's tables: addresses, credentials, pages, errors.

Here belongs what is ConnectWise's own way to be asked and to answer. What its records look like belongs to
`records.py`, its queries to `query.py`.
"""

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from backfill_assets.errors import UsageError
from backfill_assets.sandbox.answering import Answer, Refusal, Sent, answered, as_json, sent
from backfill_assets.sandbox.connectwise import records
from backfill_assets.sandbox.connectwise.account import CODEBASE, SERVICE, credentials
from backfill_assets.sandbox.connectwise.query import Fields, Query, parse_query
from backfill_assets.sandbox.faults import Target
from backfill_assets.sandbox.selection import Json
from backfill_assets.sandbox.table import Table
from backfill_assets.sandbox.world import World

_CODEBASES = ("v2024_1", "v4_6_release")
_RESOURCES = {
    records.TICKETS: "ticket",
    records.TIME_ENTRIES: "timeentry",
    records.COMPANIES: "company",
    records.CONTACTS: "contact",
}
_ENDPOINT = re.compile(r"(?P<codebase>[^/]+)/apis/3\.0/(?P<endpoint>.+)")
_COMPANY_INFO = re.compile(r"login/companyinfo/(?P<company>[^/]+)")
_RECORD = re.compile(r"(?P<table>.+)/(?P<record>\d+)")


def routes(world: World) -> list[Route]:
    """Every address of ConnectWise."""
    answer = ConnectWise(world).answer
    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    return [Route(f"/{SERVICE}/{{tenant}}/{{rest:path}}", answer, methods=methods)]


class ApiError(Refusal):
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
        content = {"code": code, "message": message, "errors": errors or []}
        super().__init__(as_json(content, status=status, headers=headers))


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
        except Refusal as refusal:
            return refusal.response

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
        target, answer = self._route(call)
        return await answered(self._world, request, target, answer, _Words())

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
        if wait := self._world.admit(SERVICE, call.tenant):
            raise _rate_limited(wait)
        _check_credentials(call.request, call.tenant)

    def _company_info(self, request: Request, tenant: str, company: str) -> Response:
        if company.lower() != tenant.lower():
            raise _not_found(f"There is no company {company}")
        facts = {"CompanyName": tenant.title(), "CompanyID": tenant, "Codebase": CODEBASE, "VersionCode": "v2024.1"}
        return as_json({**facts, "IsCloud": True, "SiteUrl": request.url.netloc})

    def _route(self, call: Call) -> tuple[Target, Callable[[], Answer]]:
        """What the request is about, for the faults, and how to answer it."""
        about = partial(Target, service=SERVICE, tenant=call.tenant, table=call.table_name)
        if call.endpoint == "system/info":
            return about(), lambda: _facts({"version": "v2024.1", "isCloud": True, "serverTimeZone": "UTC"})
        table = call.tables.get(call.table_name)
        if table is None:
            raise _not_found(f"There is no endpoint {call.endpoint}")
        if match := _RECORD.fullmatch(call.endpoint):
            return about(), lambda: self._one(call, table, about(), int(match["record"]))
        query = _query(call)
        target = about(window=query.window)
        if call.endpoint.endswith("/count"):
            return target, lambda: _facts({"count": table.count(query.selection)})
        return target, lambda: self._page(call, table, target, query)

    def _one(self, call: Call, table: Table, target: Target, record_id: int) -> Answer:
        record = table.get(record_id)
        found = [] if record is None else [(record_id, record)]
        fields = Fields.parse(call.request.query_params.get("fields", ""))
        shown = self._sent(table, target, found, fields)
        if not shown.records:
            raise _not_found(f"{_RESOURCES[call.table_name]} {record_id} not found")
        return Answer(response=as_json(shown.each(fields.of)[0]), holds=shown.holds)

    def _page(self, call: Call, table: Table, target: Target, query: Query) -> Answer:
        found = list(islice(table.numbered(query.selection), query.skip, query.skip + query.page_size + 1))
        page = found[: query.page_size]
        links = self._links(call, table, query, page, more=len(found) > len(page))
        shown = self._sent(table, target, page, query.fields)
        headers = {"Link": ", ".join(links)} if links else None
        return Answer(response=as_json(shown.each(query.fields.of), headers=headers), holds=shown.holds)

    def _sent(self, table: Table, target: Target, found: Sequence[tuple[int, Json]], fields: Fields) -> Sent:
        nonsense = {records.TYPED_FIELDS[target.table]: "neither this nor that"}
        return sent(self._world, target, table, found, nonsense=nonsense, is_narrow=fields.is_narrow)

    def _links(self, call: Call, table: Table, query: Query, page: list[tuple[int, Json]], *, more: bool) -> list[str]:
        if not more:
            return []
        if query.forward_only:
            return [_link(call, "next", pageId=page[-1][0])]
        links = [_link(call, "next", page=query.page + 1)]
        if table.is_cheap_to_count(query.selection):
            links.append(_link(call, "last", page=-(-table.count(query.selection) // query.page_size)))
        return links


class _Words:
    """See `Words`."""

    def failed(self, status: int) -> Response:
        code = {401: "Unauthorized", 403: "Forbidden", 404: "NotFound"}.get(status, "ApiError")
        return ApiError(status, code, f"The server answers {status} as asked").response

    def rate_limited(self, wait: int) -> Response:
        return _rate_limited(wait).response

    def query_timeout(self) -> Response:
        return ApiError(500, "ApiError", "Execution Timeout Expired").response

    def expired_cursor(self) -> Response:
        return ApiError(400, "InvalidArgument", "The page is not known").response

    def unauthorized(self) -> Response:
        return _unauthorized("The company, public key or private key is missing or not valid").response

    def wrong_shape(self) -> Response:
        return as_json({"data": []})


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
        raise _unauthorized("Cannot route. The clientId header is missing or not valid")
    user = f"{expected['company_id']}+{expected['public_key']}:{expected['private_key']}"
    wanted = "Basic " + base64.b64encode(user.encode()).decode()
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if f"{scheme.title()} {token.strip()}" != wanted:
        raise _unauthorized("The company, public key or private key is missing or not valid")


def _facts(content: Json) -> Answer:
    return Answer(response=as_json(content))


def _unauthorized(message: str) -> ApiError:
    return ApiError(401, "Unauthorized", message)


def _rate_limited(wait: int) -> ApiError:
    message = f"Too many requests; try again in {wait} seconds"
    return ApiError(429, "TooManyRequests", message, headers={"Retry-After": str(wait)})


def _not_found(message: str) -> ApiError:
    return ApiError(404, "NotFound", message)


def _link(call: Call, relation: str, **parameters: Any) -> str:
    return f'<{call.request.url.include_query_params(**parameters)}>; rel="{relation}"'
