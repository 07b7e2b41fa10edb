"""The tables of work orders in memory: the twin of `PostgresOrders`, for tests and dry runs.

Here belongs keeping plain values by the same rules.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import sqrt
from typing import TYPE_CHECKING, Any, Self

from backfill_assets.core.enriched import (
    Hit,
    InsightVersion,
    Qualities,
    StoredInsight,
    StoredVector,
    VectorVersion,
    Version,
)
from backfill_assets.core.enrichment import QUALITY_WANTED
from backfill_assets.core.orders import (
    DATE,
    ID,
    TEXT,
    Checkpoint,
    Order,
    Position,
    Span,
    Standing,
    standing_of,
    text_hash,
)

if TYPE_CHECKING:
    import pyarrow as pa


class MemoryOrders:
    """An `OrderTarget`, and its own transaction; what a failed one wrote is taken back."""

    def __init__(self, *, dimensions: int = 384) -> None:
        self._dimensions = dimensions
        self.records: dict[str, Mapping[str, Any]] = {}
        self.scrubbed_texts: dict[str, tuple[str, str]] = {}
        self.insights: dict[str, StoredInsight] = {}
        self.vectors: dict[str, StoredVector] = {}
        self.checkpoints: dict[str, Checkpoint] = {}

    @property
    def dimensions(self) -> int:
        """See `OrderTarget.dimensions`."""
        return self._dimensions

    @contextmanager
    def begin(self) -> Iterator[Self]:
        """See `OrderTarget.begin`."""
        kept = [dict(one) for one in self._all()]
        try:
            yield self
        except BaseException:
            for one, before in zip(self._all(), kept, strict=True):
                one.clear()
                one.update(before)
            raise

    def _all(self) -> Sequence[dict[str, Any]]:
        return (self.records, self.scrubbed_texts, self.insights, self.vectors, self.checkpoints)

    def store(self, records: "pa.Table") -> None:
        """See `OrderWork.store`."""
        self.records.update({row[ID]: row for row in records.to_pylist()})

    def put_scrubbed(self, rules: str, texts: Mapping[str, str]) -> None:
        """See `OrderWork.put_scrubbed`."""
        self.scrubbed_texts.update({name: (rules, text) for name, text in texts.items()})

    def put_insights(self, insights: Sequence[StoredInsight]) -> None:
        """See `OrderWork.put_insights`."""
        self.insights.update({one.order.id: one for one in insights if one.order.id in self.records})

    def put_vectors(self, vectors: Sequence[StoredVector]) -> None:
        """See `OrderWork.put_vectors`."""
        self.vectors.update({one.order.id: one for one in vectors if one.order.id in self.records})

    def put_checkpoint(self, checkpoint: Checkpoint) -> None:
        """See `OrderWork.put_checkpoint`."""
        self.checkpoints[checkpoint.name] = checkpoint

    def checkpoint(self, name: str) -> Checkpoint:
        """See `OrderTarget.checkpoint`."""
        return self.checkpoints.get(name, Checkpoint(name=name))

    def standing(self, span: Span) -> Standing:
        """See `OrderTarget.standing`."""
        return standing_of(order.id for order in self._in(span))

    def behind(self, span: Span, version: Version, after: Position | None, limit: int) -> Sequence[Order]:
        """See `OrderTarget.behind`."""
        found = [one for one in self._in(span) if not self._is_done(one, version)]
        return [one for one in found if after is None or one.position > after][:limit]

    def count_behind(self, span: Span, version: Version) -> int:
        """See `OrderTarget.count_behind`."""
        return sum(not self._is_done(one, version) for one in self._in(span))

    def orders(self, ids: Sequence[str]) -> Sequence[Order]:
        """See `OrderTarget.orders`."""
        wanted = set(ids)
        return [order for order in self._orders() if order.id in wanted]

    def scrubbed(self, rules: str, hashes: Sequence[str]) -> Mapping[str, str]:
        """See `OrderTarget.scrubbed`."""
        kept = {name: self.scrubbed_texts[name] for name in hashes if name in self.scrubbed_texts}
        return {name: text for name, (by, text) in kept.items() if by == rules}

    def qualities(self, span: Span, version: InsightVersion) -> Qualities:
        """See `OrderTarget.qualities`."""
        found = [self.insights[one.id].quality for one in self._in(span) if self._is_done(one, version)]
        tenths = [0] * 10
        for quality in found:
            tenths[min(int(quality * 10 + 1e-9), 9)] += 1
        return Qualities(tenths=tenths, flagged=sum(quality < QUALITY_WANTED for quality in found))

    def index_vectors(self) -> None:
        """See `OrderTarget.index_vectors`."""

    def nearest(self, values: Sequence[float], version: VectorVersion, limit: int) -> Sequence[Hit]:
        """See `OrderTarget.nearest`."""
        found = [self._hit(one, values) for one in self.vectors.values() if one.version == version]
        return sorted(found, key=lambda hit: (-hit.similarity, hit.id))[:limit]

    def check(self) -> None:
        """See `OrderTarget.check`."""

    def close(self) -> None:
        """See `OrderTarget.close`."""

    def _orders(self) -> Sequence[Order]:
        rows = self.records.values()
        return sorted((_order(row) for row in rows), key=lambda order: order.position)

    def _in(self, span: Span) -> Sequence[Order]:
        return [one for one in self._orders() if span.reads_from <= one.position.at < span.end]

    def _is_done(self, order: Order, version: Version) -> bool:
        if isinstance(version, InsightVersion):
            insight = self.insights.get(order.id)
            return insight is not None and (insight.order.text_hash, insight.version) == (order.text_hash, version)
        vector = self.vectors.get(order.id)
        return vector is not None and (vector.order.text_hash, vector.version) == (order.text_hash, version)

    def _hit(self, vector: StoredVector, values: Sequence[float]) -> Hit:
        order = _order(self.records[vector.order.id])
        kept = self.scrubbed_texts.get(order.text_hash)
        insight = self.insights.get(order.id)
        told = insight.extraction.insight if insight else None
        named = ("component", "fault", "cause", "summary")
        return Hit(
            id=order.id,
            at=order.position.at,
            similarity=_cosine(vector.values, values),
            text=kept[1] if kept else None,
            insight={name: getattr(told, name) for name in named if told and getattr(told, name)},
        )


def _order(row: Mapping[str, Any]) -> Order:
    return Order(position=Position(at=row[DATE], id=row[ID]), text=row[TEXT], text_hash=text_hash(row[TEXT]))


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    lengths = sqrt(sum(x * x for x in one)) * sqrt(sum(x * x for x in other))
    return sum(x * y for x, y in zip(one, other, strict=True)) / lengths
