"""Answers that the stand-in never gives: what other servers send, and what nobody should."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from backfill_assets.adapters.ai import answer, prompt
from backfill_assets.adapters.ai.answer import UnfitAnswer
from backfill_assets.adapters.ai.chat import ATTEMPTS, MOST_TOKENS_OUT
from backfill_assets.adapters.ai.endpoint import openai
from backfill_assets.adapters.ai.expectation import Expectation
from backfill_assets.adapters.ai.opening import Opened
from backfill_assets.core.enrichment import Embeddings, Extraction
from backfill_assets.errors import CredentialRefused, PermanentError, RejectedRecord, UnexpectedResponse
from backfill_assets.sandbox.serving import Serving
from backfill_assets_tests.adapters.ai.rig import CHAT_PRICE, Rig

GOOD = {
    "component": "Fan",
    "fault": "Noise",
    "cause": "",
    "resolution_steps": ["Replaced"],
    "summary": "The fan was replaced.",
    "confidence": 1,
}


def completion(content: object, *, finish: str = "stop", usage: object = None) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": content}}
    return {"choices": [choice], "usage": usage}


def vectors(*found: tuple[int, object]) -> dict[str, Any]:
    return {"data": [{"index": index, "embedding": embedding} for index, embedding in found]}


@contextmanager
def answering(*script: object) -> Iterator[Rig]:
    """A server that gives these answers, one after the other: a body, or status, body and headers."""
    answers = iter(script)

    async def give(request: Request) -> Response:
        given = next(answers)
        status, body, headers = given if isinstance(given, tuple) else (200, given, {})
        return Response(json.dumps(body), status_code=status, headers=headers, media_type="application/json")

    with Serving(Starlette(routes=[Route("/{path:path}", give, methods=["POST"])]), name="script") as server:
        yield Rig(
            endpoint=openai(base_url=f"{server.url}/v1", key="k" * 20, model="m", embedding_model="e"), dimensions=2
        )


def extract(rig: Rig) -> Extraction:
    async def use(opened: Opened) -> Extraction:
        return await opened.extractor.extract("The fan is noisy.")

    return rig.run(use)


def embed(rig: Rig, *texts: str) -> Embeddings:
    async def use(opened: Opened) -> Embeddings:
        return await opened.embedder.embed(texts)

    return rig.run(use)


@pytest.mark.parametrize(
    "usage",
    [None, {}, {"prompt_tokens": -1, "completion_tokens": 1}, {"prompt_tokens": "7", "completion_tokens": True}, [3]],
)
def test_without_usage_a_call_costs_the_most_that_it_might(usage: object) -> None:
    with answering(completion(json.dumps(GOOD), usage=usage)) as rig:
        extraction = extract(rig)
        spent = asyncio.run(rig.budget.spent())
    assert spent == extraction.spent
    assert spent.tokens_out == MOST_TOKENS_OUT
    assert spent.dollars > MOST_TOKENS_OUT * CHAT_PRICE.received / 1e6


def test_an_answer_that_was_cut_for_its_length_is_repaired() -> None:
    with answering(completion('{"component": "Fa', finish="length"), completion(json.dumps(GOOD))) as rig:
        assert extract(rig).attempts == 2


def test_a_filtered_answer_rejects_the_record_at_once() -> None:
    with answering(completion(None, finish="content_filter")) as rig, pytest.raises(RejectedRecord, match="refuses"):
        extract(rig)


def test_an_answer_without_content_is_invalid() -> None:
    script = [completion(None)] * ATTEMPTS
    with answering(*script) as rig, pytest.raises(RejectedRecord, match="it is not JSON"):
        extract(rig)


def test_a_used_up_quota_is_no_rate_limit() -> None:
    refusal: tuple[int, object, dict[str, str]] = (
        429,
        {"error": {"code": "insufficient_quota", "message": "You exceeded your quota"}},
        {"Retry-After": "1"},
    )
    with answering(refusal) as rig, pytest.raises(PermanentError, match="quota is used up"):
        extract(rig)
    assert rig.pauses == []


def test_milliseconds_to_wait_are_more_exact_than_seconds() -> None:
    refusal: tuple[int, object, dict[str, str]] = (
        429,
        {"error": {"code": "429"}},
        {"Retry-After": "60", "retry-after-ms": "2500"},
    )
    with answering(refusal, completion(json.dumps(GOOD))) as rig:
        extract(rig)
    assert rig.pauses == [3.0]


def test_a_key_that_the_server_quotes_is_not_told() -> None:
    quoting = (
        401,
        {"error": {"code": "invalid_api_key", "message": f"Incorrect API key provided: {'k' * 20}."}},
        {"a": "b"},
    )
    with answering(quoting) as rig, pytest.raises(CredentialRefused, match=r"Incorrect API key provided: \*\*\*"):
        extract(rig)


def test_the_words_of_a_refused_request_are_not_told() -> None:
    refusal: tuple[int, object, dict[str, str]] = (
        400,
        {"error": {"code": "bad_request", "message": "cannot read 'The fan is noisy.'"}},
        {},
    )
    with answering(refusal) as rig, pytest.raises(UnexpectedResponse, match=r"answered 400 \(bad_request\)") as caught:
        extract(rig)
    assert "noisy" not in str(caught.value)


@pytest.mark.parametrize("code", ["The fan is noisy.", 7, None, "x" * 100])
def test_a_code_that_is_none_is_not_told(code: object) -> None:
    with answering((400, {"error": {"code": code}}, {})) as rig, pytest.raises(UnexpectedResponse) as caught:
        extract(rig)
    assert str(caught.value).endswith("answered 400.")


def test_vectors_may_come_as_lists_and_in_any_order() -> None:
    with answering(vectors((1, [0.0, 1.0]), (0, [1.0, 0.0]))) as rig:
        assert [list(vector) for vector in embed(rig, "a", "b").vectors] == [[1.0, 0.0], [0.0, 1.0]]


@pytest.mark.parametrize(
    "body",
    [
        vectors((0, [1.0, 0.0])),
        vectors((0, [1.0, 0.0]), (0, [1.0, 0.0])),
        vectors((0, [1.0, 0.0]), (2, [1.0, 0.0])),
        vectors((0, [1.0, 0.0]), (1, [float("nan"), 0.0])),
        vectors((0, [1.0, 0.0]), (1, ["a", "b"])),
        vectors((0, [1.0, 0.0]), (1, "not base64!")),
        vectors((0, [1.0, 0.0]), (1, None)),
        {"data": None},
        {},
    ],
    ids=["few", "twice", "gap", "nan", "texts", "no base64", "null", "no data", "nothing"],
)
def test_vectors_that_do_not_fit_their_texts_are_refused(body: object) -> None:
    with answering(body) as rig, pytest.raises(UnexpectedResponse, match="JSON of another shape"):
        embed(rig, "a", "b")


def test_a_long_text_is_embedded_by_its_beginning() -> None:
    with answering(vectors((0, [1.0, 0.0]))) as rig:
        embed(rig, "x" * 100_000)
        assert asyncio.run(rig.budget.spent()).tokens_in < 7000


@pytest.mark.parametrize(
    ("other", "problem"),
    [
        ({"component": None}, "component Input should be a valid string"),
        ({"confidence": 1.5}, "confidence is not from 0 to 1"),
        ({"confidence": "1"}, "confidence Input should be a valid number"),
        ({"summary": "x" * 3000}, "summary is longer than 2000 characters"),
        ({"resolution_steps": ["x"] * 51}, "resolution_steps has more than 50 entries"),
        ({"resolution_steps": [1]}, "resolution_steps.0 Input should be a valid string"),
        ({"Secretive key": 1}, "a key is not allowed"),
    ],
)
def test_what_is_wrong_is_told_without_quoting(other: dict[str, object], problem: str) -> None:
    with pytest.raises(UnfitAnswer) as caught:
        answer.read(json.dumps({**GOOD, **other}))
    assert str(caught.value) == problem


def test_a_missing_field_is_told() -> None:
    with pytest.raises(UnfitAnswer, match=r"^summary is missing$"):
        answer.read(json.dumps({name: value for name, value in GOOD.items() if name != "summary"}))


@given(st.text())
def test_text_that_is_no_answer_is_unfit(content: str) -> None:
    with pytest.raises(UnfitAnswer):
        answer.read(content)


def test_the_examples_of_the_prompt_fit_their_own_schema() -> None:
    said = [each["content"] for each in prompt.messages("x") if each["role"] == "assistant"]
    assert len(said) == 2
    for content in said:
        answer.read(content)


def test_the_prompt_does_not_change_without_its_version() -> None:
    """Rows of an older version are done anew, so that a change of the prompt must be one of the version."""
    asked = json.dumps([prompt.messages("x"), answer.RESPONSE_FORMAT], sort_keys=True)
    assert (prompt.PROMPT_VERSION, sha256(asked.encode()).hexdigest()[:12]) == ("2026-11-1", "cf7f62512b2e")


def test_expectations_follow_what_was_used() -> None:
    expectation = Expectation(received=200.0)
    for _ in range(200):
        expectation.learn(1000, tokens_in=250, tokens_out=50)
    assert expectation.tokens(2000) == pytest.approx(550, abs=2)
    assert replace(expectation, received=0.0).tokens(1000) == pytest.approx(250, abs=1)
