"""The ConnectWise PSA client: where its tables are found, how they are asked for, and what an answer must look like.

Here belongs what is ConnectWise's own. Retries and status codes belong to `http`, guards of paging to `paging`, the
tables' columns to `connectwise_tables`.

A table is read with `conditions` and `orderBy id asc`, going on with `id > last`, until a page comes empty. A page that
is merely short does not end it: the service is free to send fewer records than were asked for, and to omit the
`Link` header under conditions, so only an empty page proves that nothing is left. That costs one request a range.
"""

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from backfill_assets.adapters.rest.account import Account
from backfill_assets.adapters.rest.connectwise_tables import CONNECTWISE
from backfill_assets.adapters.rest.http import REAL_WIRE, HttpSession, NotFound, Wire
from backfill_assets.adapters.rest.paging import Keyset, identities, require_range, rounded_up
from backfill_assets.core.source import Identity, Record, RecordId, TableSpec
from backfill_assets.core.windows import BEGINNING
from backfill_assets.errors import ConfigurationError, NoSuchTable, UnexpectedResponse

LARGEST_PAGE = 1000

# Installations that name the whole address of the interface mean the host: the codebase in it is looked up.
_INTERFACE_SUFFIX = re.compile(r"/[^/]+/apis/3\.0/?$")
_CODEBASE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class ConnectWiseSource:
    """One tenant's ConnectWise account; see `RecordSource`.

    `credential` is by field (`CONNECTWISE.credential_fields`), `credential_names` are the settings that hold it, for
    messages. A `base_url` that is empty is the credential's `api_base_url`.
    """

    def __init__(
        self,
        *,
        tenant: str,
        base_url: str,
        credential: Mapping[str, str],
        credential_names: Sequence[str] = (),
        page_size: int = LARGEST_PAGE,
        wire: Wire = REAL_WIRE,
    ) -> None:
        _require_complete(credential, tenant, credential_names)
        if not 1 <= page_size <= LARGEST_PAGE:
            raise ConfigurationError(f"page_size of connectwise must be from 1 to {LARGEST_PAGE}, not {page_size}.")
        self._page_size = page_size
        self._company = quote(credential["company_id"], safe="")
        self._name = f"connectwise of tenant {tenant}"
        self._known_codebase: str | None = None
        token = _token(credential)
        self._http = HttpSession(
            account=Account(
                service=CONNECTWISE.name,
                tenant=tenant,
                credential_names=credential_names,
                secrets=(credential["private_key"], credential["public_key"], credential["client_id"], token),
            ),
            base_url=_INTERFACE_SUFFIX.sub("", base_url or credential.get("api_base_url", "")),
            headers={"Authorization": f"Basic {token}", "clientId": credential["client_id"]},
            wire=wire,
        )

    def check(self) -> str:
        """See `RecordSource.check`."""
        about = self._get("system/info", {})
        version = about.get("version") if isinstance(about, dict) else None
        if not isinstance(version, str):
            raise UnexpectedResponse(f"{self._name} answered system/info without a version. Check the base URL.")
        return f"ConnectWise {version} at {self._http.host}"

    def records(self, table: TableSpec, start: datetime, end: datetime) -> Iterator[Sequence[Record]]:
        """See `RecordSource.records`."""
        require_range(start, end)
        return self._pages(table, _ceil_second(start), _ceil_second(end))

    def identities(self, table: TableSpec, start: datetime, end: datetime) -> Iterator[Sequence[Identity]]:
        """See `RecordSource.identities`."""
        require_range(start, end)
        fields = f"{table.id_field},{table.version_field}"
        return identities(self._pages(table, _ceil_second(start), _ceil_second(end), fields=fields), table)

    def fetch(self, table: TableSpec, ids: Sequence[RecordId]) -> Sequence[Record]:
        """See `RecordSource.fetch`."""
        if not ids:
            return []
        return self._list(table, f"{table.id_field} in ({','.join(map(str, ids))})", page_size=LARGEST_PAGE)

    def count(self, table: TableSpec, start: datetime, end: datetime) -> int:
        """See `RecordSource.count`."""
        require_range(start, end)
        conditions = _conditions(table, _ceil_second(start), _ceil_second(end), None)
        body = self._get(f"{table.name}/count", {"conditions": conditions})
        count = body.get("count") if isinstance(body, dict) else None
        if type(count) is not int or count < 0:
            raise UnexpectedResponse(f"{self._name} answered {table.name}/count without a number of records.")
        return count

    def close(self) -> None:
        """See `RecordSource.close`."""
        self._http.close()

    def _pages(
        self, table: TableSpec, start: datetime, end: datetime, *, fields: str | None = None
    ) -> Iterator[Sequence[Record]]:
        keyset = Keyset(table=table, start=start, end=end, where=f"{self._name}, table {table.name},")
        while start < end:
            conditions = _conditions(table, start, end, keyset.last)
            if not (page := self._list(table, conditions, page_size=self._page_size, fields=fields)):
                return
            yield keyset.accept(page)

    def _list(self, table: TableSpec, conditions: str, *, page_size: int, fields: str | None = None) -> list[Any]:
        params = {"conditions": conditions, "orderBy": f"{table.id_field} asc", "pageSize": str(page_size)}
        page = self._get(table.name, {**params, "fields": fields} if fields else params)
        if not isinstance(page, list):
            raise UnexpectedResponse(
                f"{self._name} answered {table.name} with {type(page).__name__} instead of a list of records."
            )
        return page

    def _get(self, path: str, params: Mapping[str, str]) -> Any:
        codebase = self._known_codebase or self._find_codebase()
        try:
            return self._get_below(codebase, path, params)
        except NotFound as error:
            # The codebase changes with an upgrade of the service, and a 404 is the only sign of it.
            if (moved := self._find_codebase()) == codebase:
                raise self._no_such(path) from error
        try:
            return self._get_below(moved, path, params)
        except NotFound as error:
            raise self._no_such(path) from error

    def _get_below(self, codebase: str, path: str, params: Mapping[str, str]) -> Any:
        return self._http.get(f"{codebase}/apis/3.0/{path}", params)

    def _no_such(self, path: str) -> NoSuchTable:
        return NoSuchTable(
            f"{self._name} has no table {path.removesuffix('/count')} at {self._http.host}. Check its name in the "
            "services file, and the base URL."
        )

    def _find_codebase(self) -> str:
        advice = "Check company_id and the base URL."
        try:
            body = self._http.get(f"login/companyinfo/{self._company}")
        except NotFound as error:
            raise UnexpectedResponse(f"{error} The service does not know this company. {advice}") from error
        told = body.get("Codebase") if isinstance(body, dict) else None
        codebase = told.strip("/") if isinstance(told, str) else ""
        if not _CODEBASE.fullmatch(codebase):
            raise UnexpectedResponse(f"{self._name} did not name its codebase in login/companyinfo. {advice}")
        self._known_codebase = codebase
        return codebase


