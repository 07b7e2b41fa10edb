"""A page of records as one Arrow table: the way of `rows.py` for many records at once.

Here belongs what is fast. What a value must be is decided by `RowFitter`: a record that anything here hesitates about
goes its way alone, and is taken or rejected there.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from types import NoneType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from backfill_assets.adapters.lake.raw import ARROW_TYPES, RawTable
from backfill_assets.core.source import ColumnType, Record
from backfill_assets.errors import RejectedRecord
from backfill_assets.tenant_history.rows import CASTS, DELETED, SEPARATOR, RowFitter, as_json, is_fit_name

_NOT_AT_ONCE = (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError, OverflowError)
_NOT_ALONE = (ValueError, TypeError, OverflowError)


@dataclass(frozen=True, kw_only=True)
class Page:
    """The rows of a page's records, in no particular order, and the records that fit none with the reason."""

    rows: pa.Table
    rejected: Sequence[tuple[Record, str]]


class _Hesitation(Exception):
    """The records at these places must go alone."""

    def __init__(self, places: Iterable[int]) -> None:
        super().__init__()
        self.places = set(places)


class PageFitter:
    """Makes Arrow tables of one table's records; use one for a whole read, since it learns their shape."""

    def __init__(self, fitter: RowFitter, table: RawTable) -> None:
        self._fitter, self._table = fitter, table
        self._shape = _Shape()

    def fit(self, records: Sequence[Record]) -> Page:
        """Fit all records of a page."""
        together, alone = list(records), list[Record]()
        while True:
            try:
                rows = self._at_once(together)
                break
            except _Hesitation as hesitation:
                alone += [together[place] for place in sorted(hesitation.places)]
                together = [record for place, record in enumerate(together) if place not in hesitation.places]
        singles, rejected = self._one_by_one(alone)
        return Page(rows=joined([rows, *singles]), rejected=rejected)

    def _one_by_one(self, records: Sequence[Record]) -> tuple[list[pa.Table], list[tuple[Record, str]]]:
        rows, rejected = list[pa.Table](), list[tuple[Record, str]]()
        for record in records:
            try:
                columns = dict(self._fitter.fit(record).columns)
            except RejectedRecord as error:
                rejected.append((record, str(error)))
            else:
                rows.append(pa.Table.from_pylist([columns], schema=self._table.schema(sorted(columns))))
        return rows, rejected

    def _at_once(self, records: Sequence[Record]) -> pa.Table:
        if not records:
            return pa.table({})
        values = self._shape.columns(records)
        if self._fitter.deleted in values:
            if DELETED in values:
                raise _Hesitation(range(len(records)))
            values[DELETED] = values[self._fitter.deleted]
        if self._table.id_column not in values or self._table.version_column not in values:
            raise _Hesitation(range(len(records)))
        rows = pa.table({name: _column(self._kind(name), column) for name, column in values.items()})
        self._require_identity(rows)
        return rows

    def _kind(self, name: str) -> ColumnType:
        return self._fitter.types.get(name, ColumnType.STRING)

    def _require_identity(self, rows: pa.Table) -> None:
        ids, versions = rows[self._table.id_column], rows[self._table.version_column]
        lacking = pc.or_(pc.is_null(ids), pc.is_null(versions))
        if pa.types.is_string(ids.type):
            lacking = pc.or_(lacking, pc.equal(pc.fill_null(ids, ""), ""))
        elif not pa.types.is_integer(ids.type):
            raise _Hesitation(range(len(rows)))
        if pc.any(lacking).as_py():
            raise _Hesitation(pc.indices_nonzero(lacking).to_pylist())


def joined(rows: Sequence[pa.Table]) -> pa.Table:
    """Tables below each other; a column that one of them lacks is null there."""
    return pa.concat_tables(rows, promote_options="default")


def by_day(rows: pa.Table, version_column: str) -> Iterator[tuple[date, pa.Table]]:
    """The rows of each day of their versions, oldest day first."""
    if not len(rows):
        return
    days = rows[version_column].cast(pa.date32())
    order = pc.sort_indices(days)
    rows, start = rows.take(order), 0
    for count in pc.value_counts(days.take(order).combine_chunks()).to_pylist():
        yield count["values"], rows.slice(start, count["counts"])
        start += count["counts"]


def rows_by_day(rows: pa.Table, version_column: str) -> Mapping[date, int]:
    """How many rows each day has."""
    days = rows[version_column].cast(pa.date32()) if len(rows) else pa.chunked_array([], pa.date32())
    return {count["values"]: count["counts"] for count in pc.value_counts(days).to_pylist()}


class _UnfitName(Exception):
    """A field's name cannot be a column."""


class _Node:
    """A level of nesting: its fields that hold values, with their columns of the page at hand, and the levels below."""

    __slots__ = ("below", "columns", "prefix")

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.columns: dict[str, list[Any]] = {}
        self.below: dict[str, _Node] = {}


