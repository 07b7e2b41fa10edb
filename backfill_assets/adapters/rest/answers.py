"""What an answer other than success says: how long to wait, and the service's own words.

Pure readings of headers and bodies; what follows from them belongs to `http`.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any

import httpx

LONGEST_MESSAGE = 300
DEFAULT_RETRY_AFTER = 5.0


def retry_after_seconds(
    header: str | None, *, now: datetime, default: float = DEFAULT_RETRY_AFTER, longest: float
) -> float:
    """Seconds that a Retry-After header (seconds or an HTTP date) asks for, within [0, longest]."""
    seconds = None if header is None else _seconds(header.strip(), now)
    return min(default if seconds is None else max(seconds, 0.0), longest)


def _seconds(header: str, now: datetime) -> float | None:
    try:
        seconds = float(header)
    except ValueError:
        return _seconds_until(header, now)
    return seconds if isfinite(seconds) else None


def _seconds_until(header: str, now: datetime) -> float | None:
    try:
        moment = parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        return None
    # A date that says "-0000" parses as naive; HTTP dates are GMT whatever they say.
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now).total_seconds()


def service_message(response: httpx.Response) -> str:
    """The service's own words as ` (words)`, on one line and cut at 300 characters; empty where it said nothing."""
    try:
        words = "; ".join(_words(response.json()))
    except ValueError:
        words = "" if "html" in response.headers.get("content-type", "") else response.text
    words = " ".join(words.split())
    return f" ({words[:LONGEST_MESSAGE]})" if words else ""


def _words(body: Any) -> Iterator[str]:
    """`code: message` of an error in any service's shape, outermost first.

    ConnectWise: `{code, message, errors: [{code, message, field}]}`; ServiceNow: `{error: {message, detail}}`;
    Salesforce: `[{errorCode, message}]`, and `{error, error_description}` when signing in.
    """
    if isinstance(body, list):
        for each in body:
            yield from _words(each)
    if not isinstance(body, dict):
        return
    told = [str(body[name]) for name in _TELLING if body.get(name) and not isinstance(body[name], dict | list)]
    if told:
        yield ": ".join(told)
    for name in ("error", "errors"):
        if isinstance(body.get(name), dict | list):
            yield from _words(body[name])


_TELLING = ("code", "errorCode", "field", "error", "message", "error_description", "detail")
