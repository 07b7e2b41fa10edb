"""Where Salesforce differs from plain HTTP: tokens, error codes in lists, and a daily allotment of requests.

Here belongs what an answer says besides its records; what is asked belongs to `salesforce`.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from backfill_assets.adapters.rest.account import Account
from backfill_assets.adapters.rest.http import Manners
from backfill_assets.core.pacing import Advice
from backfill_assets.errors import (
    BackfillError,
    CredentialRefused,
    NoSuchTable,
    RateLimited,
    TimedOut,
    UnexpectedResponse,
)

TOKEN_PATH = "services/oauth2/token"  # noqa: S105 - an address

OUR_SHARE = 0.8
"""The part of the day's requests that we may help to use up; the rest is for the tenant's other programs."""
FREE_SHARE = 0.5
"""Up to here nothing slows us down; from here on, what is left of our share is spread over an hour at least."""
ALLOTMENT_WAIT = 900.0
"""The allotment counts the last 24 hours and tells no end; a quarter of an hour frees about a hundredth of it."""
CONCURRENCY_WAIT = 30.0
"""Too many long requests at once is over as soon as one of them is."""

_MINUTES = 60
_USAGE = re.compile(r"(?<![-\w])api-usage=(\d+)/(\d+)")


class ExpiredCursor(UnexpectedResponse):
    """The rest of a query can no longer be fetched by its address."""


class SalesforceManners(Manners):
    """See `Manners`; keep one for each session. `sign_in` makes a request and returns a new token."""

    def __init__(self, *, account: Account, sign_in: Callable[[], str]) -> None:
        self._account, self._sign_in = account, sign_in
        self._token: str | None = None

    def headers(self) -> Mapping[str, str]:
        """See `Manners.headers`; signs in at the first request."""
        if self._token is None:
            self._token = self._sign_in()
        return {"Authorization": f"Bearer {self._token}"}

    def renew(self) -> bool:
        """See `Manners.renew`."""
        self._token = None
        return True

    def refusal(self, response: httpx.Response, told: str) -> BackfillError | None:
        """See `Manners.refusal`."""
        if response.is_success:
            return None
        if response.request.url.path.endswith(TOKEN_PATH):
            return self._sign_in_refusal(response, told)
        codes = _error_codes(response)
        if "REQUEST_LIMIT_EXCEEDED" in codes:
            is_brief = "concurrent" in response.text.lower()
            return RateLimited(told, retry_after=CONCURRENCY_WAIT if is_brief else ALLOTMENT_WAIT)
        meanings: Mapping[str, type[BackfillError]] = {
            "QUERY_TIMEOUT": TimedOut,
            "INVALID_TYPE": NoSuchTable,
            "INVALID_QUERY_LOCATOR": ExpiredCursor,
        }
        return next((meaning(told) for code, meaning in meanings.items() if code in codes), None)

    def advice(self, response: httpx.Response) -> Advice | None:
        """See `Manners.advice`."""
        return _advice(response.headers.get("Sforce-Limit-Info", ""))

    def _sign_in_refusal(self, response: httpx.Response, told: str) -> BackfillError | None:
        if response.status_code not in (400, 401, 403):
            return None
        if "rate exceeded" in response.text.lower():
            return RateLimited(told, retry_after=ALLOTMENT_WAIT)
        return CredentialRefused(f"{told} {self._account.advice}")


def _error_codes(response: httpx.Response) -> set[Any]:
    """The codes of an error; its body is a list of objects."""
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return set()
    errors = body if isinstance(body, list) else [body]
    return {str(error.get("errorCode")) for error in errors if isinstance(error, dict)}


def _advice(header: str) -> Advice | None:
    found = _USAGE.search(header)
    if not found or not (allotted := int(found[2])):
        return None
    used = int(found[1])
    left = OUR_SHARE * allotted - used
    if left < 1:
        reason = (
            f"Salesforce counts {used} of the {allotted} requests of 24 hours as used; the last "
            f"{1 - OUR_SHARE:.0%} are left to the tenant's other programs"
        )
        return Advice(reason=reason, wait_seconds=ALLOTMENT_WAIT)
    if used < FREE_SHARE * allotted:
        return Advice(reason="Salesforce's requests of 24 hours are not half used up", requests_per_minute=allotted)
    return Advice(
        reason=f"more than {FREE_SHARE:.0%} of Salesforce's {allotted} requests of 24 hours are used up",
        requests_per_minute=max(1.0, round(left / _MINUTES, 1)),
    )
