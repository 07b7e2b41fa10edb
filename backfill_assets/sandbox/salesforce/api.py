"""Salesforce's REST interface over the sandbox's tables: addresses, sessions, limits.

Here belongs what is Salesforce's own way to be asked. What is answered to queries belongs to `querying.py`, to jobs
to `bulk.py`, signing in to `signing_in.py`.
"""

import re
from collections.abc import Callable
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from backfill_assets.sandbox.answering import Answer, Refusal, answered, as_json
from backfill_assets.sandbox.faults import Target
from backfill_assets.sandbox.salesforce.account import SERVICE
from backfill_assets.sandbox.salesforce.bulk import Bulk
from backfill_assets.sandbox.salesforce.calls import Call, Plan
from backfill_assets.sandbox.salesforce.describing import VERSIONS, described, listed, versions
from backfill_assets.sandbox.salesforce.querying import Querying
from backfill_assets.sandbox.salesforce.schema import OBJECTS
from backfill_assets.sandbox.salesforce.signing_in import sign_in
from backfill_assets.sandbox.salesforce.wording import SalesforceWords, not_found, refusal
from backfill_assets.sandbox.world import World

_TOKEN = "oauth2/token"  # noqa: S105 - an address
_VERSION = re.compile(r"services/data/v(?P<version>[\d.]+)/(?P<rest>.+)")
_DESCRIBE = re.compile(r"sobjects/(?P<name>[^/]+)/describe")
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def routes(world: World) -> list[Route]:
    """Every address of Salesforce."""
    return [Route(f"/{SERVICE}/{{tenant}}/{{rest:path}}", Salesforce(world).answer, methods=_METHODS)]


class Salesforce:
    """Answers requests to Salesforce."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._words = SalesforceWords()
        querying, bulk = Querying(world), Bulk(world)
        self._planners: tuple[Callable[[Call], Plan | None], ...] = (_about_itself, querying.plan, bulk.plan)

    async def answer(self, request: Request) -> Response:
        """Answer any request below `/salesforce/{tenant}/`."""
        tenant = request.path_params["tenant"]
        try:
            response = await self._answer(request, tenant)
        except Refusal as refused:
            response = refused.response
        used, allotted = self._world.usage(SERVICE, tenant)
        response.headers["Sforce-Limit-Info"] = f"api-usage={used}/{allotted}"
        return response

    async def _answer(self, request: Request, tenant: str) -> Response:
        tables, rest = self._world.tables(SERVICE, tenant), request.path_params["rest"].strip("/")
        if tables is None:
            raise not_found(f"There is no organisation {tenant}")
        if rest == f"services/{_TOKEN}":
            return await self._token(request, tenant)
        if rest == "services/data":
            return as_json(versions())
        match = _VERSION.fullmatch(rest)
        is_known = match is not None and match["version"] in VERSIONS
        call = Call(
            request=request,
            body=await request.body(),
            tenant=tenant,
            tables=tables,
            version=match["version"] if match and is_known else "",
            path=match["rest"] if match and is_known else "",
        )
        return await self._planned(call, self._plan(call))

    async def _planned(self, call: Call, plan: Plan) -> Response:
        self._log(call.request, call.tenant, plan.endpoint)
        token = self._admit(call)
        response = await answered(self._world, call.request, plan.target, plan.make, self._words)
        if response.status_code == 401:
            self._world.sessions.close(token)
        return response

    def _plan(self, call: Call) -> Plan:
        """What is to be done, even where that is to refuse: whoever asks has to be let in first."""
        try:
            if call.method != "GET" and not call.path.startswith("jobs/"):
                raise refusal(405, "METHOD_NOT_ALLOWED", f"{call.method} is not allowed here")
            plans = (planner(call) for planner in self._planners)
            return next(filter(None, plans), None) or Plan.refused(call, not_found())
        except Refusal as refused:
            return Plan.refused(call, refused)

    async def _token(self, request: Request, tenant: str) -> Response:
        self._log(request, tenant, _TOKEN)
        if request.method != "POST":
            raise refusal(405, "METHOD_NOT_ALLOWED", f"{request.method} is not allowed here")
        form = dict(parse_qsl((await request.body()).decode()))
        host = f"{request.url.scheme}://{request.url.netloc}"
        target = Target(service=SERVICE, tenant=tenant, table=_TOKEN, is_aside=True)
        return await answered(
            self._world,
            request,
            target,
            lambda: Answer(response=sign_in(self._world, tenant, host, form)),
            self._words,
        )

    def _admit(self, call: Call) -> str:
        """Let the request in and return its token."""
        scheme, _, token = call.request.headers.get("authorization", "").partition(" ")
        token = token.strip()
        if scheme not in ("Bearer", "OAuth") or not self._world.sessions.admit(call.tenant, token):
            raise Refusal(self._words.unauthorized())
        if wait := self._world.admit(SERVICE, call.tenant):
            raise Refusal(self._words.rate_limited(wait))
        return token

    def _log(self, request: Request, tenant: str, endpoint: str) -> None:
        self._world.log.add(
            target=f"{SERVICE}/{tenant}/{endpoint}",
            method=request.method,
            path=request.url.path,
            query=request.url.query,
        )


def _about_itself(call: Call) -> Plan | None:
    if call.path == "sobjects":
        return call.plan("sobjects", lambda: Answer(response=as_json(listed(call.version))))
    if match := _DESCRIBE.fullmatch(call.path):
        sobject = OBJECTS.get(match["name"])
        if sobject is None:
            raise not_found()
        return call.plan(f"{sobject.name}/describe", lambda: Answer(response=as_json(described(sobject, call.version))))
    return None
