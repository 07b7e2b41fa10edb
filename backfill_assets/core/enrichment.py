"""What a model says of a work order: insights and embeddings, what they cost, and the budget they are paid from.

Here belong the values, the quality of an insight, and the interfaces with their in-memory twins. How a provider is
asked belongs to `adapters/ai`, how a budget is kept for all processes to `adapters/state`, which records are enriched
to the domain.

Only scrubbed text may be handed to an `InsightExtractor` or an `Embedder`: neither scrubs anything itself.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Protocol

from backfill_assets.errors import BudgetExhausted

QUALITY_WANTED = 0.7
"""An insight of a lower quality is flagged."""

SUMMARY_LENGTHS = range(10, 501)
"""How many characters a good summary has."""


@dataclass(frozen=True, kw_only=True)
class Insight:
    """What a work order tells; an empty text means that it does not say. `confidence` is the model's own, 0 to 1."""

    component: str
    fault: str
    cause: str
    resolution_steps: tuple[str, ...]
    summary: str
    confidence: float


def quality(insight: Insight) -> float:
    """How complete an insight is, 0 to 1, in tenths."""
    tells_what = all(map(str.strip, (insight.component, insight.fault, insight.summary)))
    tells_why = bool(insight.cause.strip()) and any(map(str.strip, insight.resolution_steps))
    is_summed_up = len(insight.summary.strip()) in SUMMARY_LENGTHS
    return (4 * tells_what + 3 * is_summed_up + 3 * tells_why) / 10


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What a call costs, or may cost at most; calls add up."""

    requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    dollars: float = 0.0

    @property
    def tokens(self) -> int:
        """Both ways together."""
        return self.tokens_in + self.tokens_out

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(
            requests=self.requests + other.requests,
            tokens_in=self.tokens_in + other.tokens_in,
            tokens_out=self.tokens_out + other.tokens_out,
            dollars=self.dollars + other.dollars,
        )


NOTHING = Spent()


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Which program said it: what is stored beside each insight, and what decides whether a stored one is behind."""

    method: str
    model_version: str
    prompt_version: str


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """An insight, who gave it, in how many attempts (2: the first answer was invalid), and what all of them cost."""

    insight: Insight
    origin: Origin
    attempts: int = 1
    spent: Spent = NOTHING


class InsightExtractor(Protocol):
    """Finds the insight in one scrubbed text; many may be under way at once."""

    @property
    def origin(self) -> Origin:
        """What every extraction of this one will say of itself."""
        ...

    async def extract(self, text: str) -> Extraction:
        """The insight of one text.

        Raises `RejectedRecord` where the provider gives no valid answer for this text, `BudgetExhausted` at the cap,
        and what else the module's charter of `errors` says of a service that fails.
        """
        ...


Vector = Sequence[float]


@dataclass(frozen=True, kw_only=True)
class Embeddings:
    """Vectors in the order of the texts, who gave them, and what they cost."""

    vectors: Sequence[Vector]
    model: str
    dimensions: int
    method: str
    spent: Spent = NOTHING


