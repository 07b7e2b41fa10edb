"""What the stand-in for AI providers has been sent and has charged, for tests to look at.

Here belongs the book-keeping. It is kept apart from what our own budgets count, and by the text, so that a text which
is paid for twice shows.
"""

import tempfile
from collections import Counter
from hashlib import sha256
from typing import Any

from backfill_assets.adapters.ai.prices import PRICES

NANODOLLARS_PER_TOKEN = 1000
"""Of one dollar for a million tokens."""


class Charges:
    """Counts requests, tokens and money, and keeps every byte that came in."""

    def __init__(self) -> None:
        self._received = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the server; too much for memory
        self.clear()

    def close(self) -> None:
        """Give the file back."""
        self._received.close()

    def clear(self) -> None:
        """Begin anew."""
        self._texts: dict[str, Counter[str]] = {"chat": Counter(), "embeddings": Counter()}
        self._requests: Counter[str] = Counter()
        self._sent = self._answered = self._nanodollars = 0
        self._received.seek(0)
        self._received.truncate()

    def receive(self, body: bytes) -> None:
        """Keep what came in, whatever becomes of it."""
        self._received.write(body + b"\n")

    def charge(self, kind: str, model: str, texts: list[str], *, tokens_in: int, tokens_out: int = 0) -> None:
        """Charge one request for these texts."""
        price = PRICES[model]
        self._requests[kind] += 1
        self._texts[kind].update(sha256(text.encode()).hexdigest() for text in texts)
        self._sent += tokens_in
        self._answered += tokens_out
        self._nanodollars += round((tokens_in * price.sent + tokens_out * price.received) * NANODOLLARS_PER_TOKEN)

    def as_json(self, *, with_texts: bool) -> dict[str, Any]:
        """The sums; with the number of times that each text's SHA-256 was charged for."""
        sums = {
            "requests": {"chat": self._requests["chat"], "embeddings": self._requests["embeddings"]},
            "texts": {kind: texts.total() for kind, texts in self._texts.items()},
            "tokens_in": self._sent,
            "tokens_out": self._answered,
            "dollars": self._nanodollars / 1e9,
        }
        return {**sums, "times": self._texts} if with_texts else sums

    def received(self) -> bytes:
        """Every body that came in, a line each."""
        self._received.seek(0)
        return self._received.read()
