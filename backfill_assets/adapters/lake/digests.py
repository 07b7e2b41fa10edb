"""What raw files hold, in numbers that can be kept and compared later: rows, ids, and digests of what is in them.

Here belongs how a digest is made of rows: a hash of their values, column by column, in the order of their keys. So it
is the same whichever files are read in whichever order, however a file is compressed or cut into pages, and whatever
order its rows have. A column without any value counts as absent, as readers of the lake see it. Columns of ours do not
count: they tell of the run, not of the record.
"""

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from backfill_assets.adapters.lake.merging import Key, in_order


@dataclass(frozen=True, kw_only=True)
class Holding:
    """What some files hold: versions, ids, and digests of every (id, version) and of every value."""

    rows: int
    ids: int
    identity_digest: str
    content_digest: str


def holding_of(files: Iterable[pa.Table], key: Key, *, ours: str) -> Holding:
    """Take stock of the rows of some files; columns whose names begin with `ours` are no part of them."""
    # All at once: what a column costs is mostly the same for one row and for a thousand.
    together = _together(list(files))
    rows = in_order(together, key) if len(together) else together
    names = sorted(name for name in rows.column_names if not name.startswith(ours))
    return Holding(
        rows=len(rows),
        ids=pc.count_distinct(rows[key[0]]).as_py() if len(rows) else 0,
        identity_digest=_digest(rows, key),
        content_digest=_digest(rows, names),
    )


def _together(files: Sequence[pa.Table]) -> pa.Table:
    """All rows in one table; a column that has different types in two files is text."""
    types: dict[str, set[pa.DataType]] = {}
    for field in (field for file in files for field in file.schema):
        types.setdefault(field.name, set()).add(field.type)
    if torn := {name for name, found in types.items() if len(found) > 1}:
        files = [_as_texts(file, torn) for file in files]
    return pa.concat_tables(files, promote_options="default") if files else pa.table({})


def _as_texts(file: pa.Table, names: Set[str]) -> pa.Table:
    columns = {name: file[name].cast(pa.string()) if name in names else file[name] for name in file.column_names}
    return pa.table(columns)


def count_distinct(parts: Sequence[pa.ChunkedArray]) -> int:
    """How many different values there are in all parts together."""
    if not parts:
        return 0
    number: int = pc.count_distinct(pa.chunked_array([chunk for part in parts for chunk in part.chunks])).as_py()
    return number


def _digest(rows: pa.Table, names: Sequence[str]) -> str:
    hashed = sha256()
    for name in names if len(rows) else ():
        _add_column(hashed, name, _in_one_piece(rows[name]))
    return hashed.hexdigest()


def _add_column(hashed: Any, name: str, column: pa.Array) -> None:
    """Hash a column so that no two different ones look the same: each part says how long it is before it comes."""
    if column.null_count == len(column):
        return
    hashed.update(f"{len(name.encode())}:{name}:{column.type}:{len(column)}:{column.null_count}:".encode())
    if column.null_count:
        hashed.update(_fixed_size(column.is_valid()))
        column = column.drop_null()
    if pa.types.is_string(column.type):
        hashed.update(_fixed_size(pc.binary_length(column)))
        hashed.update(_texts(column))
    else:
        hashed.update(_fixed_size(column))


def _fixed_size(column: pa.Array) -> pa.Buffer:
    """The values of a column without nulls, one after the other."""
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    width = column.type.bit_width // 8
    return column.buffers()[1].slice(column.offset * width, len(column) * width)


def _texts(column: pa.StringArray) -> pa.Buffer:
    """The bytes of all texts of a column without nulls, one after the other."""
    begins = memoryview(column.buffers()[1]).cast("i")
    first, last = begins[column.offset], begins[column.offset + len(column)]
    return column.buffers()[2].slice(first, last - first)


def _in_one_piece(column: pa.ChunkedArray) -> pa.Array:
    combined = column.combine_chunks()
    return pa.concat_arrays(combined.chunks) if isinstance(combined, pa.ChunkedArray) else combined