class Embedder(Protocol):
    """Turns scrubbed texts into vectors; several calls may be under way at once."""

    @property
    def method(self) -> str:
        """The provider's name, which each row says."""
        ...

    @property
    def model(self) -> str:
        """What every call of this one will say of its model."""
        ...

    @property
    def dimensions(self) -> int:
        """How long each vector is; a provider that answers another length raises `ConfigurationError`."""
        ...

    @property
    def batch_size(self) -> int:
        """How many texts one request carries at most; longer sequences are divided."""
        ...

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """The vectors of these texts; raises as `InsightExtractor.extract` does, `RejectedRecord` for all together.

        A single text tells which one it was.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What may be spent by all processes together; None is no limit. Dollars are for all time, not a minute."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    dollars: float | None = None


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """The right to one call that costs no more than `at_most`; spent in full unless it is settled.

    Of the tokens a minute it has taken those that were `expected`.
    """

    at_most: Spent
    expected_tokens: int


class Budget(Protocol):
    """What all processes may spend; reserve before a call, settle after it."""

    async def reserve(self, at_most: Spent, *, expected_tokens: int | None = None) -> Reservation:
        """Take what the call may cost, and wait until its tokens are due; `BudgetExhausted` where that is not left.

        Money is counted by `at_most`, so that the cap holds whatever comes; tokens a minute by what is expected, since
        all that may come would leave most of the allowance unused. Whoever dies with a reservation has spent it.
        """
        ...

    def settle(self, reservation: Reservation, actual: Spent | None) -> None:
        """Give back what the call did not cost; None is for a call of which nobody knows: it cost the most."""
        ...

    async def spent(self) -> Spent:
        """What all processes have spent so far, with what they have reserved."""
        ...


def exhausted(spent_dollars: float, wanted_dollars: float, cap: float) -> BudgetExhausted:
    """The error at the cap, the same whoever keeps the budget."""
    return BudgetExhausted(
        f"The AI budget is used up: {spent_dollars:.4f} of {cap:.2f} US dollars are spent, and the next request may "
        f"cost {wanted_dollars:.4f}. Nothing more was asked; raise BACKFILL_AI_BUDGET_USD and run again, which goes "
        "on where this stopped."
    )


@dataclass
class MemoryBudget:
    """The budget's in-memory twin, of one process; it knows no minute, so only the dollars are a limit."""

    limits: Limits = field(default_factory=Limits)
    _spent: Spent = NOTHING

    async def reserve(self, at_most: Spent, *, expected_tokens: int | None = None) -> Reservation:
        """See `Budget.reserve`."""
        cap = self.limits.dollars
        if cap is not None and self._spent.dollars + at_most.dollars > cap:
            raise exhausted(self._spent.dollars, at_most.dollars, cap)
        self._spent += at_most
        return Reservation(
            at_most=at_most, expected_tokens=at_most.tokens if expected_tokens is None else expected_tokens
        )

    def settle(self, reservation: Reservation, actual: Spent | None) -> None:
        """See `Budget.settle`."""
        if actual is None:
            return
        over = reservation.at_most
        self._spent += Spent(
            requests=actual.requests - over.requests,
            tokens_in=actual.tokens_in - over.tokens_in,
            tokens_out=actual.tokens_out - over.tokens_out,
            dollars=actual.dollars - over.dollars,
        )

    async def spent(self) -> Spent:
        """See `Budget.spent`."""
        return self._spent


def _insight_of(text: str) -> Insight:
    words = text.split()
    return Insight(
        component=" ".join(words[:2]),
        fault=" ".join(words[2:5]),
        cause=" ".join(words[5:8]),
        resolution_steps=tuple(words[8:10]),
        summary=text[:100],
        confidence=0.5,
    )


@dataclass
class MemoryExtractor:
    """An extractor's in-memory twin: `find` makes the insight, or raises; `asked` are the texts it was given."""

    find: Callable[[str], Insight] = _insight_of
    origin: Origin = field(
        default_factory=lambda: Origin(method="memory", model_version="memory-1", prompt_version="1")
    )
    price: Spent = NOTHING
    asked: list[str] = field(default_factory=list)

    async def extract(self, text: str) -> Extraction:
        """See `InsightExtractor.extract`."""
        self.asked.append(text)
        return Extraction(insight=self.find(text), origin=self.origin, spent=self.price)


@dataclass
class MemoryEmbedder:
    """An embedder's in-memory twin: a vector is a function of its text; `asked` are the texts it was given."""

    dimensions: int = 8
    batch_size: int = 64
    model: str = "memory-1"
    method: str = "memory"
    price: Spent = NOTHING
    asked: list[str] = field(default_factory=list)

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """See `Embedder.embed`."""
        self.asked.extend(texts)
        return Embeddings(
            vectors=[hashed_vector(text, self.dimensions) for text in texts],
            model=self.model,
            dimensions=self.dimensions,
            method=self.method,
            spent=self.price,
        )


def hashed_vector(text: str, dimensions: int) -> Vector:
    """A vector of unit length that only this text has; texts alike are not near each other."""
    blocks = (sha256(f"{number} {text}".encode()).digest() for number in range(-(-dimensions // 32)))
    raw = [byte - 127.5 for block in blocks for byte in block][:dimensions]
    length = math.hypot(*raw)
    return [number / length for number in raw]
