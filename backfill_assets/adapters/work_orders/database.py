"""The tables of work orders in PostgreSQL.

Here belongs running the statements of `tables.py`; what a failure means belongs to `connecting.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg_pool import ConnectionPool

from backfill_assets.adapters.work_orders import tables
from backfill_assets.adapters.work_orders.connecting import told
from backfill_assets.adapters.work_orders.copying import (
    copy_rows,
    copy_table,
    insight_rows,
    scrubbed_rows,
    vector_rows,
    vector_text,
)
from backfill_assets.core.enriched import (
    Hit,
    InsightVersion,
    OrderWork,
    Qualities,
    StoredInsight,
    StoredVector,
    VectorVersion,
    Version,
)
from backfill_assets.core.enrichment import QUALITY_WANTED
from backfill_assets.core.orders import (
    Checkpoint,
    Order,
    Position,
    Span,
    Standing,
)
from backfill_assets.core.windows import BEGINNING

if TYPE_CHECKING:
    import pyarrow as pa

BEFORE_ALL = Position(at=BEGINNING, id="")
SEARCHED = 100
"""How many candidates the index looks at, more than any sensible number of results."""


class PostgresWork:
    """An `OrderWork` on a connection whose transaction is open."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def store(self, records: "pa.Table") -> None:
        """See `OrderWork.store`."""
        if records.num_rows:
            copy_table(self._connection, "staged_orders", records)
            self._connection.execute(tables.STORE)

    def put_scrubbed(self, rules: str, texts: Mapping[str, str]) -> None:
        """See `OrderWork.put_scrubbed`."""
        if texts:
            copy_rows(self._connection, "staged_scrubbed", scrubbed_rows(rules, texts))
            self._connection.execute(tables.PUT_SCRUBBED)

    def put_insights(self, insights: Sequence[StoredInsight]) -> None:
        """See `OrderWork.put_insights`."""
        if insights:
            copy_rows(self._connection, "staged_insights", insight_rows(insights))
            self._connection.execute(tables.PUT_INSIGHTS)

    def put_vectors(self, vectors: Sequence[StoredVector]) -> None:
        """See `OrderWork.put_vectors`."""
        if vectors:
            copy_rows(self._connection, "staged_vectors", vector_rows(vectors))
            self._connection.execute(tables.PUT_VECTORS)

    def put_checkpoint(self, checkpoint: Checkpoint) -> None:
        """See `OrderWork.put_checkpoint`."""
        self._connection.execute(
            tables.PUT_CHECKPOINT,
            (
                checkpoint.name,
                None if checkpoint.cursor is None else cursor_text(checkpoint.cursor),
                checkpoint.is_open,
                checkpoint.records,
                checkpoint.seconds,
                checkpoint.succeeded_at,
                checkpoint.error,
            ),
        )


