"""A connector for Helpdesk: what it holds, and how it is read.

Helpdesk answers a page of records with a token for the next one, and the last page without.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from backfill_assets.adapters.rest.http import HttpSession, NotFound
from backfill_assets.adapters.rest.paging import Keyset, identities, require_range
from backfill_assets.adapters.rest.registry import Access, Connector
from backfill_assets.core.source import ColumnType, Identity, Record, RecordId, RecordSource, ServiceSpec, TableSpec
from backfill_assets.core.windows import utc_text
from backfill_assets.errors import ConfigurationError, NoSuchTable, UnexpectedResponse

REQUESTS = TableSpec(
    name="requests",
    version_field="updated_at",
    incremental_field="updated",
    priority=20,
    columns={
        "id": ColumnType.INTEGER,
        "updated_at": ColumnType.TIMESTAMP,
        "subject": ColumnType.STRING,
        "minutes": ColumnType.NUMBER,
    },
)
REPLIES = TableSpec(
    name="requests/replies",
    version_field="updated_at",
    incremental_field="updated",
    columns={"id": ColumnType.INTEGER, "updated_at": ColumnType.TIMESTAMP, "request_id": ColumnType.INTEGER},
)
HELPDESK = ServiceSpec(
    name="helpdesk",
    tables=(REQUESTS, REPLIES),
    credential_fields=("api_token",),
    lookback_days=365,
    chunk_size_days=30,
    requests_per_minute=300,
    page_size=100,
    max_page_size=500,
)


class HelpdeskSource:
    """One tenant's Helpdesk account; see `RecordSource`."""

    def __init__(self, access: Access) -> None:
        if not (token := access.credential.get("api_token")):
            raise ConfigurationError(f"The helpdesk credential of tenant {access.tenant} lacks api_token.")
        self._name = f"helpdesk of tenant {access.tenant}"
        self._page_size = access.spec.page_size
        self._http = HttpSession(
            account=access.account,
            base_url=access.base_url,
            headers={"Authorization": f"Bearer {token}"},
            wire=access.wire,
        )

    def check(self) -> str:
        """See `RecordSource.check`."""
        about = self._http.get("v2/me")
        if not isinstance(about, dict) or not isinstance(about.get("agent"), str):
            raise UnexpectedResponse(f"{self._name} did not say who we are. Check the base URL.")
        return f"Helpdesk at {self._http.host} as {about['agent']}"

    def records(self, table: TableSpec, start: datetime, end: datetime) -> Iterator[Sequence[Record]]:
        """See `RecordSource.records`."""
        require_range(start, end)
        return self._pages(table, start, end, {})

    def identities(self, table: TableSpec, start: datetime, end: datetime) -> Iterator[Sequence[Identity]]:
        """See `RecordSource.identities`."""
        require_range(start, end)
        return identities(self._pages(table, start, end, {"fields": f"{table.id_field},{table.version_field}"}), table)

    def fetch(self, table: TableSpec, ids: Sequence[RecordId]) -> Sequence[Record]:
        """See `RecordSource.fetch`."""
        return self._page(table, {"ids": ",".join(map(str, ids))})[0] if ids else []

    def count(self, table: TableSpec, start: datetime, end: datetime) -> int:
        """See `RecordSource.count`."""
        require_range(start, end)
        body = self._get(table, f"v2/{table.name}/count", _range(table, start, end))
        count = body.get("count") if isinstance(body, dict) else None
        if type(count) is not int:
            raise UnexpectedResponse(f"{self._name} did not count {table.name}.")
        return count

    def close(self) -> None:
        """See `RecordSource.close`."""
        self._http.close()

    def _pages(
        self, table: TableSpec, start: datetime, end: datetime, more: Mapping[str, str]
    ) -> Iterator[Sequence[Record]]:
        keyset = Keyset(table=table, start=start, end=end, where=f"{self._name}, table {table.name},")
        params = {**_range(table, start, end), "limit": str(self._page_size), **more}
        while start < end:
            page, token = self._page(table, params)
            # An empty page with a token is for the guard too: it would go on and on.
            if page or token:
                yield keyset.accept(page)
            if token is None:
                return
            params = {**params, "page_token": token}

    def _page(self, table: TableSpec, params: Mapping[str, str]) -> tuple[list[Any], str | None]:
        body = self._get(table, f"v2/{table.name}", params)
        if not isinstance(body, dict) or not isinstance(body.get("results"), list) or "next_page_token" not in body:
            raise UnexpectedResponse(f"{self._name} answered {table.name} with something that is no page.")
        return body["results"], body["next_page_token"]

    def _get(self, table: TableSpec, path: str, params: Mapping[str, str]) -> Any:
        try:
            return self._http.get(path, params)
        except NotFound as error:
            raise NoSuchTable(
                f"{self._name} has no table {table.name}. Check its name in the services file."
            ) from error


def _range(table: TableSpec, start: datetime, end: datetime) -> Mapping[str, str]:
    field = table.incremental_field
    return {f"{field}_from": utc_text(start), f"{field}_before": utc_text(end)}


def _open(access: Access) -> RecordSource:
    return HelpdeskSource(access)


CONNECTOR = Connector(spec=HELPDESK, open=_open)
