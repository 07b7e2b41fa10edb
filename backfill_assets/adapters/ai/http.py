"""One request to a provider: admitted, paid for, made, repeated, and its answer read or told as an error.

Here belong turns, budget, time-outs, the meaning of status codes, and the words in which a failure is told; they never
quote a text. What is asked and what an answer must hold belongs to `chat` and `embedding`.
"""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import httpx

from backfill_assets.adapters.ai.endpoint import Endpoint
from backfill_assets.adapters.ai.transport import client
from backfill_assets.adapters.rest.account import Account
from backfill_assets.adapters.rest.answers import retry_after_seconds, service_message
from backfill_assets.core.enrichment import NOTHING, Budget, Spent
from backfill_assets.core.pacing import Advice
from backfill_assets.core.retries import DEFAULT_POLICY, Random, RetryPolicy, Tries
from backfill_assets.core.windows import utc_now
from backfill_assets.errors import (
    BackfillError,
    CredentialRefused,
    PermanentError,
    RateLimited,
    RejectedRecord,
    SourceUnreachable,
    TimedOut,
    TransientError,
    UnexpectedResponse,
)

T = TypeVar("T")

TIMEOUT = httpx.Timeout(connect=5, read=120, write=30, pool=30)
LONGEST_RETRY_AFTER = 300.0

_UNREACHABLE = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError)
_REJECTING_CODES = ("content_filter", "context_length_exceeded", "content_policy_violation")


class Pacer(Protocol):
    """Paces the requests of many coroutines; see `core.pacing.Pacer`."""

    async def admit(self) -> None:
        """Wait for a turn."""
        ...

    def learn(self, advice: Advice) -> None:
        """Take to heart what the service said."""
        ...

    def succeeded(self) -> None:
        """The service answered."""
        ...

    def failed(self, reason: str) -> None:
        """The service failed in passing."""
        ...


class Unpaced:
    """Lets every request pass."""

    async def admit(self) -> None:
        """See `Pacer.admit`."""

    def learn(self, advice: Advice) -> None:
        """See `Pacer.learn`."""

    def succeeded(self) -> None:
        """See `Pacer.succeeded`."""

    def failed(self, reason: str) -> None:
        """See `Pacer.failed`."""


@dataclass(frozen=True, kw_only=True)
class Wire:
    """How requests are made: the seams and limits of a session."""

    at_once: int = 64
    timeout: httpx.Timeout = field(default_factory=lambda: TIMEOUT)
    policy: RetryPolicy = DEFAULT_POLICY
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Random = random.random


@dataclass(frozen=True, kw_only=True)
class Costed:
    """A request's body as JSON, with what it may cost at most and what is expected of it.

    `price` makes of an answer's own usage what it cost; None where the answer does not say.
    """

    body: bytes
    at_most: Spent
    expected_tokens: int
    price: Callable[[Mapping[str, Any]], Spent | None]


