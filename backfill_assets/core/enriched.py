"""What is added to work orders and where all of it is kept: insights and vectors, and the target's interface.

Here belong the values, the versions that say what is behind, and the interface of the place that keeps them. The tables
in PostgreSQL belong to `adapters/work_orders`, how insights and vectors are made to `enrichment.py`.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from backfill_assets.core.enrichment import Extraction, Vector, quality
from backfill_assets.core.orders import Checkpoint, Order, Position, Span, Standing

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, kw_only=True)
class InsightVersion:
    """Which insights are up to date: those that this model and this prompt made."""

    model: str
    prompt: str

    @property
    def key(self) -> str:
        """Both, in one word."""
        return f"{self.model}/{self.prompt}"


@dataclass(frozen=True, kw_only=True)
class VectorVersion:
    """Which embeddings are up to date: those that this model made, of so many dimensions."""

    model: str
    dimensions: int

    @property
    def key(self) -> str:
        """Both, in one word."""
        return f"{self.model}/{self.dimensions}"


Version = InsightVersion | VectorVersion


@dataclass(frozen=True, kw_only=True)
class StoredInsight:
    """An extraction that is to be kept."""

    order: Order
    extraction: Extraction
    at: datetime

    @property
    def version(self) -> InsightVersion:
        """Which version it is of."""
        origin = self.extraction.origin
        return InsightVersion(model=origin.model_version, prompt=origin.prompt_version)

    @property
    def quality(self) -> float:
        """From 0 to 1."""
        return quality(self.extraction.insight)


@dataclass(frozen=True, kw_only=True)
class StoredVector:
    """An embedding that is to be kept."""

    order: Order
    version: VectorVersion
    values: Vector
    method: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A record that was found, with the cosine similarity; `insight` has what was extracted, where it was."""

    id: str
    at: datetime
    similarity: float
    text: str | None
    insight: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Qualities:
    """How many insights of a span there are in each tenth of quality, the first being 0 up to below 0.1."""

    tenths: Sequence[int]
    flagged: int


class OrderWork(Protocol):
    """One transaction on the tables."""

    def store(self, records: "pa.Table") -> None:
        """Insert records, or replace those with the same id where they differ."""
        ...

    def put_scrubbed(self, rules: str, texts: Mapping[str, str]) -> None:
        """Keep scrubbed texts by the hash of the text they were made of."""
        ...

    def put_insights(self, insights: Sequence[StoredInsight]) -> None:
        """Insert or replace."""
        ...

    def put_vectors(self, vectors: Sequence[StoredVector]) -> None:
        """Insert or replace."""
        ...

    def put_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Insert or replace."""
        ...


class OrderTarget(Protocol):
    """Our tables; every method raises `TransientError` where trying again may help. Threads may share it."""

    @property
    def dimensions(self) -> int:
        """How many dimensions the column of the embeddings has."""
        ...

    def begin(self) -> AbstractContextManager[OrderWork]:
        """A transaction, committed at the end."""
        ...

    def checkpoint(self, name: str) -> Checkpoint:
        """How far this has come."""
        ...

    def standing(self, span: Span) -> Standing:
        """The records that are stored."""
        ...

    def behind(self, span: Span, version: Version, after: Position | None, limit: int) -> Sequence[Order]:
        """The first records beyond the position whose text has no result of this version."""
        ...

    def count_behind(self, span: Span, version: Version) -> int:
        """How many records of the span have no result of this version."""
        ...

    def orders(self, ids: Sequence[str]) -> Sequence[Order]:
        """Those of these records that are stored, in their order."""
        ...

    def scrubbed(self, rules: str, hashes: Sequence[str]) -> Mapping[str, str]:
        """What is kept of these, by hash."""
        ...

    def qualities(self, span: Span, version: InsightVersion) -> Qualities:
        """How good the insights are."""
        ...

    def index_vectors(self) -> None:
        """Make the index for searching, unless it is there; after the bulk of the embeddings is."""
        ...

    def nearest(self, values: Vector, version: VectorVersion, limit: int) -> Sequence[Hit]:
        """The records whose embeddings of this version are nearest, nearest first."""
        ...

    def check(self) -> None:
        """Ask for nothing; raises what an answer would have met."""
        ...

    def close(self) -> None:
        """Give the connections back."""
        ...
