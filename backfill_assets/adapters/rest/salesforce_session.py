"""One account's session at Salesforce: signing in, the version spoken, describing tables, and the frame of an answer.

Here belongs what every request needs. What is read, and in which order, belongs to `salesforce`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from backfill_assets.adapters.rest.account import Account
from backfill_assets.adapters.rest.http import Call, HttpSession, NotFound, Wire
from backfill_assets.adapters.rest.salesforce_manners import TOKEN_PATH, SalesforceManners
from backfill_assets.adapters.rest.salesforce_tables import SALESFORCE
from backfill_assets.adapters.rest.salesforce_values import Columns, columns_of
from backfill_assets.core.source import TableSpec
from backfill_assets.core.windows import Clock
from backfill_assets.errors import ConfigurationError, NoSuchTable, UnexpectedResponse

VERSION = "58.0"
"""The version of the interface that this is written for; a newer one may add columns but not change these."""

_LOGIN_HOSTS = ("login.salesforce.com", "test.salesforce.com")
_SECRET_FIELDS = ("client_secret", "password", "security_token")
_REST = "/services/data/"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answer to a query, given at `given_at`: `held` is how many records the query found, `rest` the address of
    those that are not in it."""

    records: Sequence[Mapping[str, Any]]
    held: int
    rest: str | None
    given_at: datetime


