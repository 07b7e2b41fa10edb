"""Where ServiceNow differs from plain HTTP: errors in answers that succeeded, unknown tables, and its limits.

Here belongs what an answer says besides its records; what is asked belongs to `servicenow`.
"""

import math
from datetime import datetime
from typing import Any

import httpx

from backfill_assets.adapters.rest.account import Account
from backfill_assets.adapters.rest.answers import service_message
from backfill_assets.adapters.rest.http import Manners
from backfill_assets.core.pacing import Advice
from backfill_assets.core.windows import Clock
from backfill_assets.errors import BackfillError, NoSuchTable, TimedOut, UnexpectedResponse

MINUTES_PER_HOUR = 60
_CANCELLED = b"maximum execution time exceeded"
_INVALID_TABLE = "invalid table"


class ServiceNowManners(Manners):
    """See `Manners`; keep one for each session."""

    def __init__(self, *, account: Account, now: Clock) -> None:
        self._account, self._now = account, now

    def refusal(self, response: httpx.Response, told: str) -> BackfillError | None:
        """See `Manners.refusal`."""
        if response.is_success:
            return self._refusal_in_success(response, told)
        if response.status_code == 400 and _INVALID_TABLE in response.text.lower():
            return NoSuchTable(told)
        return TimedOut(told) if _CANCELLED in response.content else None

    def advice(self, response: httpx.Response) -> Advice | None:
        """See `Manners.advice`."""
        return _advice(response, self._now())

    def _refusal_in_success(self, response: httpx.Response, told: str) -> BackfillError | None:
        # The words can be in a record's text too; parsing every body for them would read each page twice.
        if not (is_cancelled := _CANCELLED in response.content) and b'"error"' not in response.content:
            return None
        body = _json(response)
        if isinstance(body, dict) and not body.get("error"):
            return None
        if is_cancelled:
            return TimedOut(f"{told[:-1]}, but cancelled the query since it took too long.")
        words = self._account.redact(service_message(response))
        return UnexpectedResponse(f"{told[:-1]}{words}.") if isinstance(body, dict) else None


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except (ValueError, RecursionError):
        return None


def _advice(response: httpx.Response, now: datetime) -> Advice | None:
    limit = _number(response, "X-RateLimit-Limit")
    reset = _number(response, "X-RateLimit-Reset")
    remaining = _number(response, "X-RateLimit-Remaining")
    is_used_up = response.status_code == 429 or (remaining is not None and remaining <= 0)
    if limit is None and not is_used_up:
        return None
    rule = response.headers.get("X-RateLimit-Rule")
    named = f" ({rule})" if rule else ""
    wait = max(0.0, math.ceil(reset - now.timestamp())) if is_used_up and reset is not None else None
    return Advice(
        reason=f"ServiceNow allows {limit:.0f} requests an hour{named}" if limit else f"ServiceNow's limit{named}",
        wait_seconds=wait,
        requests_per_minute=limit / MINUTES_PER_HOUR if limit else None,
    )


def _number(response: httpx.Response, name: str) -> float | None:
    try:
        number = float(response.headers[name])
    except (KeyError, ValueError):
        return None
    return number if math.isfinite(number) else None
