"""Salesforce's queries, single records and limits: what is asked, and how the answer looks.

Here belongs what is answered as JSON. What a query means belongs to `soql.py`, which records it found to
`results.py`.
"""

import re
from collections.abc import Callable, Sequence

from backfill_assets.sandbox.answering import Answer, as_json, sent
from backfill_assets.sandbox.faults import Target
from backfill_assets.sandbox.ids import RecordId
from backfill_assets.sandbox.salesforce.account import SERVICE
from backfill_assets.sandbox.salesforce.calls import Call, Plan
from backfill_assets.sandbox.salesforce.records import TYPED_FIELDS
from backfill_assets.sandbox.salesforce.results import Result, Results, selection_of, window_of
from backfill_assets.sandbox.salesforce.schema import OBJECTS, Field, SObject, whole_id
from backfill_assets.sandbox.salesforce.soql import Soql, SoqlError
from backfill_assets.sandbox.salesforce.soql_syntax import parse
from backfill_assets.sandbox.salesforce.wording import SalesforceWords, not_found, refusal, refused_query
from backfill_assets.sandbox.selection import Json
from backfill_assets.sandbox.world import World

NARROW = frozenset(("Id", "IsDeleted", "SystemModstamp", "LastModifiedDate"))
"""Answers with no more than these hold no record in full."""

_RECORD = re.compile(r"sobjects/(?P<name>[^/]+)/(?P<record>[A-Za-z0-9]{15,18})")
_LOCATOR = re.compile(r"(?P<operation>query|queryAll)/(?P<name>01g[A-Za-z0-9]+)-(?P<start>\d{1,9})")
_BATCH_SIZE = re.compile(r"batchSize\s*=\s*(\d{1,6})", re.IGNORECASE)


def read_soql(text: str) -> Soql:
    """Read a query, or refuse it in Salesforce's words."""
    try:
        return parse(text)
    except SoqlError as error:
        raise refused_query(error) from None


def is_narrow(fields: Sequence[Field]) -> bool:
    """Whether an answer with these fields holds ids and versions only."""
    return NARROW.issuperset(field.name for field in fields)


def nonsense_of(sobject: SObject) -> Json:
    """What a malformed record of this object holds."""
    return {TYPED_FIELDS[sobject.name]: "neither this nor that"}


class Querying:
    """Plans the answers to queries."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._results = Results()

    def plan(self, call: Call) -> Plan | None:
        """How to answer this request; None where it is none of these."""
        if call.path == "limits":
            return call.plan("limits", lambda: self._limits(call))
        if call.path in ("query", "queryAll"):
            return self._query(call)
        if match := _LOCATOR.fullmatch(call.path):
            return self._more(call, match["name"], int(match["start"]))
        if match := _RECORD.fullmatch(call.path):
            return self._record(call, match["name"], match["record"])
        return None

    def _query(self, call: Call) -> Plan:
        soql, with_gone = read_soql(call.request.query_params.get("q", "")), call.path == "queryAll"
        name = soql.sobject.name
        target = call.target(name, window=window_of(selection_of(soql, with_gone=with_gone)))
        if not soql.fields:
            return call.plan(f"{name}/count", lambda: self._count(call, soql, with_gone=with_gone), target)
        return call.plan(name, lambda: self._first(call, target, soql, with_gone=with_gone), target)

    def _count(self, call: Call, soql: Soql, *, with_gone: bool) -> Answer:
        result = Result(call.tables[soql.sobject.name], soql, with_gone=with_gone)
        return Answer(response=as_json({"totalSize": result.total, "done": True, "records": []}))

    def _first(self, call: Call, target: Target, soql: Soql, *, with_gone: bool) -> Answer:
        result = Result(call.tables[soql.sobject.name], soql, with_gone=with_gone)
        return self._page(call, target, result, "", 0)

    def _more(self, call: Call, name: str, start: int) -> Plan:
        result = self._results.find(call.tenant, name)
        if result is None or start > result.total:
            return call.plan("unknown", lambda: Answer(response=SalesforceWords().expired_cursor()))
        about = result.soql.sobject.name
        target = call.target(about, window=result.window, is_cursor=True)
        return call.plan(about, lambda: self._page(call, target, result, name, start), target)

    def _page(self, call: Call, target: Target, result: Result, name: str, start: int) -> Answer:
        sobject, fields = result.soql.sobject, result.soql.fields
        found = result.page(start, self._page_size(call))
        shown = sent(
            self._world, target, result.table, found, nonsense=nonsense_of(sobject), is_narrow=is_narrow(fields)
        )
        end = start + len(found)
        content = {
            "totalSize": result.total,
            "done": end >= result.total,
            "records": shown.each(_view(call, sobject, fields)),
        }
        if end < result.total:
            name = name or self._results.keep(call.tenant, result)
            content["nextRecordsUrl"] = f"/services/data/v{call.version}/query/{name}-{end}"
        return Answer(response=as_json(content), holds=shown.holds)

    def _page_size(self, call: Call) -> int:
        most = self._world.customs.salesforce_page_size
        asked = _BATCH_SIZE.search(call.request.headers.get("sforce-query-options", ""))
        return min(most, max(1, int(asked[1]))) if asked else most

    def _record(self, call: Call, name: str, written: str) -> Plan:
        sobject = OBJECTS.get(name)
        if sobject is None:
            raise not_found()
        target = call.target(name)
        return call.plan(name, lambda: self._one(call, target, sobject, whole_id(written)), target)

    def _one(self, call: Call, target: Target, sobject: SObject, written: str) -> Answer:
        table, fields = call.tables[sobject.name], _chosen(call, sobject)
        number = table.id_format.number(written)
        if number is not None and table.is_gone(number):
            raise refusal(404, "ENTITY_IS_DELETED", "entity is deleted")
        record = None if number is None else table.get(number)
        found = [] if number is None or record is None else [(number, record)]
        shown = sent(self._world, target, table, found, nonsense=nonsense_of(sobject), is_narrow=is_narrow(fields))
        if not shown.records:
            raise not_found(f"Provided external ID field does not exist or is not accessible: {written}")
        return Answer(response=as_json(shown.each(_view(call, sobject, fields))[0]), holds=shown.holds)

    def _limits(self, call: Call) -> Answer:
        used, allotted = self._world.usage(SERVICE, call.tenant)
        requests = {"Max": allotted, "Remaining": max(0, allotted - used)}
        return Answer(response=as_json({"DailyApiRequests": requests, "DailyBulkV2QueryJobs": {"Max": 10_000}}))


def _chosen(call: Call, sobject: SObject) -> Sequence[Field]:
    """The fields of a single record that are asked for, by default all."""
    names = [name for name in call.request.query_params.get("fields", "").split(",") if name]
    fields = [sobject.field(name) for name in names]
    if None in fields:
        raise refusal(400, "INVALID_FIELD", f"No such column '{names[fields.index(None)]}' on entity '{sobject.name}'.")
    return [field for field in fields if field] or list(sobject.fields.values())


def _view(call: Call, sobject: SObject, fields: Sequence[Field]) -> Callable[[RecordId, Json], Json]:
    address = f"/services/data/v{call.version}/sobjects/{sobject.name}"

    def view(written: RecordId, record: Json) -> Json:
        attributes = {"type": sobject.name, "url": f"{address}/{written}"}
        return {"attributes": attributes, **{field.name: record[field.name] for field in fields}}

    return view
