"""What goes wrong at a provider, over real HTTP: what is tried again, what is told, and what counts as spent."""

import asyncio
import time
from typing import Any

import httpx
import pytest

from backfill_assets.adapters.ai.opening import Opened
from backfill_assets.core.enrichment import Extraction, MemoryBudget
from backfill_assets.core.retries import RetryPolicy
from backfill_assets.errors import (
    BackfillError,
    ConfigurationError,
    CredentialRefused,
    RateLimited,
    RejectedRecord,
    SourceUnreachable,
    TimedOut,
    TransientError,
    UnexpectedResponse,
)
from backfill_assets.sandbox.ai.api import KEYS
from backfill_assets.sandbox.ai.server import AiServer
from backfill_assets.sandbox.ports import free_port
from backfill_assets_tests.adapters.ai.rig import Rig

TEXT = "Secretive gantry fan noisy, replaced the fan and ran a test scan."


def extract(rig: Rig) -> Extraction:
    async def use(opened: Opened) -> Extraction:
        return await opened.extractor.extract(TEXT)

    return rig.run(use)


def embed(rig: Rig) -> None:
    async def use(opened: Opened) -> None:
        await opened.embedder.embed([TEXT])

    rig.run(use)


def spent(rig: Rig) -> float:
    return asyncio.run(rig.budget.spent()).dollars


def refused(kind: type[BackfillError], rig: Rig) -> str:
    with pytest.raises(kind) as caught:
        extract(rig)
    assert "Secretive" not in str(caught.value)
    assert all(key not in str(caught.value) for key in KEYS.values())
    return str(caught.value)


def test_a_rate_limit_is_waited_for_and_is_no_try(remote: Rig, server: AiServer) -> None:
    server.fault(kind="rate_limit", retry_after=7, times=6)
    assert extract(remote).attempts == 1
    assert remote.pauses == [7.5] * 6
    assert spent(remote) == pytest.approx(server.charges()["dollars"])


def test_a_rate_limit_without_end_is_told(remote: Rig, server: AiServer) -> None:
    server.fault(kind="rate_limit", retry_after=100)
    remote.policy = RetryPolicy(longest_wait=250)
    assert "Gave up after 201 s of waiting" in refused(RateLimited, remote)
    assert spent(remote) == 0


@pytest.mark.parametrize(
    "fault",
    [{"kind": "status", "status": 500}, {"kind": "status", "status": 503}, {"kind": "html"}, {"kind": "truncate"}],
    ids=["500", "503", "html", "truncated"],
)
def test_a_passing_failure_is_tried_again(remote: Rig, server: AiServer, fault: dict[str, Any]) -> None:
    server.fault(**fault, times=3)
    extraction = extract(remote)
    assert len(remote.pauses) == 3
    assert extraction.attempts == 1


def test_a_failure_stays_a_failure_and_never_becomes_a_guess(remote: Rig, server: AiServer) -> None:
    server.fault(kind="status", status=500)
    assert "answered 500 (internal_error). Gave up after 4 tries." in refused(TransientError, remote)


def test_a_connection_cut_after_charging_counts_as_spent(remote: Rig, server: AiServer) -> None:
    server.fault(kind="drop", times=1)
    extraction = extract(remote)
    charged = server.charges()
    assert charged["requests"]["chat"] == 2
    assert spent(remote) >= charged["dollars"]
    assert extraction.spent.dollars == pytest.approx(spent(remote))


def test_no_answer_in_time_counts_as_spent(remote: Rig, server: AiServer) -> None:
    server.fault(kind="timeout", seconds=5)
    remote.timeout, remote.policy = httpx.Timeout(0.2), RetryPolicy(tries=1)
    assert "did not answer in time (ReadTimeout)" in refused(TimedOut, remote)
    assert spent(remote) > 0


def test_what_nobody_heard_costs_nothing(remote: Rig) -> None:
    assert remote.endpoint
    away = remote.but(chat=f"http://127.0.0.1:{free_port()}/v1/chat/completions")
    away.policy = RetryPolicy(longest_outage=0, tries=2)
    assert "cannot be reached" in refused(SourceUnreachable, away)
    assert spent(away) == 0


