"""What raw files hold, in numbers that can be kept and compared later: rows, ids, and digests of what is in them.

Here belongs how a digest is made of rows. It is a sum over days of a hash of the day's values, column by column: so it
is the same whichever files are read in whichever order, however a file is compressed or cut into pages, and whatever
order its rows have. A column without a value in a day counts as absent, as readers of the lake see it. Columns of ours
do not count: they tell of the run, not of the record.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from backfill_assets.adapters.lake.merging import Key, in_order

DIGEST_BITS = 256


@dataclass(frozen=True, kw_only=True)
class Holding:
    """What some days' files hold: versions, ids, and digests of every (id, version) and of every value."""

    rows: int
    ids: int
    identity_digest: str
    content_digest: str


def holding_of(days: Iterable[pa.Table], key: Key, *, ours: str) -> Holding:
    """Take stock of the rows of different days, a table each; names that begin with `ours` are no part of them."""
    rows, identities, content = 0, 0, 0
    ids: list[pa.ChunkedArray] = []
    for day in days:
        ordered = in_order(day, key)
        rows += len(day)
        ids.append(day[key[0]])
        identities += _number(ordered, key)
        content += _number(ordered, sorted(name for name in day.column_names if not name.startswith(ours)))
    return Holding(
        rows=rows, ids=count_distinct(ids), identity_digest=_as_text(identities), content_digest=_as_text(content)
    )


def count_distinct(parts: Sequence[pa.ChunkedArray]) -> int:
    """How many different values there are in all parts together."""
    if not parts:
        return 0
    number: int = pc.count_distinct(pa.chunked_array([chunk for part in parts for chunk in part.chunks])).as_py()
    return number


def _as_text(number: int) -> str:
    return f"{number % 2**DIGEST_BITS:0{DIGEST_BITS // 4}x}"


def _number(rows: pa.Table, names: Sequence[str]) -> int:
    """The hash of one day's rows as a number, 0 for none."""
    hashed = sha256()
    for name in names if len(rows) else ():
        _add_column(hashed, name, _in_one_piece(rows[name]))
    return int.from_bytes(hashed.digest(), "big") if len(rows) else 0


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
