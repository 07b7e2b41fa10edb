"""The stand-in for AI providers: what it lets in, what it charges, and what it keeps."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from backfill_assets.sandbox.ai import api, models
from backfill_assets.sandbox.ai.server import AiConfig, AiServer

SCHEMA = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
FORMAT = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": SCHEMA}}
CHAT = {
    "model": "gpt-4o",
    "max_tokens": 500,
    "response_format": FORMAT,
    "messages": [{"role": "user", "content": "text"}],
}
AZURE_CHAT = "/openai/deployments/chat/chat/completions?api-version=2024-10-21"


@pytest.fixture(scope="module")
def running() -> Iterator[AiServer]:
    with AiServer() as server:
        yield server


@pytest.fixture
def server(running: AiServer) -> AiServer:
    running.clear()
    return running


def ask(server: AiServer, path: str, body: dict[str, Any], **headers: str) -> httpx.Response:
    keys = {"Authorization": f"Bearer {api.KEYS['openai']}", "api-key": api.KEYS["azure_openai"]}
    return httpx.post(f"{server.url}{path}", json=body, headers={**keys, **headers})


def test_both_dialects_answer_alike(server: AiServer) -> None:
    answers = [ask(server, path, CHAT).raise_for_status().json() for path in ("/v1/chat/completions", AZURE_CHAT)]
    assert answers[0] == answers[1]
    assert answers[0]["choices"][0]["message"]["content"] == models.written("text")


@pytest.mark.parametrize(
    ("path", "headers", "body", "status"),
    [
        ("/v1/chat/completions", {"Authorization": "Bearer other"}, {}, 401),
        (AZURE_CHAT, {"api-key": "other"}, {}, 401),
        ("/openai/deployments/chat/chat/completions", {}, {}, 404),
        ("/openai/deployments/other/chat/completions?api-version=1", {}, {}, 404),
        ("/openai/deployments/vectors/chat/completions?api-version=1", {}, {}, 404),
        ("/v1/chat/completions", {}, {"model": "gpt-9"}, 404),
        ("/v1/chat/completions", {}, {"response_format": {}}, 400),
        ("/v1/embeddings", {}, {"model": "text-embedding-3-small", "input": [""]}, 400),
    ],
)
def test_what_a_provider_refuses_is_refused_and_not_charged(
    server: AiServer, path: str, headers: dict[str, str], body: dict[str, Any], status: int
) -> None:
    assert ask(server, path, {**CHAT, **body}, **headers).status_code == status
    assert server.charges()["dollars"] == 0


def test_every_byte_is_kept_whatever_becomes_of_it(server: AiServer) -> None:
    server.fault(kind="status", status=500, times=1)
    for _ in range(2):
        ask(server, AZURE_CHAT, CHAT)
    assert server.received().count(b'"content":"text"') == 2
    assert server.charges()["requests"] == {"chat": 1, "embeddings": 0}


def test_a_text_that_is_paid_for_twice_shows(server: AiServer) -> None:
    for text in ("one", "two", "one"):
        ask(server, AZURE_CHAT, {**CHAT, "messages": [{"role": "user", "content": text}]})
    assert sorted(server.charges()["times"]["chat"].values()) == [1, 2]


def test_a_limit_is_kept_and_says_how_long_to_wait() -> None:
    with AiServer(AiConfig(requests_per_minute=2)) as server:
        answers = [ask(server, AZURE_CHAT, CHAT) for _ in range(3)]
    assert [each.status_code for each in answers] == [200, 200, 429]
    assert 58 <= int(answers[2].headers["retry-after"]) <= 60
