"""Signing in at Salesforce, its tokens, its refusals and its daily allotment: over a scripted transport."""

from contextlib import closing
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest

from backfill_assets.adapters.rest.salesforce_tables import ACCOUNT
from backfill_assets.core.pacing import Advice, Unpaced
from backfill_assets.core.retries import RetryPolicy
from backfill_assets.errors import (
    BackfillError,
    CircuitOpen,
    CredentialRefused,
    RateLimited,
    SourceUnreachable,
    TransientError,
    UnexpectedResponse,
)
from backfill_assets_tests.adapters.rest.scripted import Answer, Learner, Script, answer
from backfill_assets_tests.adapters.rest.scripted_salesforce import (
    CREDENTIAL,
    OPENING,
    SECRETS,
    counted,
    refusal,
    salesforce,
    signed_in,
    versions,
)

START, END = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC)
SLOWED = "more than 50% of Salesforce's 5000 requests of 24 hours are used up"
EXPIRED = refusal(401, "INVALID_SESSION_ID", "Session expired or invalid first-session")


def count(script: Script, *, times: int = 1, **settings: Any) -> list[int]:
    with closing(salesforce(script, **settings)) as source:
        return [source.count(ACCOUNT, START, END) for _ in range(times)]


def refused(script: Script, kind: type[BackfillError], **settings: Any) -> str:
    with pytest.raises(kind) as caught:
        count(script, **settings)
    assert not any(secret in str(caught.value) for secret in SECRETS)
    return str(caught.value)


def form(request: httpx.Request) -> dict[str, str]:
    return dict(parse_qsl(request.content.decode()))


def test_signs_in_once_with_the_password_and_the_security_token_behind_it() -> None:
    script = Script([*OPENING, counted(1)])
    assert count(script, times=2) == [1, 1]
    assert script.paths().count("/services/oauth2/token") == 1
    assert form(script.requests[0]) == {
        "grant_type": "password",
        "client_id": "the-client-id",
        "client_secret": "the-client-secret",
        "username": "reader@acme.example.com",
        "password": "the-passwordthe-token",
    }
    assert "authorization" not in script.requests[0].headers
    assert {request.headers["authorization"] for request in script.requests[1:]} == {"Bearer first-session"}


def test_signs_in_as_the_client_where_there_is_no_user() -> None:
    script = Script([*OPENING, counted(1)])
    count(script, credential={"client_id": "the-client-id", "client_secret": "the-client-secret"})
    assert form(script.requests[0]) == {
        "grant_type": "client_credentials",
        "client_id": "the-client-id",
        "client_secret": "the-client-secret",
    }


def test_a_token_that_ran_out_is_renewed_and_the_request_made_again() -> None:
    script = Script([*OPENING, EXPIRED, signed_in("second-session"), counted(7)])
    assert count(script) == [7]
    assert script.requests[-1].headers["authorization"] == "Bearer second-session"
    assert script.pauses == []


def test_a_new_token_that_is_refused_too_is_a_refused_credential() -> None:
    script = Script([*OPENING, EXPIRED, signed_in("second-session"), EXPIRED])
    told = refused(script, CredentialRefused)
    assert told.endswith("Check BACKFILL_ACME_SALESFORCE_PASSWORD.")
    assert len(script.requests) == 5


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_credential_that_is_refused_on_signing_in_stops_after_one_request(status: int) -> None:
    body = {"error": "invalid_grant", "error_description": "authentication failure the-password"}
    script = Script([httpx.Response(status, json=body)])
    told = refused(script, CredentialRefused)
    assert "invalid_grant: authentication failure ***" in told
    assert told.endswith("Check BACKFILL_ACME_SALESFORCE_PASSWORD.")
    assert (len(script.requests), script.pauses) == (1, [])


def test_signing_in_too_often_is_a_wait() -> None:
    script = Script(
        [httpx.Response(400, json={"error": "invalid_grant", "error_description": "login rate exceeded"}), *OPENING]
    )
    assert "login rate exceeded" in refused(script, RateLimited, policy=RetryPolicy(longest_wait=0))


