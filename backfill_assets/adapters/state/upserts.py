"""Insert-or-replace, which PostgreSQL and SQLite write alike and SQLAlchemy does not.

Here belongs that one statement; the rows belong to the ledgers.
"""

from collections.abc import Collection

from sqlalchemy import Engine, Insert, Table
from sqlalchemy.dialects import postgresql, sqlite


def upsert(engine: Engine, table: Table, *, key: Collection[str], keep: Collection[str] = ()) -> Insert:
    """Insert rows; a row with the same `key` takes the new values, except those to `keep`."""
    insert = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
    statement = insert(table)
    fixed = {*key, *keep, "id"}
    replaced = {column.name: statement.excluded[column.name] for column in table.columns if column.name not in fixed}
    return statement.on_conflict_do_update(index_elements=list(key), set_=replaced)
