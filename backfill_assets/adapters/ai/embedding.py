"""Embeddings by a provider's model: texts in batches, and vectors whose length and order are checked.

Here belongs what is asked and what is taken; requests belong to `http`.
"""

import asyncio
import json
import math
import sys
from array import array
from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Any

from backfill_assets.adapters.ai.expectation import Expectation, whole
from backfill_assets.adapters.ai.http import AiSession, Costed
from backfill_assets.adapters.ai.prices import Price
from backfill_assets.core.enrichment import NOTHING, Embeddings, Spent, Vector
from backfill_assets.errors import ConfigurationError

BATCH_SIZE = 64
LONGEST_TEXT = 6000
"""Characters; models read 8191 tokens and refuse longer texts, and a Chinese character can be more than one."""
SHORTENING_MODELS = "text-embedding-3"
"""Models of this family make vectors of any length that is asked for; others refuse the question."""


class ProviderEmbedder:
    """An `Embedder` over an endpoint that speaks OpenAI's embeddings.

    `model` is the model behind the endpoint, which on Azure is not the name of the deployment.
    """

    def __init__(
        self, session: AiSession, *, price: Price, model: str, dimensions: int, batch_size: int = BATCH_SIZE
    ) -> None:
        self._session, self._price, self._known_as = session, price, model
        self._dimensions, self._batch_size = dimensions, batch_size
        self._expectation = Expectation(received=0.0)

    @property
    def method(self) -> str:
        """See `Embedder.method`."""
        return self._session.endpoint.provider

    @property
    def model(self) -> str:
        """See `Embedder.model`."""
        return self._session.endpoint.embedding_model

    @property
    def dimensions(self) -> int:
        """See `Embedder.dimensions`."""
        return self._dimensions

    @property
    def batch_size(self) -> int:
        """See `Embedder.batch_size`."""
        return self._batch_size

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """See `Embedder.embed`."""
        starts = range(0, len(texts), self._batch_size)
        answers = await asyncio.gather(*(self._ask(texts[start : start + self._batch_size]) for start in starts))
        return Embeddings(
            vectors=[vector for vectors, _ in answers for vector in vectors],
            model=self.model,
            dimensions=self._dimensions,
            method=self.method,
            spent=sum((spent for _, spent in answers), NOTHING),
        )

    async def _ask(self, texts: Sequence[str]) -> tuple[Sequence[Vector], Spent]:
        vectors, spent = await self._session.ask(
            self._session.endpoint.embeddings, self._costed(texts), lambda body: _vectors(body, len(texts))
        )
        for vector in vectors:
            if len(vector) != self._dimensions:
                raise wrong_dimensions(self.model, expected=self._dimensions, got=len(vector))
        return vectors, spent

    def _costed(self, texts: Sequence[str]) -> Costed:
        asked: dict[str, Any] = {
            "model": self.model,
            "input": [text[:LONGEST_TEXT] for text in texts],
            "encoding_format": "base64",
        }
        if self._known_as.startswith(SHORTENING_MODELS):
            asked["dimensions"] = self._dimensions
        body = json.dumps(asked, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
        size = len(body)

        def price(answered: Mapping[str, Any]) -> Spent | None:
            usage = answered.get("usage")
            sent = whole(usage.get("prompt_tokens")) if isinstance(usage, dict) else None
            if sent is None:
                return None
            self._expectation.learn(size, tokens_in=sent, tokens_out=0)
            return self._price.of(tokens_in=sent, tokens_out=0)

        return Costed(
            body=body,
            at_most=self._price.of(tokens_in=size, tokens_out=0),
            expected_tokens=self._expectation.tokens(size),
            price=price,
        )


def wrong_dimensions(model: str, *, expected: int, got: int) -> ConfigurationError:
    """The error for vectors that do not fit their column, the same whoever finds out."""
    return ConfigurationError(
        f"The embeddings of {model} have the wrong number of dimensions: expected {expected}, got {got}. Choose a "
        "model that gives as many as the column has, or set BACKFILL_AI_EMBEDDING_DIMENSIONS and make the column anew "
        "(docs/work_orders.md)."
    )


def _vectors(body: Mapping[str, Any], wanted: int) -> Sequence[Vector]:
    """The vectors by their index; `ValueError` unless there is exactly one for each text."""
    by_index = {each["index"]: _vector(each["embedding"]) for each in body["data"]}
    if len(body["data"]) != wanted or by_index.keys() != set(range(wanted)):
        raise ValueError("not one vector for each text")
    return [by_index[index] for index in range(wanted)]


def _vector(embedding: object) -> Vector:
    vector = array("f")
    if isinstance(embedding, str):
        vector.frombytes(b64decode(embedding, validate=True))
        if sys.byteorder == "big":
            vector.byteswap()
    elif isinstance(embedding, list):  # servers that do not know of base64
        vector.extend(embedding)
    else:
        raise TypeError("a vector is a list or base64")
    if not math.isfinite(sum(vector)):
        raise ValueError("a vector holds what is no number")
    return vector
