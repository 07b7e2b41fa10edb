"""One request: from a URL to decoded JSON, or to an error that says whether trying again may help.

Here belong time-outs, connections, the pace, the meaning of status codes, and the words in which a failure is told.
What is asked for, what the answer must look like, and where a service's manners differ, belongs to each client.
"""

import random
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx

from backfill_assets.adapters.rest.account import Account
from backfill_assets.adapters.rest.answers import retry_after_seconds, service_message
from backfill_assets.adapters.rest.retries import Sleep, with_retries
from backfill_assets.core.pacing import Advice, Pacer, Unpaced
from backfill_assets.core.retries import DEFAULT_POLICY, Random, RetryPolicy
from backfill_assets.core.windows import Clock, utc_now
from backfill_assets.errors import (
    BackfillError,
    CircuitOpen,
    ConfigurationError,
    CredentialRefused,
    RateLimited,
    SourceUnreachable,
    TimedOut,
    TransientError,
    UnexpectedResponse,
)

T = TypeVar("T")

TIMEOUT = httpx.Timeout(connect=5, read=60, write=30, pool=30)
LIMITS = httpx.Limits(max_connections=10, max_keepalive_connections=5)

_UNREACHABLE = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError)


class NotFound(UnexpectedResponse):
    """The service has nothing at this address (404)."""


class UnreadableBody(TransientError):
    """The answer is not JSON: a passing error page or a cut body, or else a wrong address."""


@dataclass(frozen=True, kw_only=True)
class Wire:
    """How requests are made: the seams and limits of a session."""

    transport: httpx.BaseTransport | None = None
    timeout: httpx.Timeout = field(default_factory=lambda: TIMEOUT)
    policy: RetryPolicy = DEFAULT_POLICY
    pacer: Pacer = field(default_factory=Unpaced)
    longest_retry_after: float = 300.0
    sleep: Sleep = time.sleep
    random: Random = random.random
    now: Clock = utc_now


REAL_WIRE = Wire()
PROBE_WIRE = Wire(timeout=httpx.Timeout(5), policy=RetryPolicy(tries=1, longest_wait=0, longest_outage=0))
"""One short try, no waiting."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """What is asked of an address below the base URL; `content` is sent as JSON, `form` as a form.

    `body` is what the answer must be, for messages.
    A call that `is_signing_in` goes without what `Manners.headers` says, and a 401 is its last word.
    """

    path: str
    method: str = "GET"
    params: Mapping[str, str] = field(default_factory=dict)
    content: Any = None
    form: Mapping[str, str] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = "JSON"
    is_signing_in: bool = False


class Manners:
    """A service's own ways where they differ from plain HTTP; its client overrides what does."""

    def headers(self) -> Mapping[str, str]:
        """Headers of each request, such as a token that is renewed."""
        return {}

    def renew(self) -> bool:
        """Called on a 401: whether there is a new token now, with which the request is made once more."""
        return False

    def refusal(self, response: httpx.Response, told: str) -> BackfillError | None:
        """What this answer, of any status, means; None for what its status says. `told` begins the sentence."""
        return None

    def advice(self, response: httpx.Response) -> Advice | None:
        """What the answer says of the service's limits."""
        return None


