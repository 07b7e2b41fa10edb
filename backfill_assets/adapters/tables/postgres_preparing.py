"""What has to hold of a destination's table in PostgreSQL before the first row is read.

Here belong the checks, the table that is made where a job says so, and the table that keeps the places of jobs.
"""

from psycopg import sql

from backfill_assets.adapters.tables.connecting import Connection
from backfill_assets.adapters.tables.describing import describe, unique_keys
from backfill_assets.adapters.tables.statements import names, split
from backfill_assets.core.tables import Column, Load, OnConflict, TableShape
from backfill_assets.errors import PermanentError

CURSOR = sql.Identifier("backfill_job_cursor")
"""`last` is the key up to which all is committed; `after` and `xid` name the batch that is to be asked for again."""

_MAKE_CURSOR = sql.SQL("""
    CREATE TABLE IF NOT EXISTS {} (
        job text PRIMARY KEY, rows bigint NOT NULL, last text[], finished boolean NOT NULL DEFAULT false,
        started text NOT NULL DEFAULT '', after text[], xid text, updated_at timestamptz NOT NULL DEFAULT now()
    )
""").format(CURSOR)
_ONE_AT_A_TIME = 712_604_331


def prepared(connection: Connection, load: Load) -> None:
    """Make what may be made, and raise `PermanentError` for what does not fit."""
    _check_version(load)
    with connection.transaction():
        # IF NOT EXISTS lets two who begin at once collide.
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_ONE_AT_A_TIME,))
        if connection.execute("SELECT to_regclass('backfill_job_cursor') IS NULL").fetchone() == (True,):
            connection.execute(_MAKE_CURSOR)
        schema, name = split(load.target)
        there = describe(connection, schema, name)
        if there is None:
            if not load.create_table:
                raise PermanentError(
                    f"the destination has no table {schema}.{name}; create it, or let the job (create_table)"
                )
            _create(connection, load)
            return
    _check_columns(load, there)
    key = load.shape.key
    if key and frozenset(key) not in unique_keys(connection, schema, name):
        raise PermanentError(
            f"{schema}.{name} has no primary key or unique index on ({', '.join(key)}), which tells the rows of "
            f"{load.shape.full_name} apart; create one"
        )


def _check_version(load: Load) -> None:
    if load.on_conflict is not OnConflict.NEWEST:
        return
    if load.version_column is None or load.shape.column(load.version_column) is None:
        raise PermanentError(
            f"newest compares a version column, and {load.shape.full_name} has no column "
            f"{load.version_column or '(none was named)'}; name one of {', '.join(c.name for c in load.shape.columns)}"
        )


def _check_columns(load: Load, there: TableShape) -> None:
    wanted = [column for column in load.shape.columns if not column.generated or column.name in load.shape.key]
    theirs = {column.name: column for column in there.columns}
    fits = all(
        column.name in theirs
        and theirs[column.name].type == column.type
        and (column.generated or not theirs[column.name].generated)
        for column in wanted
    )
    if not fits:
        raise PermanentError(
            f"the columns of both tables differ: {load.shape.full_name} has {_listed(load.shape)}, and "
            f"{there.full_name} has {_listed(there)}; make them alike"
        )


def _listed(shape: TableShape) -> str:
    return ", ".join(f"{column.name} {column.type}" for column in shape.columns)


def _create(connection: Connection, load: Load) -> None:
    schema, name = split(load.target)
    for column in load.shape.columns:
        if column.labels:
            _create_enumeration(connection, column)
    parts = [_definition(column) for column in load.shape.columns]
    if load.shape.key:
        parts.append(sql.SQL("PRIMARY KEY ({})").format(names(load.shape.key)))
    connection.execute(sql.SQL("CREATE TABLE {} ({})").format(sql.Identifier(schema, name), sql.SQL(", ").join(parts)))


def _create_enumeration(connection: Connection, column: Column) -> None:
    kind = column.type.removesuffix("[]")
    if connection.execute("SELECT to_regtype(%s) IS NULL", (kind,)).fetchone() == (True,):
        labels = sql.SQL(", ").join(map(sql.Literal, column.labels))
        connection.execute(sql.SQL("CREATE TYPE " + kind + " AS ENUM ({})").format(labels))


def _definition(column: Column) -> sql.Composable:
    """The type and the expression are PostgreSQL's own spelling of them, not anybody's input."""
    definition = sql.Identifier(column.name) + sql.SQL(" " + column.type)
    if column.generated:
        return definition + sql.SQL(" GENERATED ALWAYS AS (" + column.expression + ") STORED")
    if column.identity:
        kind = "ALWAYS" if column.identity == "a" else "BY DEFAULT"
        return definition + sql.SQL(f" GENERATED {kind} AS IDENTITY")
    return definition if column.nullable else definition + sql.SQL(" NOT NULL")
