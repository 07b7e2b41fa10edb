"""A PostgreSQL database that rows are read from, in order of their key and a batch at a time.

Here belong reading and what the source is asked in a comparison. Each batch is a statement, and so a snapshot, of its
own: no transaction stays open while the rest is written, and a source that restarts costs one batch. A key that is
text is compared by the server as its index orders it, in the collation of its column.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.pq import ExecStatus

from backfill_assets.adapters.tables.connecting import Connection, connected, told
from backfill_assets.adapters.tables.describing import describe, described
from backfill_assets.adapters.tables.statements import (
    among,
    condition,
    key_digest,
    moved,
    names,
    row_digest,
    row_text,
    split,
    table_of,
    texts,
    within,
)
from backfill_assets.core.tables import Batch, Column, Digest, Filter, Form, Key, Load, Span, TableShape
from backfill_assets.errors import PermanentError

BYTES_AIMED_AT = 12 << 20
MOST_BYTES = 32 << 20
"""A batch that grows beyond is ended where it is: what was read is the beginning of an ordered range."""
FEWEST_ROWS = 100
GROWTH = 5
"""Larger batches are quicker where rows are narrow; a batch size that was made small on purpose is kept."""
SMALL_ON_PURPOSE = 10_000
PIECE = 1 << 16
KEYS_AT_ONCE = 1000

_TRAILER = b"\xff\xff"


class _Enough(Exception):
    """The batch has reached its size."""


@dataclass(kw_only=True)
class _Rows:
    """What COPY sent: one message a row, kept in larger pieces."""

    pieces: list[bytes]
    rows: int = 0
    size: int = 0
    last: bytes = b""


class PostgresTables:
    """See `TableSource`; each `batches` has a connection of its own, the rest share one."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._open: Connection | None = None

    def tables(self) -> Sequence[TableShape]:
        """See `TableSource.tables`."""
        with told(self._conninfo):
            return described(self._connection)

    def shape(self, table: str) -> TableShape | None:
        """See `TableSource.shape`."""
        with told(self._conninfo):
            return describe(self._connection, *split(table))

    def count(self, shape: TableShape, filter: Filter) -> int:
        """See `TableSource.count`."""
        [[rows]] = self._ask(
            sql.SQL("SELECT count(*) FROM {} WHERE {}").format(table_of(shape), condition(filter)),
        )
        return int(rows)

    def batches(self, load: Load, *, columns: Sequence[str], form: Form, after: Key | None) -> Iterator[Batch]:
        """See `TableSource.batches`."""
        if form is Form.ROWS:
            raise PermanentError(f"PostgreSQL gives no rows as {form}; ask for {Form.COPY} or {Form.ARROW}")
        connection = connected(self._conninfo)
        try:
            wanted = [column for column in load.shape.columns if column.name in columns]
            if form is Form.ARROW:
                yield from self._as_arrow(connection, load, wanted, after)
            elif load.shape.key:
                yield from self._by_key(connection, load, wanted, after)
            else:
                yield from self._whole(connection, load, wanted)
        finally:
            connection.close()

    def keys(self, load: Load, span: Span) -> Digest:
        """See `TableSource.keys`."""
        [[rows, digest]] = self._ask(self._select(load, span, key_digest(load.shape.key)))
        return Digest(rows=rows, digest=digest)

    def live(self, load: Load, span: Span) -> Iterator[Key]:
        """See `TableSource.live`."""
        yield from map(tuple, self._ask(self._select(load, span, texts(load.shape.key))))

    def spans(self, load: Load, rows: int) -> Sequence[Span]:
        """See `TableSource.spans`."""
        if not load.shape.key:
            return [Span()]
        spans: list[Span] = []
        after: Key | None = None
        # Counts to the end of each span from the key before it, within one statement; no rows are paged through so.
        ending = sql.SQL(" ORDER BY {} OFFSET {} LIMIT 1").format(names(load.shape.key), sql.Literal(rows - 1))
        while found := self._ask(self._select(load, Span(after=after), texts(load.shape.key)) + ending):
            upto: Key = tuple(found[0])
            spans.append(Span(after=after, upto=upto))
            after = upto
        return [*spans, Span(after=after)]

    def digest(self, load: Load, span: Span, columns: Sequence[str]) -> Digest:
        """See `TableSource.digest`."""
        [[rows, digest]] = self._ask(self._select(load, span, row_digest(columns)))
        return Digest(rows=rows, digest=digest)

    def fingerprints(self, load: Load, span: Span, columns: Sequence[str]) -> Mapping[Key, str]:
        """See `TableSource.fingerprints`."""
        wanted = sql.SQL("{}, {}").format(row_text(columns), texts(load.shape.key))
        return {tuple(key): text for text, *key in self._ask(self._select(load, span, wanted))}

    def snapshot(self) -> str:
        """See `TableSource.snapshot`."""
        [[snapshot]] = self._ask(sql.SQL("SELECT pg_current_snapshot()::text"))
        return str(snapshot)

    def changed_since(self, load: Load, snapshot: str, keys: Sequence[Key]) -> Sequence[Key]:
        """See `TableSource.changed_since`; a row says which transaction wrote it, in 32 of 64 bits."""
        left = set(keys)
        newest = sql.SQL("pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
        writer = sql.SQL("({0} - (({0} - xmin::text::bigint) % 4294967296))::text::xid8").format(newest)
        seen = sql.SQL("pg_visible_in_snapshot({}, {}::pg_snapshot)").format(writer, sql.Literal(snapshot))
        for start in range(0, len(keys), KEYS_AT_ONCE):
            some = among(load.shape.key, keys[start : start + KEYS_AT_ONCE])
            statement = sql.SQL("SELECT {} FROM {} WHERE {} AND {} AND {}").format(
                texts(load.shape.key), table_of(load.shape), condition(load.filter), some, seen
            )
            left -= set(map(tuple, self._ask(statement)))
        return [key for key in keys if key in left]

    def close(self) -> None:
        """See `TableSource.close`."""
        if self._open is not None:
            self._open.close()

    @property
    def _connection(self) -> Connection:
        if self._open is None or self._open.closed:
            self._open = connected(self._conninfo)
        return self._open

    def _ask(self, statement: sql.SQL | sql.Composed) -> list[tuple[Any, ...]]:
        with told(self._conninfo):
            return self._connection.execute(statement).fetchall()

    @staticmethod
    def _select(load: Load, span: Span, wanted: sql.Composable) -> sql.Composed:
        return sql.SQL("SELECT {} FROM {} WHERE {} AND {}").format(
            wanted, table_of(load.shape), condition(load.filter), within(load.shape.key, span)
        )

    def _as_arrow(
        self, connection: Connection, load: Load, columns: Sequence[Column], after: Key | None
    ) -> Iterator[Batch]:
        from backfill_assets.adapters.tables.arrow import table_of as arrow_table_of

        key = load.shape.key
        wanted = sql.SQL("{}, {}").format(texts([column.name for column in columns]), texts(key))
        ending = sql.SQL(" ORDER BY {} LIMIT {}").format(names(key), sql.Literal(load.batch_rows))
        while True:
            with told(self._conninfo):
                rows = connection.execute(self._select(load, Span(after=after), wanted) + ending).fetchall()
            if not rows:
                return
            after = tuple(rows[-1][len(columns) :])
            yield Batch(rows=len(rows), last=after, content=arrow_table_of(columns, rows))

    def _by_key(
        self, connection: Connection, load: Load, columns: Sequence[Column], after: Key | None
    ) -> Iterator[Batch]:
        limit = load.batch_rows
        most = limit * GROWTH if limit >= SMALL_ON_PURPOSE else limit
        with ThreadPoolExecutor(1, thread_name_prefix="reading") as pool:
            coming: Future[tuple[Batch, int]] = pool.submit(self._read, connection, load, columns, after, limit)
            try:
                while True:
                    batch, size = coming.result()
                    if not batch.rows:
                        return
                    # A batch that is not full may have been cut by its size, so only an empty one is the end.
                    limit = max(min(BYTES_AIMED_AT * batch.rows // max(size, 1), most), min(FEWEST_ROWS, most))
                    coming = pool.submit(self._read, connection, load, columns, batch.last, limit)
                    yield batch
            finally:
                # Whoever has had enough does not wait for a batch that nobody takes.
                if not coming.done():
                    with suppress(psycopg.Error):
                        connection.cancel_safe()

    def _read(
        self, connection: Connection, load: Load, columns: Sequence[Column], after: Key | None, limit: int
    ) -> tuple[Batch, int]:
        ending = sql.SQL(" ORDER BY {} LIMIT {}").format(names(load.shape.key), sql.Literal(limit))
        statement = self._select(load, Span(after=after), moved(columns)) + ending
        rows = _Rows(pieces=[])
        with told(self._conninfo):
            with suppress(_Enough):
                for piece in _copied(connection, statement, rows):
                    rows.pieces.append(piece)
                    if rows.size > MOST_BYTES:
                        raise _Enough
            last = _key(connection, load.shape, columns, rows.last) if rows.rows else None
        return Batch(rows=rows.rows, last=last, content=rows.pieces), rows.size

    def _whole(self, connection: Connection, load: Load, columns: Sequence[Column]) -> Iterator[Batch]:
        """One statement and so one snapshot: without a key there is no place to go on from."""
        rows = _Rows(pieces=[])
        before = 0
        with told(self._conninfo):
            for piece in _copied(connection, self._select(load, Span(), moved(columns)), rows):
                yield Batch(rows=rows.rows - before, last=None, content=[piece])
                before = rows.rows


def _copied(connection: Connection, statement: sql.Composable, rows: _Rows) -> Iterator[bytes]:
    """The rows in pieces, without header and trailer, and counted."""
    command = sql.SQL("COPY ({}) TO STDOUT (FORMAT binary)").format(statement)
    pending: list[bytes | bytearray | memoryview] = []
    pended = 0
    with connection.cursor() as cursor, cursor.copy(command) as copy:
        # What is done for each row is what a copy costs here, so as little as can be is.
        for message in copy:
            pending.append(message)
            pended += len(message)
            if pended >= PIECE:
                yield _piece(pending, rows)
                pending, pended = [], 0
    if pending and bytes(pending[-1]) == _TRAILER:
        pending.pop()
    if pending and (piece := _piece(pending, rows)):
        yield piece


def _piece(messages: list[bytes | bytearray | memoryview], rows: _Rows) -> bytes:
    """The rows of these messages, the first of which may begin with the header, or be nothing else."""
    if not rows.rows:
        first = bytes(messages[0])
        messages[0] = first[19 + int.from_bytes(first[15:19], "big") :]
        if messages[0] in (b"", _TRAILER):
            return b""
    piece = b"".join(messages)
    rows.rows += len(messages)
    rows.size += len(piece)
    rows.last = bytes(messages[-1])
    return piece


def _key(connection: Connection, shape: TableShape, columns: Sequence[Column], row: bytes) -> Key:
    """The key's texts: the server reads its own binary values, of whatever type."""
    fields = _fields(row)
    places = {column.name: place for place, column in enumerate(columns)}
    wanted = sql.SQL("SELECT {} FROM {} LIMIT 0").format(names(shape.key), table_of(shape))
    described_as = connection.execute(wanted).description or []
    oids = [found.type_code for found in described_as]
    command = ", ".join(f"${number}::text" for number in range(1, len(oids) + 1))
    result = connection.pgconn.exec_params(
        f"SELECT {command}".encode(), [fields[places[name]] for name in shape.key], oids, [1] * len(oids)
    )
    if result.status != ExecStatus.TUPLES_OK:
        raise PermanentError(f"{shape.full_name}: the last key of a batch cannot be told as text")
    return tuple((result.get_value(0, number) or b"").decode() for number in range(len(oids)))


def _fields(row: bytes) -> list[bytes | None]:
    (count,) = struct.unpack_from("!h", row)
    fields: list[bytes | None] = []
    at = 2
    for _ in range(count):
        (length,) = struct.unpack_from("!i", row, at)
        at += 4
        fields.append(None if length < 0 else row[at : at + length])
        at += max(length, 0)
    return fields