class AiSession:
    """Makes requests to one provider for the coroutines of one event loop; share it, and close it."""

    def __init__(self, *, endpoint: Endpoint, budget: Budget, pacer: Pacer, wire: Wire) -> None:
        self.endpoint = endpoint
        self._budget, self._pacer, self._wire = budget, pacer, wire
        self._slots = asyncio.Semaphore(wire.at_once)
        self._client = client(wire.at_once, wire.timeout, is_secure=endpoint.is_secure)
        self._headers = {"Content-Type": "application/json", "User-Agent": "backfill_assets", **endpoint.headers}
        self._account = Account(service=endpoint.provider, tenant="", secrets=(endpoint.key,))

    async def ask(self, url: str, asked: Costed, read: Callable[[Mapping[str, Any]], T]) -> tuple[T, Spent]:
        """What `read` makes of the answer, and what all tries cost as far as anybody knows.

        A `read` that finds a shape that the interface does not allow raises `ValueError`, `KeyError` or `TypeError`.
        """
        tries, spent = Tries(self._wire.policy, self._wire.random), NOTHING
        while True:
            try:
                # A slot first: who waits for one must not hold money.
                async with self._slots:
                    answer, cost = await self._once(url, asked, read)
                return answer, spent + cost
            except RateLimited as error:
                pause = tries.pause_after(error)
            except TransientError as error:
                if not isinstance(error, SourceUnreachable):
                    spent += asked.at_most
                pause = tries.pause_after(error)
            await self._wire.sleep(pause)

    async def close(self) -> None:
        """Give the connections back."""
        await self._client.aclose()

    async def _once(self, url: str, asked: Costed, read: Callable[[Mapping[str, Any]], T]) -> tuple[T, Spent]:
        await self._pacer.admit()
        reservation = await self._budget.reserve(asked.at_most, expected_tokens=asked.expected_tokens)
        cost: Spent | None = None
        try:
            response = await self._send(url, asked.body)
            if not response.is_success:
                if response.status_code < 500:
                    cost = NOTHING  # refused before any token was made
                raise self._error(url, response)
            body = self._json(url, response)
            cost = asked.price(body)
            answer = self._read(url, body, read)
        except SourceUnreachable as error:
            cost = NOTHING  # nobody heard it
            self._pacer.failed(str(error))
            raise
        except RateLimited as limit:
            self._pacer.succeeded()
            self._pacer.learn(Advice(reason=str(limit), wait_seconds=limit.retry_after))
            raise
        except TransientError as error:
            self._pacer.failed(str(error))
            raise
        except BackfillError:
            self._pacer.succeeded()  # a refusal is an answer: the service is well
            raise
        finally:
            self._budget.settle(reservation, cost)
        self._pacer.succeeded()
        return answer, asked.at_most if cost is None else cost

    async def _send(self, url: str, body: bytes) -> httpx.Response:
        try:
            return await self._client.post(url, content=body, headers=self._headers)
        except _UNREACHABLE as error:
            reason = self._account.redact(str(error)) or type(error).__name__
            raise SourceUnreachable(
                f"{self._where(url)} cannot be reached ({reason}). Check {self.endpoint.names} and the network."
            ) from error
        except httpx.TimeoutException as error:
            raise TimedOut(f"{self._where(url)} did not answer in time ({type(error).__name__}).") from error
        except httpx.HTTPError as error:
            raise TransientError(f"{self._where(url)} did not answer in full ({type(error).__name__}).") from error

    def _json(self, url: str, response: httpx.Response) -> Mapping[str, Any]:
        try:
            body = json.loads(response.content)
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            kind = response.headers.get("content-type", "no content type")
            raise TransientError(
                f"{self._where(url)} answered {response.status_code} with a body that is no JSON object "
                f"({kind}, {len(response.content)} bytes)."
            )
        return body

    def _read(self, url: str, body: Mapping[str, Any], read: Callable[[Mapping[str, Any]], T]) -> T:
        try:
            return read(body)
        except (ValueError, LookupError, TypeError) as error:
            raise UnexpectedResponse(
                f"{self._where(url)} answered JSON of another shape than its interface says "
                f"({type(error).__name__}). Check {self.endpoint.names}."
            ) from error

    def _error(self, url: str, response: httpx.Response) -> BackfillError:
        status, code = response.status_code, _code(response)
        # The words of a refused request may quote it; those about keys, addresses and limits do not.
        words = self._account.redact(service_message(response)) if status in (401, 403, 404, 429) else ""
        told = f"{self._where(url)} answered {status}{words or (f' ({code})' if code else '')}."
        match status:
            case 429 if code == "insufficient_quota":
                return PermanentError(f"{told} The account's own quota is used up; see the provider's billing.")
            case 429:
                return RateLimited(told, retry_after=_retry_after(response))
            case 401 | 403:
                return CredentialRefused(f"{told} Check {self.endpoint.names}.")
            case 404:
                return UnexpectedResponse(f"{told} Check the model or deployment, and {self.endpoint.names}.")
            case 408 | 504:
                return TimedOut(told)
            case 400 | 422 if code in _REJECTING_CODES:
                return RejectedRecord(f"{self.endpoint.provider} refuses this text ({code})")
            case _ if status >= 500:
                return TransientError(told)
        return UnexpectedResponse(told)

    def _where(self, url: str) -> str:
        return f"{self.endpoint.provider} at {self.endpoint.host}, POST {httpx.URL(url).path},"


def _code(response: httpx.Response) -> str:
    try:
        code = response.json()["error"]["code"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    return code if isinstance(code, str) and code.replace("_", "").isalnum() and len(code) <= 60 else ""


def _retry_after(response: httpx.Response) -> float:
    milliseconds = response.headers.get("retry-after-ms")  # Azure's, which is more exact
    if milliseconds is not None and milliseconds.isdigit():
        return min(int(milliseconds) / 1000, LONGEST_RETRY_AFTER)
    return retry_after_seconds(response.headers.get("retry-after"), now=utc_now(), longest=LONGEST_RETRY_AFTER)
