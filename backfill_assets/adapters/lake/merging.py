"""Merging the rows of one day: which are new, which say something else, and what the day's table then holds.

Here belongs the arithmetic on Arrow tables; it works on whole columns, because a day may hold a million rows. Where
the tables come from and go to belongs to `raw.py`.
"""

from collections.abc import Set
from dataclasses import dataclass
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc

from backfill_assets.errors import PermanentError

Key = tuple[str, str]
"""The columns that identify a row: its id and its version."""


@dataclass(frozen=True, kw_only=True)
class DayMerge:
    """A day's rows after a merge, ordered by key; `content` is None where the stored rows say it all already."""

    content: pa.Table | None
    rows_added: int
    rows_changed: int


def once_each(rows: pa.Table, key: Key) -> pa.Table:
    """The rows in the order of their keys, each key once: of those that repeat, the last row."""
    order, repeats = _ordered(rows, key)
    if not pc.any(repeats).as_py() and _is_ascending(order):
        return rows
    # A key's rows lie side by side in their own order, so the last of them is the one that no equal key follows.
    return _taken(rows, order.filter(_with_end(pc.invert(repeats), len(rows))))


def in_order(rows: pa.Table, key: Key) -> pa.Table:
    """The rows in the order of their keys; the table itself where they lie so already, as in every file of ours."""
    order, _ = _ordered(rows, key)
    return rows if _is_ascending(order) else _taken(rows, order)


def merge_day(stored: pa.Table, fetched: pa.Table, key: Key, *, fresh: Set[str]) -> DayMerge:
    """Merge rows, each key once, into stored ones of the same schema.

    The columns in `fresh` take what was fetched, all others keep what was stored.
    """
    both = pa.concat_tables([stored, fetched])
    order, repeats = _ordered(both, key)
    # The order is stable: where a key is there twice, the stored row comes first and the fetched one follows. (A file
    # from elsewhere may itself repeat a key.)
    is_fetched = pc.greater_equal(order, len(stored))
    meets = pc.and_(repeats, pc.and_not(is_fetched.slice(1), is_fetched.slice(0, len(repeats))))
    known, again = order.slice(0, len(repeats)).filter(meets), order.slice(1).filter(meets)
    changed = _count_changed(both, known, again, fresh)
    added = len(fetched) - len(again)
    if not added and not changed:
        return DayMerge(content=None, rows_added=0, rows_changed=0)
    starts = pc.invert(repeats)
    first, last = order.filter(_with_start(starts, len(both))), order.filter(_with_end(starts, len(both)))
    columns = [_take(both[name], last if name in fresh else first) for name in both.column_names]
    return DayMerge(content=pa.table(columns, schema=both.schema), rows_added=added, rows_changed=changed)


def conform(content: pa.Table, schema: pa.Schema, *, where: str) -> pa.Table:
    """The content with exactly these columns; raises `PermanentError` for one that cannot become its type.

    `where` says for a sentence what holds the content.
    """
    if len(content.schema) == len(schema) and all(field in schema for field in content.schema):
        return content.select(schema.names)
    return pa.table([_conformed(content, field, where) for field in schema], schema=schema)


def _conformed(content: pa.Table, field: pa.Field, where: str) -> pa.ChunkedArray:
    if field.name not in content.column_names:
        return pa.chunked_array([pa.nulls(len(content), field.type)])
    column = content[field.name]
    try:
        return column if column.type == field.type else column.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise PermanentError(
            f"{where} holds column {field.name!r} as {column.type}, which cannot become {field.type}; "
            "the services file declares another type for it than when the file was written: declare that one again"
        ) from error


def _ordered(rows: pa.Table, key: Key) -> tuple[pa.Array, pa.Array]:
    """The positions in the order of the key, and for each but the last whether the next has the same key."""
    order = pc.sort_indices(rows.select(key), sort_keys=[(name, "ascending") for name in key])
    same = [_same_as_next(_take(rows[name], order)) for name in key]
    return order, reduce(pc.and_, same)


def _is_ascending(order: pa.Array) -> bool:
    return len(order) < 2 or bool(pc.all(pc.less(order.slice(0, len(order) - 1), order.slice(1))).as_py())


def _same_as_next(values: pa.Array) -> pa.Array:
    most = max(len(values) - 1, 0)
    return pc.invert(_distinct(values.slice(0, most), values.slice(1)))


def _count_changed(rows: pa.Table, known: pa.Array, again: pa.Array, names: Set[str]) -> int:
    differs = pa.nulls(len(known), pa.bool_()).fill_null(False)
    for name in names:
        differs = pc.or_(differs, _distinct(_take(rows[name], known), _take(rows[name], again)))
    return pc.sum(differs).as_py() or 0


def _distinct(left: pa.Array, right: pa.Array) -> pa.Array:
    unequal = pc.fill_null(pc.not_equal(left, right), False)
    return pc.or_(unequal, pc.xor(pc.is_null(left), pc.is_null(right)))


def _with_start(flags: pa.Array, length: int) -> pa.Array:
    return pa.concat_arrays([pa.array([True] * min(length, 1), pa.bool_()), flags])


def _with_end(flags: pa.Array, length: int) -> pa.Array:
    return pa.concat_arrays([flags, pa.array([True] * min(length, 1), pa.bool_())])


def _taken(rows: pa.Table, positions: pa.Array) -> pa.Table:
    return pa.table([_take(column, positions) for column in rows.columns], schema=rows.schema)


def _take(column: pa.ChunkedArray, positions: pa.Array) -> pa.Array:
    """These rows of a column, in one piece."""
    taken = column.combine_chunks().take(positions)
    return taken.combine_chunks() if isinstance(taken, pa.ChunkedArray) else taken