def test_a_failure_of_signing_in_is_tried_as_often_as_any_other() -> None:
    failure = httpx.Response(503)
    assert count(Script([failure, failure, failure, *OPENING, counted(1)])) == [1]
    script = Script([failure])
    assert "Gave up after 4 tries" in refused(script, TransientError)
    assert len(script.requests) == 4
    script = Script([httpx.ConnectError("no route")])
    refused(script, SourceUnreachable)
    assert sum(script.pauses) < 90


def test_the_one_request_that_an_open_breaker_lets_through_may_sign_in_for_itself() -> None:
    class HalfOpen(Unpaced):
        admitted = 0

        def admit(self) -> float:
            self.admitted += 1
            if self.admitted == 2:
                raise CircuitOpen("still open", retry_in=30)
            return 0.0

    pacer = HalfOpen()
    assert count(Script([*OPENING, counted(1)]), pacer=pacer) == [1]
    assert pacer.admitted == 3


@pytest.mark.parametrize("body", [[], {}, {"access_token": ""}, {"access_token": 7}, {"access_token": "a\nb"}])
def test_an_answer_without_a_token_is_no_session(body: object) -> None:
    assert "without a token" in refused(Script([answer(body)]), UnexpectedResponse)


def test_the_days_requests_being_used_up_is_a_long_wait_and_no_refused_credential() -> None:
    limit = refusal(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
    script = Script([*OPENING, limit, limit, counted(1)])
    assert count(script) == [1]
    assert script.pauses == [900.5, 900.5]
    assert "TotalRequests Limit exceeded" in refused(Script([*OPENING, limit]), RateLimited)


def test_too_many_requests_at_once_is_a_short_wait() -> None:
    limit = refusal(403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentRequests (Concurrent API Requests) Limit exceeded.")
    script = Script([*OPENING, limit, counted(1)])
    count(script)
    assert script.pauses == [30.5]


@pytest.mark.parametrize("code", ["API_DISABLED_FOR_ORG", "INSUFFICIENT_ACCESS"])
def test_any_other_403_is_a_refused_credential(code: str) -> None:
    script = Script([*OPENING, refusal(403, code, "not for you")])
    assert f"{code}: not for you" in refused(script, CredentialRefused)
    assert len(script.requests) == 3


@pytest.mark.parametrize(
    ("used", "advice"),
    [
        (18, Advice(reason="Salesforce's requests of 24 hours are not half used up", requests_per_minute=5000)),
        (
            3400,
            Advice(reason=SLOWED, requests_per_minute=10),
        ),
        (
            3999,
            Advice(reason=SLOWED, requests_per_minute=1),
        ),
        (
            4000,
            Advice(
                reason=(
                    "Salesforce counts 4000 of the 5000 requests of 24 hours as used; the last 20% are left to the "
                    "tenant's other programs"
                ),
                wait_seconds=900,
            ),
        ),
    ],
)
def test_the_last_fifth_of_the_days_requests_is_left_to_others(used: int, advice: Advice) -> None:
    learner = Learner()
    told = httpx.Response(200, json={"totalSize": 1, "records": [], "done": True})
    told.headers["Sforce-Limit-Info"] = f"api-usage={used}/5000; per-app-api-usage=17/250(appName=x)"
    count(Script([*OPENING, told]), pacer=learner, times=2)
    assert learner.learned == [advice, advice]


@pytest.mark.parametrize("header", ["", "api-usage=", "api-usage=1/0", "per-app-api-usage=17/250(appName=x)", "x"])
def test_a_limit_that_is_not_told_is_not_guessed(header: str) -> None:
    learner = Learner()
    told: Answer = httpx.Response(200, json=[], headers={"Sforce-Limit-Info": header})
    count(Script([signed_in(), told, counted(1)]), pacer=learner)
    assert learner.learned == []


def test_no_secret_is_in_the_text_of_an_account() -> None:
    source = salesforce(Script([*OPENING, versions()]), credential=CREDENTIAL)
    assert not any(secret in repr(vars(source)) for secret in SECRETS)
    source.close()
