"""A PostgreSQL database that rows are written to, each batch in one transaction with the place it leaves off.

Here belong writing and the place of a job; preparing a table belongs to `postgres_preparing.py`, comparing both ends to
`postgres_verifying.py`.

A row that is deleted at the source while its batch is under way must not stay here: whoever carries deletes over has
deleted nothing where the row had not come yet. So the keys of a batch are asked for once more after its commit, in the
transaction of the next one. A row that is gone from the source is deleted where it is still what we wrote, which its
`xmin` says; one that is deleted later than that meets its delete here. The cursor names the batch that is to be asked
for, so that a kill leaves it to the next run.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from backfill_assets.adapters.tables.connecting import Connection, connected, told
from backfill_assets.adapters.tables.postgres_preparing import CURSOR, prepared
from backfill_assets.adapters.tables.postgres_verifying import verdict
from backfill_assets.adapters.tables.statements import among, key_digest, names, split, texts
from backfill_assets.core.tables import (
    Batch,
    Column,
    Digest,
    Form,
    Key,
    Load,
    OnConflict,
    Position,
    Span,
    TableSource,
    Verdict,
)

KEYS_AT_ONCE = 1000
_HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_TRAILER = b"\xff\xff"


@dataclass(frozen=True, kw_only=True)
class _Unchecked:
    """A batch that was committed and whose keys have not been asked for again; `stage` is None after a restart."""

    span: Span
    xid: str
    stage: sql.Identifier | None


class PostgresDestination:
    """See `TableDestination`."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._open: Connection | None = None

    def prepare(self, load: Load) -> None:
        """See `TableDestination.prepare`."""
        with told(self._conninfo):
            prepared(self._connection, load)

    def position(self, load: Load) -> Position:
        """See `TableDestination.position`."""
        return self._position(load)[0]

    def copy(self, load: Load, source: TableSource) -> Iterator[Position]:
        """See `TableDestination.copy`."""
        position, unchecked = self._position(load)
        if position.finished:
            return
        columns = _columns(load)
        with told(self._conninfo):
            self._start(load, source)
            stages = [self._make_stage(load, columns, number) for number in range(2)]
        names_read = [column.name for column in columns]
        batches: Any = source.batches(load, columns=names_read, form=Form.COPY, after=position.last)
        with closing(batches):
            if not load.shape.key:
                yield self._write_whole(load, columns, batches, stages[0])
                return
            for batch in batches:
                stages.reverse()
                with told(self._conninfo):
                    position, unchecked = self._write(load, source, columns, batch, stages[0], position, unchecked)
                yield position
        with told(self._conninfo), self._connection.transaction():
            self._recheck(load, source, unchecked)
            self._connection.execute(
                sql.SQL("UPDATE {} SET finished = true, after = NULL, xid = NULL WHERE job = %s").format(CURSOR),
                (load.job,),
            )

    def verify(self, load: Load, source: TableSource) -> Verdict:
        """See `TableDestination.verify`; a job that comes out short begins anew when it is run again."""
        with told(self._conninfo):
            row = self._connection.execute(
                sql.SQL("SELECT started FROM {} WHERE job = %s").format(CURSOR), (load.job,)
            ).fetchone()
            found = verdict(self._connection, load, source, started=row[0] if row else "")
            if not found.complete:
                self.forget(load.job)
            return found

    def forget(self, job: str) -> None:
        """See `TableDestination.forget`."""
        with told(self._conninfo):
            there = self._connection.execute("SELECT to_regclass('backfill_job_cursor') IS NOT NULL").fetchone()
            if there and there[0]:
                self._connection.execute(sql.SQL("DELETE FROM {} WHERE job = %s").format(CURSOR), (job,))

    def close(self) -> None:
        """See `TableDestination.close`."""
        if self._open is not None:
            self._open.close()

    @property
    def _connection(self) -> Connection:
        if self._open is None or self._open.closed:
            self._open = connected(self._conninfo)
        return self._open

    def _position(self, load: Load) -> tuple[Position, _Unchecked | None]:
        wanted = sql.SQL("SELECT rows, last, finished, after, xid FROM {} WHERE job = %s").format(CURSOR)
        with told(self._conninfo):
            row = self._connection.execute(wanted, (load.job,)).fetchone()
        if row is None:
            return Position(), None
        rows, last, finished, after, xid = row
        position = Position(rows=rows, last=_maybe(last), finished=finished)
        span = Span(after=_maybe(after), upto=position.last)
        return position, _Unchecked(span=span, xid=xid, stage=None) if xid else None

    def _start(self, load: Load, source: TableSource) -> None:
        self._connection.execute(
            sql.SQL("INSERT INTO {} (job, rows, started) VALUES (%s, 0, %s) ON CONFLICT DO NOTHING").format(CURSOR),
            (load.job, source.snapshot()),
        )

    def _make_stage(self, load: Load, columns: Sequence[Column], number: int) -> sql.Identifier:
        name = f"backfill_stage_{number}"
        stage = sql.Identifier("pg_temp", name)
        kinds = sql.SQL(", ").join(
            sql.SQL("{0}::text AS {0}" if column.by_text else "{0}").format(sql.Identifier(column.name))
            for column in columns
        )
        self._connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(stage))
        self._connection.execute(
            sql.SQL("CREATE TEMP TABLE {} AS SELECT {} FROM {} LIMIT 0").format(
                sql.Identifier(name), kinds, _target(load)
            )
        )
        return stage

    def _write(
        self,
        load: Load,
        source: TableSource,
        columns: Sequence[Column],
        batch: Batch,
        stage: sql.Identifier,
        position: Position,
        unchecked: _Unchecked | None,
    ) -> tuple[Position, _Unchecked]:
        with self._connection.transaction():
            self._recheck(load, source, unchecked)
            self._connection.execute(sql.SQL("TRUNCATE {}").format(stage))
            self._fill(stage, columns, [batch])
            self._connection.execute(_upsert(load, columns, stage))
            [xid] = self._row(sql.SQL("SELECT pg_current_xact_id()::xid::text"))
            after = Position(rows=position.rows + batch.rows, last=batch.last)
            self._connection.execute(
                sql.SQL("UPDATE {} SET rows = %s, last = %s, after = %s, xid = %s WHERE job = %s").format(CURSOR),
                (after.rows, _list(after.last), _list(position.last), xid, load.job),
            )
        return after, _Unchecked(span=Span(after=position.last, upto=batch.last), xid=xid, stage=stage)

    def _fill(self, stage: sql.Identifier, columns: Sequence[Column], batches: Iterator[Batch] | list[Batch]) -> int:
        rows = 0
        command = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(stage, names(c.name for c in columns))
        with self._connection.cursor() as cursor, cursor.copy(command) as copy:
            copy.write(_HEADER)
            for batch in batches:
                rows += batch.rows
                for piece in batch.content:
                    copy.write(piece)
            copy.write(_TRAILER)
        return rows

    def _write_whole(
        self, load: Load, columns: Sequence[Column], batches: Iterator[Batch], stage: sql.Identifier
    ) -> Position:
        """All in one transaction; a row counts as there where an equal one is, and as often as it is."""
        written = [column for column in columns if not column.generated]
        text = sql.SQL("ROW({})::text").format(names(column.name for column in written))
        with told(self._conninfo), self._connection.transaction():
            rows = self._fill(stage, columns, batches)
            self._connection.execute(
                sql.SQL(
                    "INSERT INTO {target} ({names}) OVERRIDING SYSTEM VALUE SELECT {values} FROM"
                    " (SELECT *, {text} AS backfill_row, row_number() OVER (PARTITION BY {text}) AS backfill_nth"
                    " FROM {stage}) AS come LEFT JOIN"
                    " (SELECT {text} AS backfill_row, count(*) AS backfill_times FROM {target} GROUP BY 1) AS there"
                    " USING (backfill_row) WHERE backfill_nth > coalesce(backfill_times, 0)"
                ).format(target=_target(load), names=_names(written), values=_values(written), text=text, stage=stage)
            )
            self._connection.execute(
                sql.SQL("UPDATE {} SET rows = %s, finished = true WHERE job = %s").format(CURSOR), (rows, load.job)
            )
        return Position(rows=rows, finished=True)

    def _recheck(self, load: Load, source: TableSource, unchecked: _Unchecked | None) -> None:
        if unchecked is None:
            return
        key = load.shape.key
        if unchecked.stage is None:
            ours = sql.SQL("SELECT {} FROM {} WHERE xmin = {}::xid").format(
                texts(key), _target(load), sql.Literal(unchecked.xid)
            )
        else:
            rows, digest = self._row(sql.SQL("SELECT {} FROM {}").format(key_digest(key), unchecked.stage))
            if source.keys(load, unchecked.span) == Digest(rows=rows, digest=digest):
                return
            ours = sql.SQL("SELECT {} FROM {}").format(texts(key), unchecked.stage)
        written: set[Key] = set(map(tuple, self._connection.execute(ours).fetchall()))
        gone = sorted(written - set(source.live(load, unchecked.span)))
        for start in range(0, len(gone), KEYS_AT_ONCE):
            self._connection.execute(
                sql.SQL("DELETE FROM {} WHERE {} AND xmin = {}::xid").format(
                    _target(load), among(key, gone[start : start + KEYS_AT_ONCE]), sql.Literal(unchecked.xid)
                )
            )

    def _row(self, statement: sql.SQL | sql.Composed) -> tuple[Any, ...]:
        row = self._connection.execute(statement).fetchone()
        return row or ()


