"""Rows of PostgreSQL as Arrow tables: which type becomes which, each value by its text.

Here belongs the translation. What Arrow has no type for stays the text that PostgreSQL writes.
"""

import re
from collections.abc import Sequence

import pyarrow as pa

from backfill_assets.core.tables import Column
from backfill_assets.errors import PermanentError

_TYPES = {
    "smallint": pa.int16(),
    "integer": pa.int32(),
    "bigint": pa.int64(),
    "real": pa.float32(),
    "double precision": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "bytea": pa.binary(),
    "timestamp without time zone": pa.timestamp("us"),
    "timestamp with time zone": pa.timestamp("us", tz="UTC"),
}
_DECIMAL = re.compile(r"numeric\((\d+),(\d+)\)")
MOST_DIGITS = 38


def type_of(column: Column) -> pa.DataType:
    """The Arrow type of a column."""
    found = _DECIMAL.fullmatch(column.type)
    if found and int(found[1]) <= MOST_DIGITS and int(found[2]) <= int(found[1]):
        return pa.decimal128(int(found[1]), int(found[2]))
    return _TYPES.get(re.sub(r"\(\d+\)", "", column.type), pa.string())


def table_of(columns: Sequence[Column], rows: Sequence[Sequence[str | None]]) -> pa.Table:
    """Rows of texts as a table; raises `PermanentError` for a value that Arrow cannot hold, such as infinity."""
    arrays = [_array(column, [row[place] for row in rows]) for place, column in enumerate(columns)]
    return pa.Table.from_arrays(arrays, names=[column.name for column in columns])


def _array(column: Column, texts: Sequence[str | None]) -> pa.Array:
    kind = type_of(column)
    if kind == pa.binary():
        return pa.array([None if text is None else bytes.fromhex(text.removeprefix("\\x")) for text in texts], kind)
    try:
        return pa.array(texts, pa.string()).cast(kind)
    except pa.ArrowInvalid:
        raise PermanentError(
            f"column {column.name}, which is {column.type}, holds a value that Parquet has no form for; leave such "
            "rows out by a filter"
        ) from None
