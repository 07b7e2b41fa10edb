"""The ServiceNow client: how its tables are asked for, and what an answer must look like.

Here belongs what is ServiceNow's own. Retries and status codes belong to `http`, guards of paging to `paging`, the
tables' columns to `servicenow_tables`.

A table is read in the order of (sys_updated_on, sys_id), going on after the greatest pair seen. Row ACLs hide rows
after the limit was applied, so a page can come short, or empty while there is more: then its `Link` header names a next
one. That is asked for by offset, half a page further on: rows that leave the range meanwhile pull the others forward,
and with the overlap they would have to be half a page to lose one. Only an empty page without a next one is the end.
"""

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import httpx

from backfill_assets.adapters.rest.account import Account
from backfill_assets.adapters.rest.http import REAL_WIRE, Call, HttpSession, NotFound, Wire
from backfill_assets.adapters.rest.paging import TimeKeyset, identities, require_range, rounded_up
from backfill_assets.adapters.rest.servicenow_manners import ServiceNowManners
from backfill_assets.adapters.rest.servicenow_tables import SERVICENOW
from backfill_assets.core.source import Identity, Record, RecordId, TableSpec
from backfill_assets.core.windows import BEGINNING
from backfill_assets.errors import ConfigurationError, NoSuchTable, UnexpectedResponse

T = TypeVar("T")

LARGEST_PAGE = SERVICENOW.max_page_size
MOST_EMPTY_PAGES = 1000
"""After so many empty pages in a row that each promise another, the promise is no longer believed."""


@dataclass(frozen=True, kw_only=True)
class _Page:
    records: list[Any]
    has_next: bool