class PostgresOrders:
    """An `OrderTarget`; share an instance between threads, not between processes."""

    def __init__(self, pool: ConnectionPool[psycopg.Connection[Any]], *, url: str, dimensions: int) -> None:
        self._pool = pool
        self._url = url
        self._dimensions = dimensions

    @property
    def dimensions(self) -> int:
        """See `OrderTarget.dimensions`."""
        return self._dimensions

    @contextmanager
    def begin(self) -> Iterator[OrderWork]:
        """See `OrderTarget.begin`."""
        with self._connected() as connection:
            yield PostgresWork(connection)

    def checkpoint(self, name: str) -> Checkpoint:
        """See `OrderTarget.checkpoint`."""
        found = self._rows(tables.CHECKPOINT, (name,))
        if not found:
            return Checkpoint(name=name)
        cursor, is_open, records, seconds, succeeded_at, error = found[0]
        return Checkpoint(
            name=name,
            cursor=None if cursor is None else cursor_of(cursor),
            is_open=is_open,
            records=records,
            seconds=seconds or 0.0,
            succeeded_at=succeeded_at,
            error=error,
        )

    def standing(self, span: Span) -> Standing:
        """See `OrderTarget.standing`."""
        [(records, digest)] = self._rows(tables.STANDING, _bounds(span))
        return Standing(records=records, digest=int(digest))

    def behind(self, span: Span, version: Version, after: Position | None, limit: int) -> Sequence[Order]:
        """See `OrderTarget.behind`."""
        statement = tables.BEHIND_INSIGHTS if isinstance(version, InsightVersion) else tables.BEHIND_VECTORS
        begin = after or BEFORE_ALL
        asked = {**_bounds(span), **_named(version), "after_at": begin.at, "after_id": begin.id, "limit": limit}
        return _orders(self._rows(statement, asked))

    def count_behind(self, span: Span, version: Version) -> int:
        """See `OrderTarget.count_behind`."""
        statement = tables.COUNT_INSIGHTS if isinstance(version, InsightVersion) else tables.COUNT_VECTORS
        [(records,)] = self._rows(statement, {**_bounds(span), **_named(version)})
        return int(records)

    def orders(self, ids: Sequence[str]) -> Sequence[Order]:
        """See `OrderTarget.orders`."""
        return _orders(self._rows(tables.ORDERS, (list(ids),)))

    def scrubbed(self, rules: str, hashes: Sequence[str]) -> Mapping[str, str]:
        """See `OrderTarget.scrubbed`."""
        return dict(self._rows(tables.SCRUBBED, (rules, list(hashes))))

    def qualities(self, span: Span, version: InsightVersion) -> Qualities:
        """See `OrderTarget.qualities`."""
        found = self._rows(tables.QUALITIES, {**_bounds(span), **_named(version), "flagged_below": QUALITY_WANTED})
        tenths = [0] * 10
        for tenth, records, _ in found:
            tenths[tenth] = records
        return Qualities(tenths=tenths, flagged=sum(row[2] for row in found))

    def index_vectors(self) -> None:
        """See `OrderTarget.index_vectors`."""
        with self._connected() as connection:
            connection.execute(tables.ONE_INDEX_AT_A_TIME)
            try:
                connection.execute(tables.INDEX_VECTORS)
                connection.commit()
            finally:
                connection.rollback()
                connection.execute(tables.NEXT_INDEX)

    def nearest(self, values: Sequence[float], version: VectorVersion, limit: int) -> Sequence[Hit]:
        """See `OrderTarget.nearest`."""
        with self._connected() as connection:
            connection.execute("SELECT set_config('hnsw.ef_search', %s, true)", (str(max(SEARCHED, limit)),))
            asked = {"wanted": vector_text(values), "limit": limit, **_named(version)}
            return [_hit(row) for row in connection.execute(tables.NEAREST, asked).fetchall()]

    def check(self) -> None:
        """See `OrderTarget.check`."""
        self._rows("SELECT 1", ())

    def close(self) -> None:
        """See `OrderTarget.close`."""
        self._pool.close()

    def _rows(self, statement: str, values: Any) -> Sequence[tuple[Any, ...]]:
        with self._connected() as connection:
            return connection.execute(statement, values).fetchall()

    @contextmanager
    def _connected(self) -> Iterator[psycopg.Connection[Any]]:
        with told(self._url), self._pool.connection() as connection:
            yield connection


def cursor_text(position: Position) -> str:
    """A cursor as `etl_metadata` keeps it."""
    return f"{position.at.isoformat()} {position.id}"


def cursor_of(text: str) -> Position:
    """What `cursor_text` wrote."""
    at, _, record_id = text.partition(" ")
    return Position(at=datetime.fromisoformat(at), id=record_id)


def _bounds(span: Span) -> Mapping[str, datetime]:
    return {"start": span.reads_from, "end": span.end}


def _named(version: Version) -> Mapping[str, Any]:
    if isinstance(version, InsightVersion):
        return {"model": version.model, "prompt": version.prompt}
    return {"model": version.model, "dimensions": version.dimensions}


def _orders(rows: Sequence[tuple[Any, ...]]) -> Sequence[Order]:
    return [
        Order(position=Position(at=at, id=record_id), text=text, text_hash=name) for at, record_id, text, name in rows
    ]


def _hit(row: tuple[Any, ...]) -> Hit:
    record_id, at, similarity, text, *insight = row
    named = zip(("component", "fault", "cause", "summary"), insight, strict=True)
    found = {name: value for name, value in named if value}
    return Hit(id=record_id, at=at, similarity=similarity, text=text, insight=found)