def test_json_of_another_shape_is_told(remote: Rig, server: AiServer) -> None:
    server.fault(kind="wrong_shape")
    assert "answered JSON of another shape" in refused(UnexpectedResponse, remote)


@pytest.mark.parametrize("kind", ["not_json", "unfit_answer"])
def test_an_invalid_answer_is_repaired_once(remote: Rig, server: AiServer, kind: str) -> None:
    server.fault(kind=kind, times=1)
    extraction = extract(remote)
    assert extraction.attempts == 2
    assert extraction.spent.requests == 2
    assert extraction.spent.dollars == pytest.approx(server.charges()["dollars"])
    assert b"does not fit the schema: " in server.received()


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("not_json", "gave no valid answer in 2 attempts: it is not JSON"),
        ("unfit_answer", "resolution_steps Input should be a valid array; confidence Input should be a valid number"),
    ],
)
def test_answers_that_stay_invalid_reject_the_record(remote: Rig, server: AiServer, kind: str, told: str) -> None:
    server.fault(kind=kind, record_id="Secretive")
    assert told in refused(RejectedRecord, remote)
    assert server.charges()["requests"]["chat"] == 2


@pytest.mark.parametrize("kind", ["refused_text", "filtered_text"])
def test_a_text_that_the_model_refuses_is_asked_once(remote: Rig, server: AiServer, kind: str) -> None:
    server.fault(kind=kind)
    assert "refuses" in refused(RejectedRecord, remote)
    assert remote.pauses == []
    assert spent(remote) == pytest.approx(server.charges()["dollars"])


def test_vectors_of_another_length_say_both_lengths_and_what_to_do(remote: Rig, server: AiServer) -> None:
    server.fault(kind="wrong_dimensions")
    with pytest.raises(ConfigurationError, match=r"expected 1536, got 1537.*BACKFILL_AI_EMBEDDING_DIMENSIONS"):
        embed(remote)


def test_shorter_vectors_are_asked_for(remote: Rig) -> None:
    remote.dimensions = 384
    embed(remote)


def test_a_wrong_key_names_its_settings_and_not_itself(remote: Rig) -> None:
    key = "wrong-secret-key"
    wrong = remote.but(key=key, headers={"api-key": key, "Authorization": f"Bearer {key}"})
    told = refused(CredentialRefused, wrong)
    assert key not in told
    assert "OPENAI_API_KEY" in told
    assert wrong.pauses == []


def test_a_model_that_does_not_exist_is_told(remote: Rig) -> None:
    assert remote.endpoint
    gone = remote.but(chat=remote.endpoint.chat.replace("/chat/completions", "x/chat/completions"), chat_model="gone")
    assert "Check the model or deployment" in refused(UnexpectedResponse, gone)


def test_no_more_are_under_way_than_are_wanted(remote: Rig, server: AiServer) -> None:
    server.fault(kind="latency", seconds=0.1)
    remote.at_once = 4

    async def use(opened: Opened) -> None:
        await asyncio.gather(*(opened.extractor.extract(f"{TEXT} {number}") for number in range(16)))

    began = time.monotonic()
    remote.run(use)
    assert time.monotonic() - began >= 0.4


def test_our_count_is_the_providers_count(remote: Rig, server: AiServer) -> None:
    async def use(opened: Opened) -> None:
        await asyncio.gather(*(opened.extractor.extract(f"{TEXT} {number}") for number in range(20)))
        await opened.embedder.embed([f"{TEXT} {number}" for number in range(30)])

    remote.run(use)
    charged, counted = server.charges(), asyncio.run(remote.budget.spent())
    assert isinstance(remote.budget, MemoryBudget)
    assert counted.dollars == pytest.approx(charged["dollars"])
    assert counted.requests == sum(charged["requests"].values()) == 24
    assert (counted.tokens_in, counted.tokens_out) == (charged["tokens_in"], charged["tokens_out"])
    assert charged["texts"] == {"chat": 20, "embeddings": 30}