class SalesforceSession:
    """Asks for one account; close it. `credential` is by field, `credential_names` are for messages."""

    def __init__(
        self,
        *,
        tenant: str,
        base_url: str,
        credential: Mapping[str, str],
        credential_names: Sequence[str],
        wire: Wire,
    ) -> None:
        self.name = f"salesforce of tenant {tenant}"
        self._form = _sign_in_form(credential, tenant, credential_names)
        self._now: Clock = wire.now
        self._known_version: str | None = None
        self._known_columns: dict[str, Columns] = {}
        # A list, so that the tokens of later are no more told than the secrets of today.
        self._secrets = [credential.get(name, "") for name in _SECRET_FIELDS]
        self._secrets.append(self._form.get("password", ""))
        self.account = Account(
            service=SALESFORCE.name, tenant=tenant, credential_names=credential_names, secrets=self._secrets
        )
        self.http = HttpSession(
            account=self.account,
            base_url=base_url or credential.get(SALESFORCE.address_field, ""),
            headers={},
            wire=wire,
            manners=SalesforceManners(account=self.account, sign_in=self._sign_in),
        )

    @property
    def version(self) -> str:
        """The version we are written for while the service lists it, or lists none; else the newest that it lists."""
        if self._known_version is None:
            self._known_version = _chosen(self._listed_versions())
        return self._known_version

    @property
    def address(self) -> str:
        """Where the interface is, below the base URL."""
        return f"services/data/v{self.version}"

    def where(self, table: TableSpec) -> str:
        """Beginning of a sentence about a table."""
        return f"{self.name}, table {table.name},"

    def query(self, table: TableSpec, soql: str) -> Answer:
        """Ask; deleted records are not left out."""
        try:
            return self._ask(Call(path=f"{self.address}/queryAll", params={"q": soql}))
        except NoSuchTable as error:
            raise self._no_such(table) from error

    def rest_of(self, answer: Answer) -> Answer:
        """The next part of an answer that has one; raises `ExpiredCursor` where its time is over."""
        return self._ask(Call(path=answer.rest or ""))

    def columns(self, table: TableSpec) -> Columns:
        """The columns of a table that can be asked for, looked up once."""
        if table.name not in self._known_columns:
            self._known_columns[table.name] = self._describe(table)
        return self._known_columns[table.name]

    def close(self) -> None:
        """Give the connections back."""
        self.http.close()

    def _ask(self, call: Call) -> Answer:
        body, given_at = self.http.request(call, lambda response: (response.json(), self._moment_of(response)))
        records = body.get("records") if isinstance(body, dict) else None
        held = body.get("totalSize") if isinstance(body, dict) else None
        if not isinstance(records, list) or type(held) is not int or held < 0:
            raise UnexpectedResponse(f"{self.name} answered a query without a list of records and their number.")
        if wrong := [record for record in records if not isinstance(record, dict)]:
            raise UnexpectedResponse(f"{self.name} sent {type(wrong[0]).__name__} values where records should be.")
        return Answer(records=records, held=held, rest=self._address_of_rest(body), given_at=given_at)

    def _address_of_rest(self, body: Mapping[str, Any]) -> str | None:
        if body.get("done") is True:
            return None
        address = body.get("nextRecordsUrl")
        # Only the path: whatever host an answer names, our token goes to none but the configured one.
        if body.get("done") is not False or not isinstance(address, str) or _REST not in address:
            raise UnexpectedResponse(f"{self.name} sent a part of an answer without the address of the rest.")
        return address[address.index(_REST) + 1 :]

    def _moment_of(self, response: httpx.Response) -> datetime:
        """When the service answered, by its own clock where it says so."""
        try:
            told = parsedate_to_datetime(response.headers.get("date", ""))
        except (ValueError, OverflowError):
            return self._now()
        return told if told.tzinfo else told.replace(tzinfo=UTC)

    def _describe(self, table: TableSpec) -> Columns:
        try:
            columns = columns_of(self.http.get(f"{self.address}/sobjects/{table.name}/describe"))
        except (NotFound, NoSuchTable) as error:
            raise self._no_such(table) from error
        if hidden := [name for name in (table.id_field, table.version_field) if name not in columns]:
            raise UnexpectedResponse(
                f"{self.where(table)} does not show {' and '.join(hidden)}. Check the field's name in the services "
                "file, and that the user may see it."
            )
        return columns

    def _listed_versions(self) -> list[str]:
        try:
            listed = self.http.get("services/data/")
        except NotFound:
            return []
        versions = listed if isinstance(listed, list) else []
        return [str(version.get("version")) for version in versions if isinstance(version, dict)]

    def _sign_in(self) -> str:
        if self.http.host in _LOGIN_HOSTS:
            raise ConfigurationError(
                f"{self.http.host} is for signing in only. Give the org's own address, like "
                f"https://mycompany.my.salesforce.com, as the base_url or instance_url of {self.name}."
            )
        answer = self.http.once(Call(path=TOKEN_PATH, method="POST", form=self._form, is_signing_in=True))
        token = answer.get("access_token") if isinstance(answer, dict) else None
        if not isinstance(token, str) or not (token and token.isascii() and token.isprintable()):
            raise UnexpectedResponse(f"{self.name} signed us in without a token. Check the base URL.")
        self._secrets.append(token)
        return token

    def _no_such(self, table: TableSpec) -> NoSuchTable:
        return NoSuchTable(
            f"{self.name} has no table {table.name} at {self.http.host}. Check its name in the services file, and that "
            "the user may read it."
        )


def _chosen(listed: Sequence[str]) -> str:
    numbers = [number for number in listed if number.replace(".", "", 1).isdigit()]
    return VERSION if VERSION in numbers or not numbers else max(numbers, key=float)


def _sign_in_form(credential: Mapping[str, str], tenant: str, names: Sequence[str]) -> Mapping[str, str]:
    is_of_a_user = any(credential.get(name) for name in SALESFORCE.optional_together)
    required = SALESFORCE.credential_fields if is_of_a_user else ("client_id", "client_secret")
    if missing := [name for name in required if not credential.get(name)]:
        settings = f" ({', '.join(names)})" if names else ""
        raise ConfigurationError(f"The salesforce credential of tenant {tenant}{settings} lacks {', '.join(missing)}.")
    client = {"client_id": credential["client_id"], "client_secret": credential["client_secret"]}
    if not is_of_a_user:
        return {"grant_type": "client_credentials", **client}
    password = credential["password"] + credential.get("security_token", "")
    return {"grant_type": "password", **client, "username": credential["username"], "password": password}
