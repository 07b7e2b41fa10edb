"""The interfaces of Azure OpenAI and of OpenAI as far as backfills use them: chat completions and embeddings.

Here belongs checking a request and answering it. What models say belongs to `models`, errors to `wording`, what is
charged to `charging`.
"""

import json
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from backfill_assets.sandbox.ai import models
from backfill_assets.sandbox.ai.charging import Charges
from backfill_assets.sandbox.ai.wording import AiWords, failure
from backfill_assets.sandbox.answering import Answer, Refusal, answered, as_json
from backfill_assets.sandbox.faults import FaultKind, Target
from backfill_assets.sandbox.world import World

AZURE, OPENAI = "azure_openai", "openai"
TENANT = "ai"
KEYS = {AZURE: "azure-sandbox-key-0123456789", OPENAI: "openai-sandbox-key-0123456789"}
CHAT_MODEL, EMBEDDING_MODEL = "gpt-4o", "text-embedding-3-small"
DEPLOYMENTS = {"chat": CHAT_MODEL, "vectors": EMBEDDING_MODEL}
"""Azure's deployments, and which model each is."""
DIMENSIONS = 1536
REPAIR = "That answer does not fit"

WORDS = AiWords()


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request that was understood."""

    target: Target
    model: str
    body: dict[str, Any]


def routes(world: World, charges: Charges) -> list[Route]:
    """The addresses of both providers, and what was charged."""
    api = AiApi(world, charges)
    return [
        Route("/openai/deployments/{deployment}/chat/completions", api.azure_chat, methods=["POST"]),
        Route("/openai/deployments/{deployment}/embeddings", api.azure_embeddings, methods=["POST"]),
        Route("/v1/chat/completions", api.chat, methods=["POST"]),
        Route("/v1/embeddings", api.embeddings, methods=["POST"]),
        Route("/_sandbox/charges", api.list_charges, methods=["GET"]),
        Route("/_sandbox/charges", api.clear_charges, methods=["DELETE"]),
        Route("/_sandbox/received", api.received, methods=["GET"]),
    ]


class AiApi:
    """Answers requests to both providers."""

    def __init__(self, world: World, charges: Charges) -> None:
        self._world, self._charges = world, charges

    async def azure_chat(self, request: Request) -> Response:
        """Chat completions of a deployment."""
        return await self._respond(request, AZURE, "chat", self._completion)

    async def azure_embeddings(self, request: Request) -> Response:
        """Embeddings of a deployment."""
        return await self._respond(request, AZURE, "embeddings", self._vectors)

    async def chat(self, request: Request) -> Response:
        """Chat completions of a model."""
        return await self._respond(request, OPENAI, "chat", self._completion)

    async def embeddings(self, request: Request) -> Response:
        """Embeddings of a model."""
        return await self._respond(request, OPENAI, "embeddings", self._vectors)

    async def list_charges(self, request: Request) -> Response:
        """What was charged; with `texts=1`, how often for each text."""
        return as_json(self._charges.as_json(with_texts=request.query_params.get("texts") == "1"))

    async def clear_charges(self, request: Request) -> Response:
        """Forget what was charged and received."""
        self._charges.clear()
        return Response(status_code=204)

    async def received(self, request: Request) -> Response:
        """Every body that came in, a line each."""
        return Response(self._charges.received(), media_type="application/x-ndjson")

    async def _respond(self, request: Request, provider: str, kind: str, make: Callable[[Asked], Response]) -> Response:
        raw = await request.body()
        self._charges.receive(raw)
        try:
            asked = self._asked(request, provider, kind, raw)
            return await answered(self._world, request, asked.target, lambda: Answer(response=make(asked)), WORDS)
        except Refusal as refusal:
            return refusal.response

    def _asked(self, request: Request, provider: str, kind: str, raw: bytes) -> Asked:
        if _key(request, provider) != KEYS[provider]:
            raise Refusal(WORDS.unauthorized())
        try:
            body = json.loads(raw)
        except ValueError:
            raise Refusal(failure(400, "invalid_json", "We could not parse the JSON body of your request.")) from None
        model = body.get("model") if provider == OPENAI else _deployed(request)
        if model not in (CHAT_MODEL if kind == "chat" else EMBEDDING_MODEL,):
            raise Refusal(failure(404, "model_not_found", f"The model `{model}` does not exist."))
        if wait := self._world.admit(provider, TENANT):
            raise Refusal(WORDS.rate_limited(wait))
        return Asked(target=Target(service=provider, tenant=TENANT, table=kind), model=model, body=body)

    def _completion(self, asked: Asked) -> Response:
        body = asked.body
        _require_strict(body)
        text = _text_of(body["messages"])
        twist = self._world.faults.twist(asked.target, text)
        if twist is FaultKind.FILTERED_TEXT:
            raise Refusal(failure(400, "content_filter", f"The response was filtered: {text}"))
        content = _twisted(models.written(text), twist)
        sent = models.tokens(json.dumps(body["messages"], ensure_ascii=False))
        back = min(models.tokens(content), body["max_tokens"])
        self._charges.charge("chat", asked.model, [text], tokens_in=sent, tokens_out=back)
        is_refused = twist is FaultKind.REFUSED_TEXT
        message = {
            "role": "assistant",
            "content": None if is_refused else content,
            "refusal": "I can't help with that." if is_refused else None,
        }
        return as_json(
            {
                "id": "chatcmpl-sandbox",
                "object": "chat.completion",
                "model": asked.model,
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": sent, "completion_tokens": back, "total_tokens": sent + back},
            }
        )

    def _vectors(self, asked: Asked) -> Response:
        body = asked.body
        texts: list[str] = [body["input"]] if isinstance(body["input"], str) else body["input"]
        if not texts or not all(texts):
            raise Refusal(failure(400, "invalid_input", "input cannot be an empty string."))
        dimensions = body.get("dimensions", DIMENSIONS)
        twist = self._world.faults.twist(asked.target, "\n".join(texts))
        dimensions += twist is FaultKind.WRONG_DIMENSIONS
        sent = sum(map(models.tokens, texts))
        self._charges.charge("embeddings", asked.model, texts, tokens_in=sent)
        is_base64 = body.get("encoding_format") == "base64"
        found = [
            {"object": "embedding", "index": index, "embedding": _encoded(models.vector(text, dimensions), is_base64)}
            for index, text in enumerate(texts)
        ]
        usage = {"prompt_tokens": sent, "total_tokens": sent}
        return as_json({"object": "list", "data": found, "model": asked.model, "usage": usage})


def _key(request: Request, provider: str) -> str:
    if provider == AZURE:
        return str(request.headers.get("api-key", ""))
    return str(request.headers.get("authorization", "")).removeprefix("Bearer ")


def _deployed(request: Request) -> str | None:
    if not request.query_params.get("api-version"):
        raise Refusal(failure(404, "404", "Resource not found"))
    name = request.path_params["deployment"]
    if name not in DEPLOYMENTS:
        raise Refusal(failure(404, "DeploymentNotFound", "The API deployment for this resource does not exist."))
    return DEPLOYMENTS[name]


def _require_strict(body: dict[str, Any]) -> None:
    """Refuse what strict mode refuses: a schema that leaves anything open."""
    asked = body.get("response_format", {}).get("json_schema", {})
    schema = asked.get("schema", {})
    is_closed = schema.get("additionalProperties") is False
    if not (asked.get("strict") and is_closed and set(schema["required"]) == set(schema["properties"])):
        raise Refusal(failure(400, "invalid_schema", "Invalid schema for response_format."))


def _text_of(messages: list[dict[str, str]]) -> str:
    """What the conversation is about: the last thing a user said that is no request to repair."""
    said = [each["content"] for each in messages if each["role"] == "user"]
    return said[-2] if said[-1].startswith(REPAIR) else said[-1]


def _twisted(content: str, twist: FaultKind | None) -> str:
    if twist is FaultKind.NOT_JSON:
        return f"Sure! Here is the JSON:\n{content[:-1]}"
    if twist is FaultKind.UNFIT_ANSWER:
        unfit = json.loads(content)
        return json.dumps({**unfit, "confidence": "high", "resolution_steps": "none"})
    return content


def _encoded(vector: models.Floats, is_base64: bool) -> str | list[float]:
    return b64encode(vector.astype("<f4").tobytes()).decode() if is_base64 else [float(x) for x in vector]
