"""What PostgreSQL's catalogue says of a table.

Here belongs which key a table has and what its columns are like; what is done with it belongs to both ends.
"""

from backfill_assets.adapters.tables.connecting import Connection
from backfill_assets.core.tables import Column, TableShape

_COLUMNS = """
    SELECT a.attname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull, a.attgenerated <> '', a.attidentity,
        CASE WHEN a.attgenerated <> '' THEN coalesce(pg_get_expr(d.adbin, d.adrelid), '') ELSE '' END,
        coalesce((SELECT array_agg(e.enumlabel::text ORDER BY e.enumsortorder) FROM pg_enum e
            WHERE e.enumtypid IN (t.oid, t.typelem)), '{}'),
        b.typtype = 'c' OR (b.typelem <> 0 AND b.typlen = -1 AND b.typelem >= 16384)
    FROM pg_attribute a
    JOIN pg_type t ON t.oid = a.atttypid
    JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""

# The primary key first, then the narrowest other unique index whose columns are never null.
_KEYS = """
    SELECT array_agg(a.attname::text ORDER BY k.place), bool_and(a.attnotnull), i.indisprimary
    FROM pg_index i CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
    LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
    WHERE i.indrelid = %s AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL
        AND i.indexprs IS NULL AND k.place <= i.indnkeyatts
    GROUP BY i.indexrelid, i.indisprimary
    ORDER BY i.indisprimary DESC, count(*), i.indexrelid
"""

_TABLES = """
    SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname NOT LIKE 'pg\\_%'
        AND n.nspname <> 'information_schema' AND has_table_privilege(c.oid, 'SELECT')
    ORDER BY n.nspname, c.relname
"""


def describe(connection: Connection, schema: str, name: str) -> TableShape | None:
    """The table of exactly this name; None where there is none."""
    found = connection.execute(
        "SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'f')",
        (schema, name),
    ).fetchone()
    if found is None:
        return None
    columns = tuple(
        Column(
            name=column,
            type=kind,
            nullable=nullable,
            generated=generated,
            identity=identity,
            expression=expression,
            labels=tuple(labels),
            by_text=by_text,
        )
        for column, kind, nullable, generated, identity, expression, labels, by_text in connection.execute(
            _COLUMNS, found
        )
    )
    keys = [tuple(key) for key, never_null, _ in connection.execute(_KEYS, found) if never_null]
    return TableShape(schema=schema, name=name, columns=columns, key=keys[0] if keys else ())


def unique_keys(connection: Connection, schema: str, name: str) -> list[frozenset[str]]:
    """The sets of columns that an insert can be told to look for conflicts in."""
    found = connection.execute(
        "SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relname = %s",
        (schema, name),
    ).fetchone()
    return [frozenset(key) for key, _, _ in connection.execute(_KEYS, found)] if found else []


def described(connection: Connection) -> list[TableShape]:
    """Every table that this user can read."""
    found = connection.execute(_TABLES).fetchall()
    shapes = (describe(connection, schema, name) for schema, name in found)
    return [shape for shape in shapes if shape is not None]