def _require_complete(credential: Mapping[str, str], tenant: str, names: Sequence[str]) -> None:
    missing = [name for name in CONNECTWISE.credential_fields if not credential.get(name)]
    settings = f" ({', '.join(names)})" if names else ""
    if missing:
        raise ConfigurationError(f"The connectwise credential of tenant {tenant}{settings} lacks {', '.join(missing)}.")
    # It travels in a header; anything else there is refused by the HTTP library with a message that quotes it.
    client_id = credential["client_id"]
    if not (client_id.isascii() and client_id.isprintable() and client_id == client_id.strip()):
        raise ConfigurationError(
            f"The connectwise client_id of tenant {tenant}{settings} holds spaces, line ends or signs that no id has."
        )


def _token(credential: Mapping[str, str]) -> str:
    user = f"{credential['company_id']}+{credential['public_key']}"
    return base64.b64encode(f"{user}:{credential['private_key']}".encode()).decode("ascii")


def _ceil_second(moment: datetime) -> datetime:
    return rounded_up(moment, timedelta(seconds=1))  # versions have no fractions


def _conditions(table: TableSpec, start: datetime, end: datetime, last: int | None) -> str:
    field = table.incremental_field
    bounds = f"{field} < [{_quoted(end)}]"
    # From the beginning of time there is no bound: a database behind the service may know no year 1.
    if start > BEGINNING:
        bounds = f"{field} >= [{_quoted(start)}] and {bounds}"
    return bounds if last is None else f"{bounds} and {table.id_field} > {last}"


def _quoted(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