class HttpSession:
    """Makes authenticated requests for one account; share one instance between all its requests, and close it."""

    def __init__(
        self,
        *,
        account: Account,
        base_url: str,
        headers: Mapping[str, str],
        wire: Wire = REAL_WIRE,
        manners: Manners | None = None,
    ) -> None:
        self._account, self._wire, self._manners = account, wire, manners or Manners()
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
        """The JSON at `path` below the base URL; see `request`."""
        return self.request(Call(path=path, params=params or {}))

    def request(self, call: Call, read: Callable[[httpx.Response], T] | None = None) -> Any:
        """What `read` makes of the answer, by default its JSON, after waits and retries.

        Raises what the module's charter says. A `read` that finds the body to be no such thing raises `ValueError`.
        """
        wire = self._wire
        try:
            return with_retries(
                lambda: self._paced(call, read or httpx.Response.json),
                policy=wire.policy,
                sleep=wire.sleep,
                random=wire.random,
            )
        except UnreadableBody as error:
            # Each try was answered so: it is no passing error page.
            raise UnexpectedResponse(f"{error} Check the base URL.") from error

    def once(self, call: Call, read: Callable[[httpx.Response], T] | None = None) -> Any:
        """Like `request` but one try: for a call within another one, which is repeated and accounted for itself."""
        where = self._where(call)
        if call.is_signing_in:
            self._wait_for_a_further_turn(where)
        else:
            self._wait_for_a_turn(where)
        return self._answer(call, where, read or httpx.Response.json)

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def _paced(self, call: Call, read: Callable[[httpx.Response], T]) -> T:
        pacer, where = self._wire.pacer, self._where(call)
        self._wait_for_a_turn(where)
        try:
            answer = self._answer(call, where, read)
        except RateLimited as limit:
            pacer.succeeded()
            pacer.learn(Advice(reason=str(limit), wait_seconds=limit.retry_after))
            raise
        except TransientError as error:
            pacer.failed(str(error))
            raise
        except BackfillError:
            pacer.succeeded()  # a refusal is an answer: the service is well
            raise
        pacer.succeeded()
        return answer

    def _wait_for_a_turn(self, where: str) -> None:
        while pause := self._wire.pacer.admit():
            if pause > self._wire.policy.longest_wait:
                raise RateLimited(
                    f"{where} is not asked for another {pause:.0f} s, since the service said so.", retry_after=pause
                )
            self._wire.sleep(pause)

    def _wait_for_a_further_turn(self, where: str) -> None:
        # Within a request that has its turn. A breaker lets one request through to try the service, and what that one
        # takes must get through with it, or it could never succeed.
        with suppress(CircuitOpen):
            self._wait_for_a_turn(where)

    def _answer(self, call: Call, where: str, read: Callable[[httpx.Response], T]) -> T:
        response = self._send(call, where)
        if response.status_code == 401 and not call.is_signing_in and self._manners.renew():
            self._wait_for_a_further_turn(where)
            response = self._send(call, where)
        if advice := self._manners.advice(response):
            self._wire.pacer.learn(advice)
        words = "" if response.is_success else self._account.redact(service_message(response))
        told = f"{where} answered {response.status_code}{words}."
        if refusal := self._manners.refusal(response, told):
            raise refusal
        if not response.is_success:
            raise self._error(response, told)
        try:
            return read(response)
        except (ValueError, RecursionError) as error:
            kind = response.headers.get("content-type", "no content type")
            raise UnreadableBody(
                f"{where} answered {response.status_code} with a body that is not {call.body} "
                f"({kind}, {len(response.content)} bytes)."
            ) from error

    def _send(self, call: Call, where: str) -> httpx.Response:
        signed = {} if call.is_signing_in else self._manners.headers()
        try:
            return self._client.request(
                call.method,
                f"{self._base_url}/{call.path}",
                params=call.params,
                json=call.content,
                data=call.form,
                headers={**signed, **call.headers},
            )
        except httpx.DecodingError as error:
            raise UnreadableBody(f"{where} answered a body that cannot be decompressed.") from error
        except _UNREACHABLE as error:
            reason = self._account.redact(str(error))
            raise SourceUnreachable(
                f"{where} cannot be reached ({reason}). Check the base URL and the network."
            ) from error
        except httpx.TimeoutException as error:
            raise TimedOut(f"{where} did not answer in time ({_reason(error)}).") from error
        except httpx.TransportError as error:
            raise TransientError(f"{where} did not answer in full ({_reason(error)}).") from error

    def _where(self, call: Call) -> str:
        account = self._account
        return f"{account.service} of tenant {account.tenant} at {self.host}, {call.method} {call.path},"

    def _error(self, response: httpx.Response, told: str) -> BackfillError:
        status = response.status_code
        match status:
            case 429:
                return RateLimited(told, retry_after=self._retry_after(response))
            case 401 | 403:
                return CredentialRefused(f"{told} {self._account.advice}")
            case 404:
                return NotFound(told)
            case 408 | 504:
                return TimedOut(told)
            case _ if status >= 500:
                return TransientError(told)
        return UnexpectedResponse(told)

    def _retry_after(self, response: httpx.Response) -> float:
        wire = self._wire
        return retry_after_seconds(
            response.headers.get("retry-after"), now=wire.now(), longest=wire.longest_retry_after
        )


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
