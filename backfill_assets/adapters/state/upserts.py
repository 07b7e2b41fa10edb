"""Insert-or-replace and insert-if-absent, which PostgreSQL and SQLite write alike and SQLAlchemy does not.

Here belong these two statements; the rows belong to the ledgers.
"""

from collections.abc import Collection

from sqlalchemy import Engine, Insert, Table
from sqlalchemy.dialects import postgresql, sqlite


def upsert(engine: Engine, table: Table, *, key: Collection[str], keep: Collection[str] = ()) -> Insert:
    """Insert rows; a row with the same `key` takes the new values, except those to `keep`."""
    statement = _insert(engine, table)
    fixed = {*key, *keep, "id"}
    replaced = {column.name: statement.excluded[column.name] for column in table.columns if column.name not in fixed}
    return statement.on_conflict_do_update(index_elements=list(key), set_=replaced)


def insert_if_absent(engine: Engine, table: Table) -> Insert:
    """Insert rows; a row whose primary key is there already stays as it is."""
    return _insert(engine, table).on_conflict_do_nothing()


def _insert(engine: Engine, table: Table) -> postgresql.Insert | sqlite.Insert:
    return postgresql.insert(table) if engine.dialect.name == "postgresql" else sqlite.insert(table)
