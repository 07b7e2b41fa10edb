"""SQL about keys, ranges and filters, composed so that every name and every value is quoted by the driver.

Here belong the parts of statements that both ends share. Values are literals without a type, which PostgreSQL reads as
what they are compared with: COPY takes no parameters, and a cast to varchar(3) would cut what it compares.
"""

from collections.abc import Iterable, Sequence

from psycopg import sql

from backfill_assets.core.tables import Column, Condition, Filter, Group, Key, Operator, Span, TableShape


def names(columns: Iterable[str], prefix: str = "") -> sql.Composed:
    """Names, with commas between."""
    return sql.SQL(", ").join(sql.Identifier(*([prefix] if prefix else []), column) for column in columns)


def table_of(shape: TableShape) -> sql.Identifier:
    """The table, with its schema."""
    return sql.Identifier(shape.schema, shape.name)


def split(name: str) -> tuple[str, str]:
    """Schema and name of a table that is named with its schema or without."""
    schema, _, table = name.rpartition(".")
    return schema or "public", table


def values(key: Key) -> sql.Composed:
    """A key's values in parentheses."""
    return sql.SQL("({})").format(sql.SQL(", ").join(map(sql.Literal, key)))


def condition(filter: Filter) -> sql.Composable:
    """The filter as an expression in parentheses."""
    match filter:
        case None:
            return sql.SQL("true")
        case Group(logic=logic, members=members):
            joint = sql.SQL(" AND ") if logic == "AND" else sql.SQL(" OR ")
            return sql.SQL("({})").format(joint.join(map(condition, members)))
        case Condition():
            return sql.SQL("({} {} {})").format(
                sql.Identifier(filter.column), sql.SQL(filter.operator.value), _operand(filter)
            )


def _operand(found: Condition) -> sql.Composable:
    match found.operator:
        case Operator.IS_NULL | Operator.IS_NOT_NULL:
            return sql.SQL("")
        case Operator.IN:
            return values(found.values)
        case Operator.BETWEEN:
            return sql.SQL("{} AND {}").format(*map(sql.Literal, found.values))
        case _:
            return sql.Literal(found.values[0])


def within(key: Sequence[str], span: Span) -> sql.Composed:
    """That a row's key lies in the range, compared as its table orders it."""
    bounds: list[sql.Composable] = [sql.SQL("true")]
    if span.after is not None:
        bounds.append(sql.SQL("({}) > {}").format(names(key), values(span.after)))
    if span.upto is not None:
        bounds.append(sql.SQL("({}) <= {}").format(names(key), values(span.upto)))
    return sql.SQL(" AND ").join(bounds)


def among(key: Sequence[str], keys: Iterable[Key]) -> sql.Composed:
    """That a row has one of these keys; there is at least one."""
    return sql.SQL("({}) IN ({})").format(names(key), sql.SQL(", ").join(map(values, keys)))


def texts(columns: Sequence[str]) -> sql.Composed:
    """The columns as texts."""
    return sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(column)) for column in columns)


def moved(columns: Iterable[Column]) -> sql.Composed:
    """What is selected of each column so that another database can read it."""
    return sql.SQL(", ").join(
        sql.SQL("{0}::text AS {0}" if column.by_text else "{0}").format(sql.Identifier(column.name))
        for column in columns
    )


def key_digest(key: Sequence[str]) -> sql.Composed:
    """How many keys, and a cheap sum over them: it only has to notice that some are gone."""
    whole = texts(key) if len(key) == 1 else sql.SQL("ROW({})::text").format(names(key))
    return sql.SQL("count(*), coalesce(sum(hashtext({})), 0)::text").format(whole)


def row_text(columns: Sequence[str]) -> sql.Composed:
    """A digest of one row."""
    return sql.SQL("md5(ROW({})::text)").format(names(columns))


def row_digest(columns: Sequence[str]) -> sql.Composed:
    """How many rows, and a digest of them in whatever order."""
    return sql.SQL(
        "count(*), coalesce(sum(('x' || substr({0}, 1, 15))::bit(60)::bigint), 0)::text"
        " || coalesce(sum(('x' || substr({0}, 17, 15))::bit(60)::bigint), 0)::text"
    ).format(row_text(columns))