class _Shape:
    """Flattens many records into columns, remembering the levels and which field becomes which column."""

    def __init__(self) -> None:
        self._root = _Node("")
        self._nodes = [self._root]
        self._fields: dict[str, tuple[str, str]] = {}
        self._columns: dict[str, list[Any]] = {}
        self._size = 0

    def columns(self, records: Sequence[Record]) -> dict[str, list[Any]]:
        """The values of each column; those of records without it are None."""
        self._columns, self._size = {}, len(records)
        for node in self._nodes:
            node.columns = {}
        unfit = [place for place, record in enumerate(records) if not self._is_spread(record, place)]
        if unfit:
            raise _Hesitation(unfit)
        return self._columns

    def _is_spread(self, record: Record, place: int) -> bool:
        """Put a record's values into the columns; whether all of its fields have names that can be columns."""
        if type(record) is not dict:
            return False
        try:
            self._spread(self._root, record, place)
        except _UnfitName:
            return False
        return True

    def _spread(self, node: _Node, record: Record, place: int) -> None:
        columns, below = node.columns, node.below
        for field, value in record.items():
            kind = type(value)
            if kind is dict:
                self._spread(below.get(field) or self._below(node, field), value, place)
                continue
            if kind is list:
                value = as_json(value) if value else None
            try:
                columns[field][place] = value
            except KeyError:
                self._column(node, field)[place] = value

    def _below(self, node: _Node, field: str) -> _Node:
        child = node.below[field] = _Node(node.prefix + field + SEPARATOR)
        self._nodes.append(child)
        return child

    def _column(self, node: _Node, field: str) -> list[Any]:
        """The column of a field; raises `_UnfitName` where it cannot have one, or another field has the same."""
        name, owner = node.prefix + field, (node.prefix, field)
        if not is_fit_name(name) or self._fields.setdefault(name, owner) != owner:
            raise _UnfitName
        column = node.columns[field] = self._columns[name] = [None] * self._size
        return column


def _column(kind: ColumnType, values: list[Any]) -> pa.Array:
    """The values as an Arrow array; raises `_Hesitation` about those that do not fit."""
    types = set(map(type, values))
    if types <= _NATIVE[kind]:
        try:
            return _AT_ONCE[kind](values)
        except _NOT_AT_ONCE:
            pass
    return _one_by_one(kind, values)


def _one_by_one(kind: ColumnType, values: list[Any]) -> pa.Array:
    cast, fitted, unfit = CASTS[kind], list[Any](), list[int]()
    for place, value in enumerate(values):
        try:
            fitted.append(None if value is None else cast(value))
        except _NOT_ALONE:
            unfit.append(place)
    if unfit:
        raise _Hesitation(unfit)
    return pa.array(fitted, ARROW_TYPES[kind])


def _numbers(values: list[Any]) -> pa.Array:
    numbers = pa.array(values, pa.float64())
    if not pc.all(pc.is_finite(numbers)).as_py() and numbers.null_count < len(numbers):
        raise pa.ArrowInvalid("not all are finite")
    return numbers


def _timestamps(values: list[Any]) -> pa.Array:
    texts = pa.array([value or None for value in values], pa.string())
    try:
        moments = texts.cast(ARROW_TYPES[ColumnType.TIMESTAMP])
    except pa.ArrowInvalid:
        # None of them names a zone, which means UTC; where only some do, each goes alone.
        moments = pc.assume_timezone(texts.cast(pa.timestamp("us")), "UTC")
    bounds = pc.min_max(moments.cast(pa.int64())).as_py()
    if bounds["min"] is not None and not _FIRST <= bounds["min"] <= bounds["max"] <= _LAST:
        raise pa.ArrowInvalid("not all are moments that Python knows")
    return moments


_FIRST, _LAST = (
    (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    for moment in (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
)


_NATIVE: Mapping[ColumnType, frozenset[type]] = {
    ColumnType.INTEGER: frozenset({int, NoneType}),
    ColumnType.NUMBER: frozenset({int, float, NoneType}),
    ColumnType.BOOLEAN: frozenset({bool, NoneType}),
    ColumnType.TIMESTAMP: frozenset({str, NoneType}),
    ColumnType.DATE: frozenset({NoneType}),
    ColumnType.STRING: frozenset({str, NoneType}),
}
"""The types of JSON that Arrow takes as they are: it would cut 1.5 down to 1, and take true for 1.0."""

_AT_ONCE: Mapping[ColumnType, Callable[[list[Any]], pa.Array]] = {
    ColumnType.INTEGER: lambda values: pa.array(values, pa.int64()),
    ColumnType.NUMBER: _numbers,
    ColumnType.BOOLEAN: lambda values: pa.array(values, pa.bool_()),
    ColumnType.TIMESTAMP: _timestamps,
    ColumnType.DATE: lambda values: pa.array(values, pa.date32()),
    ColumnType.STRING: lambda values: pa.array(values, pa.string()),
}
