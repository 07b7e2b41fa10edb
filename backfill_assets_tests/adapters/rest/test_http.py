"""From an answer, or none, to JSON or the right kind of error: over a scripted transport."""

from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from backfill_assets.adapters.rest.account import Account
from backfill_assets.adapters.rest.http import HttpSession
from backfill_assets.core.retries import RetryPolicy
from backfill_assets.errors import (
    BackfillError,
    CredentialRefused,
    RateLimited,
    SourceUnreachable,
    TimedOut,
    TransientError,
    UnexpectedResponse,
)
from backfill_assets_tests.adapters.rest.scripted import NOW, Answer, Script

DONE = httpx.Response(200, json={"done": True})
SECRETS = ("the-private-key", "dGhlIHRva2Vu")
ACCOUNT = Account(
    service="connectwise",
    tenant="acme",
    credential_names=("BACKFILL_ACME_CONNECTWISE_PRIVATE_KEY", "BACKFILL_ACME_CONNECTWISE_CLIENT_ID"),
    secrets=SECRETS,
)


def get(script: Script, *, policy: RetryPolicy | None = None) -> Any:
    session = HttpSession(
        account=ACCOUNT,
        base_url="https://api-na.example.com:8443/",
        headers={"Authorization": "Basic dGhlIHRva2Vu"},
        wire=script.wire(policy=policy),
    )
    try:
        return session.get("things", {"name": "a&b"})
    finally:
        session.close()


def refused(script: Script, kind: type[BackfillError]) -> str:
    with pytest.raises(BackfillError) as caught:
        get(script)
    assert type(caught.value) is kind or (kind is UnexpectedResponse and isinstance(caught.value, kind))
    assert not any(secret in str(caught.value) for secret in SECRETS)
    return str(caught.value)


def test_decodes_the_json_of_a_get() -> None:
    script = Script([DONE])
    assert get(script) == {"done": True}
    assert str(script.requests[0].url) == "https://api-na.example.com:8443/things?name=a%26b"
    assert script.requests[0].method == "GET"


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_credential_stops_at_once_and_names_who_where_and_which_setting(status: int) -> None:
    script = Script([httpx.Response(status, json={"code": "Unauthorized", "message": "bad key the-private-key"})])
    told = refused(script, CredentialRefused)
    assert (len(script.requests), script.pauses) == (1, [])
    assert told == (
        f"connectwise of tenant acme at api-na.example.com:8443, GET things, answered {status} "
        "(Unauthorized: bad key ***). "
        "Check BACKFILL_ACME_CONNECTWISE_PRIVATE_KEY, BACKFILL_ACME_CONNECTWISE_CLIENT_ID."
    )


def test_ten_rate_limits_are_waits_and_no_tries() -> None:
    limit = httpx.Response(429, headers={"Retry-After": "7"})
    script = Script([limit] * 10 + [DONE])
    assert get(script) == {"done": True}
    assert script.pauses == [7.5] * 10


def test_a_rate_limit_until_a_date_is_waited_for() -> None:
    until = format_datetime(datetime(2024, 5, 1, 12, 0, 40, tzinfo=UTC), usegmt=True)
    script = Script([httpx.Response(429, headers={"Retry-After": until}), DONE])
    get(script)
    assert script.pauses == [40.5]
    assert NOW.second == 0


def test_a_rate_limit_without_a_length_waits_five_seconds() -> None:
    script = Script([httpx.Response(429), DONE])
    get(script)
    assert script.pauses == [5.5]


def test_patience_with_rate_limits_ends() -> None:
    script = Script([httpx.Response(429, headers={"Retry-After": "100000"})])
    assert "Gave up after 3306 s of waiting" in refused(script, RateLimited)
    assert script.pauses == [300.5] * 11