def _columns(load: Load) -> list[Column]:
    """What is read: the columns that are written, and the key's in any case."""
    return [column for column in load.shape.columns if not column.generated or column.name in load.shape.key]


def _target(load: Load) -> sql.Identifier:
    return sql.Identifier(*split(load.target))


def _names(columns: Sequence[Column]) -> sql.Composed:
    return names(column.name for column in columns)


def _values(columns: Sequence[Column]) -> sql.Composed:
    return sql.SQL(", ").join(
        sql.SQL("{}::" + column.type if column.by_text else "{}").format(sql.Identifier(column.name))
        for column in columns
    )


def _upsert(load: Load, columns: Sequence[Column], stage: sql.Identifier) -> sql.Composed:
    written = [column for column in columns if not column.generated]
    insert = sql.SQL("INSERT INTO {} AS there ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} ON CONFLICT ({}) ").format(
        _target(load), _names(written), _values(written), stage, names(load.shape.key)
    )
    # PostgreSQL does not let a column that is always an identity be updated.
    others = [column.name for column in written if column.name not in load.shape.key and column.identity != "a"]
    if load.on_conflict is OnConflict.KEEP or not others:
        return insert + sql.SQL("DO NOTHING")
    sets = sql.SQL(", ").join(sql.SQL("{0} = EXCLUDED.{0}").format(sql.Identifier(name)) for name in others)
    update = insert + sql.SQL("DO UPDATE SET ") + sets
    if load.on_conflict is OnConflict.OVERWRITE:
        return update
    version = sql.Identifier(load.version_column or "")
    return update + sql.SQL(" WHERE there.{0} IS NULL OR there.{0} <= EXCLUDED.{0}").format(version)


def _maybe(texts: list[str] | None) -> Key | None:
    return None if texts is None else tuple(texts)


def _list(key: Key | None) -> list[str] | None:
    return None if key is None else list(key)