class ServiceNowSource:
    """One tenant's ServiceNow instance; see `RecordSource`.

    `credential` is by field (`SERVICENOW.credential_fields`), `credential_names` are the settings that hold it, for
    messages. A `base_url` that is empty is the credential's `instance_url`.
    """

    def __init__(
        self,
        *,
        tenant: str,
        base_url: str,
        credential: Mapping[str, str],
        credential_names: Sequence[str] = (),
        page_size: int = SERVICENOW.page_size,
        wire: Wire = REAL_WIRE,
    ) -> None:
        _require_complete(credential, tenant, credential_names)
        if not 1 <= page_size <= LARGEST_PAGE:
            raise ConfigurationError(f"page_size of servicenow must be from 1 to {LARGEST_PAGE}, not {page_size}.")
        self._page_size = page_size
        self._name = f"servicenow of tenant {tenant}"
        token = _token(credential)
        account = Account(
            service=SERVICENOW.name,
            tenant=tenant,
            credential_names=credential_names,
            secrets=(credential["password"], token),
        )
        self._http = HttpSession(
            account=account,
            base_url=base_url or credential.get(SERVICENOW.address_field, ""),
            headers={"Authorization": f"Basic {token}"},
            wire=wire,
            manners=ServiceNowManners(account=account, now=wire.now),
        )

    def check(self) -> str:
        """See `RecordSource.check`."""
        self._page("sys_user", {"sysparm_limit": "1", "sysparm_fields": "sys_id"})
        return f"ServiceNow at {self._http.host}"

    def records(self, table: TableSpec, start: datetime, end: datetime) -> Iterator[Sequence[Record]]:
        """See `RecordSource.records`."""
        require_range(start, end)
        return self._pages(table, _ceil_second(start), _ceil_second(end), {})

    def identities(self, table: TableSpec, start: datetime, end: datetime) -> Iterator[Sequence[Identity]]:
        """See `RecordSource.identities`."""
        require_range(start, end)
        fields = {"sysparm_fields": f"{table.id_field},{table.version_field}"}
        return identities(self._pages(table, _ceil_second(start), _ceil_second(end), fields), table)

    def fetch(self, table: TableSpec, ids: Sequence[RecordId]) -> Sequence[Record]:
        """See `RecordSource.fetch`."""
        if not ids:
            return []
        query = f"{table.id_field}IN{','.join(map(str, ids))}^ORDERBY{table.id_field}"
        return self._page(table.name, _params(query, limit=LARGEST_PAGE)).records

    def count(self, table: TableSpec, start: datetime, end: datetime) -> int:
        """See `RecordSource.count`."""
        require_range(start, end)
        query = _bounds(table, _ceil_second(start), _ceil_second(end))
        call = Call(path=f"api/now/stats/{table.name}", params={"sysparm_count": "true", "sysparm_query": query})
        body = self._answer(table.name, call, httpx.Response.json)
        try:
            count = int(body["result"]["stats"]["count"])
        except (TypeError, KeyError, ValueError):
            count = -1
        if count < 0:
            raise UnexpectedResponse(f"{self._name} answered {call.path} without a number of records.")
        return count

    def close(self) -> None:
        """See `RecordSource.close`."""
        self._http.close()

    def _pages(
        self, table: TableSpec, start: datetime, end: datetime, fields: Mapping[str, str]
    ) -> Iterator[Sequence[Record]]:
        keyset = TimeKeyset(table=table, start=start, end=end, where=f"{self._name}, table {table.name},")
        while start < end:
            query = f"{_after(table, start, end, keyset.last)}^ORDERBY{table.incremental_field}^ORDERBY{table.id_field}"
            if not (records := self._next_records(table, query, fields)):
                return
            yield keyset.accept(records)

    def _next_records(self, table: TableSpec, query: str, fields: Mapping[str, str]) -> Sequence[Any]:
        """The first records that the query shows us; none where it shows none at all."""
        step = max(1, self._page_size // 2)
        for offset in range(0, step * MOST_EMPTY_PAGES, step):
            page = self._page(table.name, {**_params(query, limit=self._page_size, offset=offset), **fields})
            if page.records or not page.has_next:
                return page.records
        raise UnexpectedResponse(
            f"{self._name} sent {MOST_EMPTY_PAGES} empty pages of {table.name}, each with a link to a next one. Check "
            "that the user may read the table's rows."
        )

    def _page(self, table: str, params: Mapping[str, str]) -> _Page:
        page = self._answer(table, Call(path=f"api/now/table/{table}", params=params), _read_page)
        if page is None:
            raise UnexpectedResponse(f"{self._name} answered {table} without a list of records as its result.")
        return page

    def _answer(self, table: str, call: Call, read: Callable[[httpx.Response], T]) -> T:
        try:
            answer: T = self._http.request(call, read)
        except (NotFound, NoSuchTable) as error:
            raise NoSuchTable(
                f"{self._name} has no table {table} at {self._http.host}. Check its name in the services file, and the "
                "base URL."
            ) from error
        return answer


def _read_page(response: httpx.Response) -> _Page | None:
    body = response.json()
    records = body.get("result") if isinstance(body, dict) else None
    return _Page(records=records, has_next="next" in response.links) if isinstance(records, list) else None


def _require_complete(credential: Mapping[str, str], tenant: str, names: Sequence[str]) -> None:
    if missing := [name for name in SERVICENOW.credential_fields if not credential.get(name)]:
        settings = f" ({', '.join(names)})" if names else ""
        raise ConfigurationError(f"The servicenow credential of tenant {tenant}{settings} lacks {', '.join(missing)}.")


def _token(credential: Mapping[str, str]) -> str:
    return base64.b64encode(f"{credential['username']}:{credential['password']}".encode()).decode("ascii")


def _params(query: str, *, limit: int, offset: int = 0) -> dict[str, str]:
    params = {
        "sysparm_query": query,
        "sysparm_limit": str(limit),
        "sysparm_exclude_reference_link": "true",
        "sysparm_display_value": "false",
    }
    return {**params, "sysparm_offset": str(offset)} if offset else params


def _bounds(table: TableSpec, start: datetime, end: datetime) -> str:
    field = table.incremental_field
    before = f"{field}<{_written(end)}"
    # From the beginning of time there is no bound: a database behind the service may know no year 1.
    return f"{field}>={_written(start)}^{before}" if start > BEGINNING else before


def _after(table: TableSpec, start: datetime, end: datetime, last: tuple[datetime, str] | None) -> str:
    """The condition on what comes after the greatest pair so far; ^NQ joins two whole conditions by "or"."""
    if last is None:
        return _bounds(table, start, end)
    version, key, field = _written(last[0]), last[1], table.incremental_field
    return f"{field}>{version}^{field}<{_written(end)}^NQ{field}={version}^{table.id_field}>{key}"


def _ceil_second(moment: datetime) -> datetime:
    return rounded_up(moment, timedelta(seconds=1))  # versions have no fractions


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="seconds")
