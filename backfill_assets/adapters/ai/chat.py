"""Insights by a chat model: one conversation a text, with one repair where the answer does not fit.

Here belongs the conversation. Words belong to `prompt`, shapes to `answer`, requests to `http`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from backfill_assets.adapters.ai import answer, prompt
from backfill_assets.adapters.ai.answer import UnfitAnswer
from backfill_assets.adapters.ai.expectation import Expectation, whole
from backfill_assets.adapters.ai.http import AiSession, Costed
from backfill_assets.adapters.ai.prices import Price
from backfill_assets.core.enrichment import NOTHING, Extraction, Insight, Origin, Spent
from backfill_assets.errors import RejectedRecord

MOST_TOKENS_OUT = 1024
USUAL_TOKENS_OUT = 200.0
ATTEMPTS = 2


class ChatExtractor:
    """An `InsightExtractor` over an endpoint that speaks OpenAI's chat completions."""

    def __init__(self, session: AiSession, *, price: Price) -> None:
        self._session, self._price = session, price
        self._expectation = Expectation(received=USUAL_TOKENS_OUT)
        self._model = session.endpoint.chat_model

    @property
    def origin(self) -> Origin:
        """See `InsightExtractor.origin`."""
        return Origin(
            method=self._session.endpoint.provider, model_version=self._model, prompt_version=prompt.PROMPT_VERSION
        )

    async def extract(self, text: str) -> Extraction:
        """See `InsightExtractor.extract`."""
        conversation, spent, problem = prompt.messages(text), NOTHING, ""
        for attempt in range(1, ATTEMPTS + 1):
            content, cost = await self._session.ask(self._session.endpoint.chat, self._costed(conversation), _content)
            spent += cost
            try:
                insight = _insight(content)
            except UnfitAnswer as unfit:
                problem = str(unfit)
                conversation = [*conversation, *prompt.repair(content[1], problem)]
                continue
            return Extraction(insight=insight, origin=self.origin, attempts=attempt, spent=spent)
        raise RejectedRecord(f"{self._model} gave no valid answer in {ATTEMPTS} attempts: {problem}")

    def _costed(self, conversation: Sequence[prompt.Message]) -> Costed:
        body = json.dumps(
            {
                "model": self._model,
                "messages": conversation,
                "temperature": 0,
                "max_tokens": MOST_TOKENS_OUT,
                "response_format": answer.RESPONSE_FORMAT,
            },
            ensure_ascii=False,
            separators=(",", ":"),
        ).encode(errors="replace")  # a lone surrogate is no text that JSON can carry
        size = len(body)

        def price(answered: Mapping[str, Any]) -> Spent | None:
            usage = answered.get("usage")
            usage = usage if isinstance(usage, dict) else {}
            sent, received = whole(usage.get("prompt_tokens")), whole(usage.get("completion_tokens"))
            if sent is None or received is None:
                return None
            self._expectation.learn(size, tokens_in=sent, tokens_out=received)
            return self._price.of(tokens_in=sent, tokens_out=received)

        return Costed(
            body=body,
            at_most=self._price.of(tokens_in=size, tokens_out=MOST_TOKENS_OUT),
            expected_tokens=self._expectation.tokens(size),
            price=price,
        )


def _content(answered: Mapping[str, Any]) -> tuple[str, str]:
    """Why the model ended, and what it said; a refusal is told in place of the reason."""
    choice = answered["choices"][0]
    message = choice["message"]
    reason = "refusal" if message.get("refusal") else str(choice.get("finish_reason"))
    content = message.get("content")
    return reason, content if isinstance(content, str) else ""


def _insight(content: tuple[str, str]) -> Insight:
    reason, said = content
    if reason in ("refusal", "content_filter"):
        raise RejectedRecord(f"the model refuses to answer for this text ({reason})")
    if reason == "length":
        raise UnfitAnswer(f"it is longer than {MOST_TOKENS_OUT} tokens")
    return answer.read(said)
