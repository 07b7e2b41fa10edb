"""The comparison of both ends after a copy from PostgreSQL to PostgreSQL.

Here belongs what counts as short. Ranges of keys are compared by digests of their rows, and where those differ row by
row. While both tables live, a row may rightly differ: it changed at the source since the job began, or the destination
keeps what it had. Only a row that has not changed and is not there makes a job short.
"""

from collections.abc import Mapping, Sequence

from psycopg import sql

from backfill_assets.adapters.tables.connecting import Connection
from backfill_assets.adapters.tables.statements import among, row_digest, row_text, split, texts, within
from backfill_assets.core.tables import Digest, Key, Load, OnConflict, Short, Span, TableSource, Verdict

ROWS_A_RANGE = 50_000
KEYS_AT_ONCE = 1000


def verdict(connection: Connection, load: Load, source: TableSource, *, started: str) -> Verdict:
    """Compare; `started` is the source's moment when the job began."""
    if not load.shape.key:
        return _counted(connection, load, source)
    columns = load.shape.written
    rows, changed = 0, 0
    short: list[Short] = []
    for span in source.spans(load, ROWS_A_RANGE):
        digest = source.digest(load, span, columns)
        rows += digest.rows
        if digest.rows and _digest(connection, load, span, columns) != digest:
            found, others = _row_by_row(connection, load, source, span, started)
            changed += others
            if found.missing or found.different:
                short.append(found)
    return Verdict(source_rows=rows, changed=changed, short=tuple(short))


def _counted(connection: Connection, load: Load, source: TableSource) -> Verdict:
    wanted = source.count(load.shape, load.filter)
    row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(_target(load))).fetchone()
    missing = wanted - (row[0] if row else 0)
    short = (Short(span=Span(), missing=missing, different=0),) if missing > 0 else ()
    return Verdict(source_rows=wanted, short=short)


def _digest(connection: Connection, load: Load, span: Span, columns: Sequence[str]) -> Digest:
    row = connection.execute(
        sql.SQL("SELECT {} FROM {} WHERE {}").format(row_digest(columns), _target(load), within(load.shape.key, span))
    ).fetchone()
    rows, digest = row or (0, "")
    return Digest(rows=rows, digest=digest)


def _row_by_row(connection: Connection, load: Load, source: TableSource, span: Span, started: str) -> tuple[Short, int]:
    here = source.fingerprints(load, span, load.shape.written)
    there = _fingerprints(connection, load, list(here))
    missing = [key for key in here if key not in there]
    different = [key for key, text in here.items() if key in there and there[key] != text]
    if load.on_conflict is not OnConflict.OVERWRITE:
        # The destination rightly has rows of its own under these keys.
        different = []
    suspects = [*missing, *different]
    changed = set(source.changed_since(load, started, suspects)) if started else set()
    return (
        Short(
            span=span,
            missing=sum(key not in changed for key in missing),
            different=sum(key not in changed for key in different),
        ),
        len(changed),
    )


def _fingerprints(connection: Connection, load: Load, keys: Sequence[Key]) -> Mapping[Key, str]:
    """By key and not by range: the destination may order texts in another way."""
    found: dict[Key, str] = {}
    for start in range(0, len(keys), KEYS_AT_ONCE):
        statement = sql.SQL("SELECT {}, {} FROM {} WHERE {}").format(
            row_text(load.shape.written),
            texts(load.shape.key),
            _target(load),
            among(load.shape.key, keys[start : start + KEYS_AT_ONCE]),
        )
        found |= {tuple(key): text for text, *key in connection.execute(statement)}
    return found


def _target(load: Load) -> sql.Identifier:
    return sql.Identifier(*split(load.target))
