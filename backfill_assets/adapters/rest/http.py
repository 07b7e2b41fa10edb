"""One GET: from a URL to decoded JSON, or to an error that says whether trying again may help.

Here belong time-outs, connections, the meaning of status codes, and the words in which a failure is told. What is
asked for, and what the answer must look like, belongs to the client of each service.
"""

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from backfill_assets.adapters.rest.answers import retry_after_seconds, service_message
from backfill_assets.adapters.rest.retries import Sleep, with_retries
from backfill_assets.core.retries import DEFAULT_POLICY, Random, RetryPolicy
from backfill_assets.core.windows import Clock, utc_now
from backfill_assets.errors import (
    BackfillError,
    ConfigurationError,
    CredentialRefused,
    RateLimited,
    SourceUnreachable,
    TransientError,
    UnexpectedResponse,
)

TIMEOUT = httpx.Timeout(connect=5, read=60, write=30, pool=30)
LIMITS = httpx.Limits(max_connections=10, max_keepalive_connections=5)

SHORTEST_SECRET = 6
"""Shorter texts are no secrets and are parts of words, which would become unreadable: `any` in `company`."""

_UNREACHABLE = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError)


class NotFound(UnexpectedResponse):
    """The service has nothing at this address (404)."""


class UnreadableBody(TransientError):
    """The answer is not JSON: a passing error page or a cut body, or else a wrong address."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """Whose requests these are, for messages; `secrets` are the texts that no message may hold."""

    service: str
    tenant: str
    credential_names: Sequence[str] = ()
    secrets: Sequence[str] = field(default=(), repr=False)

    def redact(self, text: str) -> str:
        """The text without any of the secrets that are long enough to be some."""
        secrets = (secret for secret in self.secrets if len(secret) >= SHORTEST_SECRET)
        for secret in sorted(secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text


@dataclass(frozen=True, kw_only=True)
class Wire:
    """How requests are made: the seams and limits of a session. A transport may be wrapped to pace every request."""

    transport: httpx.BaseTransport | None = None
    timeout: httpx.Timeout = field(default_factory=lambda: TIMEOUT)
    policy: RetryPolicy = DEFAULT_POLICY
    longest_retry_after: float = 300.0
    sleep: Sleep = time.sleep
    random: Random = random.random
    now: Clock = utc_now


REAL_WIRE = Wire()
PROBE_WIRE = Wire(timeout=httpx.Timeout(5), policy=RetryPolicy(tries=1, longest_wait=0, longest_outage=0))
"""One short try, no waiting."""


class HttpSession:
    """Makes authenticated GETs for one account; share one instance between all its requests, and close it."""

    def __init__(self, *, account: Account, base_url: str, headers: Mapping[str, str], wire: Wire = REAL_WIRE) -> None:
        self._account, self._wire = account, wire
        self._base_url = _checked(base_url, account)
        self._client = httpx.Client(
            headers={"Accept": "application/json", "User-Agent": "backfill_assets", **headers},
            timeout=wire.timeout,
            limits=LIMITS,
            transport=wire.transport,
            follow_redirects=False,
        )

    @property
    def host(self) -> str:
        """Host, and port where it is not the scheme's own, that the requests go to."""
        return httpx.URL(self._base_url).netloc.decode("ascii")

    def get(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        """The JSON at `path` below the base URL, after retries; raises what the module's charter says."""
        wire = self._wire
        try:
            return with_retries(
                lambda: self._get_once(path, params or {}), policy=wire.policy, sleep=wire.sleep, random=wire.random
            )
        except UnreadableBody as error:
            # Each try was answered so: it is no passing error page.
            raise UnexpectedResponse(f"{error} Check the base URL.") from error

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def _get_once(self, path: str, params: Mapping[str, str]) -> Any:
        where = self._where(path)
        try:
            response = self._client.get(f"{self._base_url}/{path}", params=params)
        except httpx.DecodingError as error:
            raise UnreadableBody(f"{where} answered a body that cannot be decompressed.") from error
        except _UNREACHABLE as error:
            reason = self._account.redact(str(error))
            raise SourceUnreachable(
                f"{where} cannot be reached ({reason}). Check the base URL and the network."
            ) from error
        except httpx.TransportError as error:
            raise TransientError(f"{where} did not answer in full ({_reason(error)}).") from error
        return self._decode(response, where)

    def _where(self, path: str) -> str:
        account = self._account
        return f"{account.service} of tenant {account.tenant} at {self.host}, GET {path},"

    def _decode(self, response: httpx.Response, where: str) -> Any:
        if not response.is_success:
            raise self._error(response, where)
        try:
            return response.json()
        except (ValueError, RecursionError) as error:
            kind = response.headers.get("content-type", "no content type")
            raise UnreadableBody(
                f"{where} answered {response.status_code} with a body that is not JSON "
                f"({kind}, {len(response.content)} bytes)."
            ) from error

    def _error(self, response: httpx.Response, where: str) -> BackfillError:
        status = response.status_code
        told = f"{where} answered {status}{self._account.redact(service_message(response))}."
        match status:
            case 429:
                return RateLimited(told, retry_after=self._retry_after(response))
            case 401 | 403:
                return CredentialRefused(f"{told} {self._credential_advice()}")
            case 404:
                return NotFound(told)
            case _ if status >= 500 or status == 408:
                return TransientError(told)
        return UnexpectedResponse(told)

    def _retry_after(self, response: httpx.Response) -> float:
        wire = self._wire
        return retry_after_seconds(
            response.headers.get("retry-after"), now=wire.now(), longest=wire.longest_retry_after
        )

    def _credential_advice(self) -> str:
        names = ", ".join(self._account.credential_names)
        return f"Check {names}." if names else "Check the tenant's credential."


def _checked(base_url: str, account: Account) -> str:
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host or url.userinfo:
        raise ConfigurationError(
            f"The base URL of {account.service} for tenant {account.tenant} must look like https://host, "
            "without a user or password in it."
        )
    return base_url.rstrip("/")


def _reason(error: httpx.TransportError) -> str:
    # The type tells it all, while the texts of some of these quote the request.
    return type(error).__name__
