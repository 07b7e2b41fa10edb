"""Signing in to Snowflake, and what its failures mean.

Here belong the three ways to sign in: by password, in a browser and by an OAuth token. No message holds a credential.
"""

import webbrowser
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from backfill_assets.errors import (
    BackfillError,
    ConfigurationError,
    CredentialRefused,
    NoSuchTable,
    PermanentError,
    SourceUnreachable,
    TimedOut,
    TransientError,
)

if TYPE_CHECKING:
    from snowflake.connector import SnowflakeConnection
    from snowflake.connector.errors import Error

PASSWORD, BROWSER, OAUTH = "snowflake", "externalbrowser", "oauth"
SECONDS_TO_SIGN_IN = 30
SECONDS_TO_SIGN_IN_BY_BROWSER = 120
SECONDS_TO_ANSWER = 600

IN_A_TERMINAL = ("www-browser", "links", "elinks", "lynx", "w3m")
"""Browsers that cannot show the page of an identity provider, and would take over a terminal that nobody sees."""

TOKEN_REFUSED = ("390303", "390318", "390327", "Invalid OAuth access token")
REFUSED = ("390100", "390101", "390102", "390144", "390189", "390190", "390191", "250001")
NOT_ALLOWED = ("003001", "3001")
NO_SUCH = ("002003", "2003", "002043", "2043")
NO_SUCH_COLUMN = ("000904", "904")


@dataclass(frozen=True, kw_only=True)
class Account:
    """Where Snowflake is and how to sign in; what is None is left to the account's defaults."""

    account: str
    user: str | None = None
    authenticator: str = PASSWORD
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    warehouse: str | None = None
    database: str | None = None
    schema: str | None = None
    role: str | None = None
    host: str | None = None
    port: int | None = None
    protocol: str = "https"

    @property
    def location(self) -> str:
        """Where it is, fit for a message."""
        return f"Snowflake account {self.account}" + (f" at {self.host}" if self.host else "")


def connect(account: Account, *, find_browser: Callable[[], Any] = webbrowser.get) -> "SnowflakeConnection":
    """Sign in; raises `ConfigurationError` where this way cannot work here, `CredentialRefused` where it is refused."""
    # Deferred: it takes half a second to load, which only those should wait who read from Snowflake.
    from snowflake import connector

    if account.authenticator == BROWSER:
        _require_browser(account, find_browser)
    is_by_browser = account.authenticator == BROWSER
    with told(account):
        return connector.connect(
            **_given(account),
            authenticator=account.authenticator,
            paramstyle="qmark",
            application="backfill",
            login_timeout=SECONDS_TO_SIGN_IN_BY_BROWSER if is_by_browser else SECONDS_TO_SIGN_IN,
            network_timeout=SECONDS_TO_ANSWER,
            # Moments without a zone are in UTC, whatever the account's default says.
            session_parameters={"TIMEZONE": "UTC", "CLIENT_OUT_OF_BAND_TELEMETRY_ENABLED": False},
            client_store_temporary_credential=is_by_browser,
        )


def _given(account: Account) -> Mapping[str, Any]:
    names = ("account", "user", "warehouse", "database", "schema", "role", "host", "port", "protocol")
    secrets = {PASSWORD: {"password": account.password}, OAUTH: {"token": account.token}}
    said = {name: getattr(account, name) for name in names} | secrets.get(account.authenticator, {})
    return {name: value for name, value in said.items() if value is not None}


def _require_browser(account: Account, find_browser: Callable[[], Any]) -> None:
    """Where there is none, the connector would wait for a person to type into a terminal that nobody sees."""
    try:
        name = str(getattr(find_browser(), "name", ""))
    except webbrowser.Error:
        name = IN_A_TERMINAL[0]
    if name.rpartition("/")[2] in IN_A_TERMINAL:
        raise ConfigurationError(
            f"SNOWFLAKE_AUTHENTICATOR is externalbrowser, but there is no browser on this machine to sign in to "
            f"{account.location} with; on a server, set it to snowflake with SNOWFLAKE_PASSWORD, or to oauth with "
            "SNOWFLAKE_TOKEN"
        )


@contextmanager
def told(account: Account) -> Iterator[None]:
    """Raise what goes wrong as one of our errors: a sentence without credentials or rows."""
    from snowflake.connector.errors import Error

    try:
        yield
    except Error as error:
        raise _meaning(error, account) from None


def _meaning(error: "Error", account: Account) -> BackfillError:
    from snowflake.connector import errors

    where, line, number = account.location, _first_line(error, account), str(error.errno or "")
    if any(code in line for code in TOKEN_REFUSED) or number in TOKEN_REFUSED:
        return CredentialRefused(f"{where} refused SNOWFLAKE_TOKEN: {line}. Get a new one; OAuth tokens expire.")
    if isinstance(error, errors.OperationalError) and not isinstance(error, errors.DatabaseError):
        return SourceUnreachable(f"{where} cannot be reached: {line}. Check SNOWFLAKE_ACCOUNT and SNOWFLAKE_HOST.")
    if _is_unreachable(error, line):
        return SourceUnreachable(f"{where} cannot be reached: {line}. Check SNOWFLAKE_ACCOUNT and SNOWFLAKE_HOST.")
    if number in REFUSED or any(code in line for code in REFUSED[:-1]):
        return CredentialRefused(f"{where} refused us: {line}. Check {_credential(account)}.")
    if number in NO_SUCH:
        return NoSuchTable(
            f"{where} has no such table, or hides it from us: {line}. Check "
            "BACKFILL_WORK_ORDERS_TABLE and BACKFILL_WORK_ORDERS_COLUMNS."
        )
    if number in NO_SUCH_COLUMN:
        return ConfigurationError(f"{where} has no such column: {line}. Check BACKFILL_WORK_ORDERS_COLUMNS.")
    if number in NOT_ALLOWED:
        return CredentialRefused(f"{where} does not allow that: {line}. Check SNOWFLAKE_ROLE and what it may select.")
    if "timeout" in line.lower():
        return TimedOut(f"{where} took too long: {line}.")
    if isinstance(error, errors.ProgrammingError):
        return PermanentError(f"{where} cannot be read: {line}.")
    return TransientError(f"{where} did not answer: {line}.")


def _is_unreachable(error: "Error", line: str) -> bool:
    words = ("could not connect", "failed to connect to db", "failed to execute request", "max retries", "http 5")
    told = line.lower()
    refused = "incorrect username" in told or "invalid" in told or "39010" in told
    return not refused and any(word in told for word in words)


def _credential(account: Account) -> str:
    match account.authenticator:
        case "oauth":
            return "SNOWFLAKE_TOKEN and SNOWFLAKE_USER"
        case "externalbrowser":
            return "SNOWFLAKE_USER, which must be the one who signs in in the browser"
        case _:
            return "SNOWFLAKE_USER and SNOWFLAKE_PASSWORD"


def _first_line(error: "Error", account: Account) -> str:
    line = (str(error.raw_msg or error.msg or error).strip().splitlines() or ["no reason was given"])[0].rstrip(".")
    for secret in filter(None, (account.password, account.token)):
        line = line.replace(secret, "***")
    return line[:300]