@pytest.mark.parametrize(
    ("status", "kind"),
    [(408, TimedOut), (500, TransientError), (502, TransientError), (503, TransientError), (504, TimedOut)],
)
def test_a_failing_server_is_asked_four_times(status: int, kind: type[BackfillError]) -> None:
    assert get(Script([httpx.Response(status)] * 3 + [DONE])) == {"done": True}
    script = Script([httpx.Response(status, json={"message": "sorry"})])
    assert f"answered {status} (sorry). Gave up after 4 tries." in refused(script, kind)
    assert (len(script.requests), script.pauses) == (4, [0.5, 1.0, 2.0])


@pytest.mark.parametrize(
    ("failure", "kind", "words"),
    [
        (httpx.ConnectError("Name or service not known"), SourceUnreachable, "Name or service not known"),
        (httpx.ConnectTimeout("timed out"), SourceUnreachable, "cannot be reached"),
        (httpx.ProxyError("502 the-private-key"), SourceUnreachable, r"502 \*\*\*"),
        (httpx.ReadTimeout("timed out"), TimedOut, "ReadTimeout"),
        (httpx.WriteError("broken pipe"), TransientError, "WriteError"),
        (httpx.PoolTimeout("busy"), TimedOut, "PoolTimeout"),
        (httpx.RemoteProtocolError("incomplete"), TransientError, "RemoteProtocolError"),
    ],
)
def test_a_connection_that_fails_is_tried_four_times(failure: Exception, kind: type[BackfillError], words: str) -> None:
    assert get(Script([failure, failure, failure, DONE])) == {"done": True}
    script = Script([failure])
    with pytest.raises(kind, match=words):
        get(script, policy=RetryPolicy(longest_outage=0))
    assert len(script.requests) == 4
    refused(script, kind)


@pytest.mark.parametrize(
    "body",
    [
        httpx.Response(200, html="<html>We'll be back soon</html>"),
        httpx.Response(200, content=b'[{"id": 1}, {"id"'),
        httpx.Response(200, content=b""),
        httpx.Response(204),
        httpx.Response(200, content=b"\xff\xfe\xfa"),
        httpx.DecodingError("bad gzip"),
    ],
)
def test_a_body_that_is_not_json_may_pass_but_not_for_ever(body: Answer) -> None:
    assert get(Script([body] * 3 + [DONE])) == {"done": True}
    script = Script([body])
    told = refused(script, UnexpectedResponse)
    assert "Gave up after 4 tries. Check the base URL." in told
    assert "not JSON" in told or "cannot be decompressed" in told
    assert len(script.requests) == 4


@pytest.mark.parametrize("status", [301, 302, 400, 404, 405, 409, 410, 422])
def test_every_other_status_stops_at_once_with_the_services_own_words(status: int) -> None:
    errors = [{"code": "InvalidField", "message": "no such field", "field": "conditions"}]
    script = Script([httpx.Response(status, json={"code": "Bad", "message": "x" * 500, "errors": errors})])
    told = refused(script, UnexpectedResponse)
    assert f"answered {status} (Bad: xxx" in told
    assert len(told) < 400
    assert len(script.requests) == 1


def test_a_redirect_is_not_followed_for_it_would_take_the_credential_along() -> None:
    script = Script([httpx.Response(302, headers={"Location": "https://elsewhere.example.com/"})])
    refused(script, UnexpectedResponse)
    assert [request.url.host for request in script.requests] == ["api-na.example.com"]


@pytest.mark.parametrize(
    ("secret", "told"),
    [
        ("any", "a company of germany: abc123"),
        ("", "a company of germany: abc123"),
        ("abc123", "a company of germany: ***"),
    ],
)
def test_only_what_is_long_enough_to_be_a_secret_is_taken_out(secret: str, told: str) -> None:
    assert replace(ACCOUNT, secrets=(secret,)).redact("a company of germany: abc123") == told


def test_an_account_shows_no_secret() -> None:
    assert not any(secret in repr(ACCOUNT) for secret in SECRETS)
