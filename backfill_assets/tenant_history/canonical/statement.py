"""SCD type 2 as one SQL statement over all raw versions of an entity: which versions count, and from when to when.

Pure text from values; where it runs belongs to `adapters/lake/canonical`. The result depends on the raw versions alone:
no clock, no `_backfill_` column and no order of files or rows has a say in it.

It goes over the raw files twice. The first time only what decides is kept of a version (id, time, mark, digest of its
values), so that the window functions move few bytes; the second time the versions that count get their columns. On
5,000,000 versions x 33 columns with 2 cores that took 61 s, and window functions over whole rows 133 s.

Names that begin with `_` are the statement's own: no canonical column has such a name.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from backfill_assets.adapters.lake.canonical import FILE, ROW
from backfill_assets.adapters.lake.raw import RawTable
from backfill_assets.core.source import ColumnType
from backfill_assets.tenant_history.canonical.mapping import CanonicalColumn, CanonicalSource, CanonicalTable, Constant
from backfill_assets.tenant_history.rows import DELETED

SQL_TYPES = {
    ColumnType.INTEGER: "BIGINT",
    ColumnType.NUMBER: "DOUBLE",
    ColumnType.BOOLEAN: "BOOLEAN",
    ColumnType.TIMESTAMP: "TIMESTAMPTZ",
    ColumnType.DATE: "DATE",
    ColumnType.STRING: "VARCHAR",
}


@dataclass(frozen=True, kw_only=True)
class SourceView:
    """The raw files of one source as they can be read: a view, and the columns that it has (none without files)."""

    number: int
    source: CanonicalSource
    raw: RawTable
    columns: Collection[str]

    @property
    def is_empty(self) -> bool:
        """Whether there is no file to read."""
        return not self.columns


def statement(table: CanonicalTable, *, tenant: str, views: Sequence[SourceView]) -> str:
    """The SELECT whose rows are the canonical table; `views` are numbered in the order of their tables' names.

    Of versions of an id at the same time one wins: a deleted one, else that of the first table, else the one with the
    greatest digest. Versions that say what the one before says are left out. A deletion ends the version before it, and
    is a row whose time is empty; only a later version that is not deleted makes the record live again.
    """
    columns = ", ".join(f"_raw.{quoted(column.name)}" for column in table.columns)
    return f"""
WITH _narrow AS MATERIALIZED (
  {_union(_narrow(table.columns, view) for view in views)}
),
_winners AS (
  SELECT * FROM _narrow
  QUALIFY row_number() OVER (
    PARTITION BY _id, _from ORDER BY _deleted DESC, _source, _hash DESC, _file, _row
  ) = 1
),
_marked AS (
  SELECT *, lag(_hash) OVER _of_id AS _hash_before, lag(_deleted) OVER _of_id AS _deleted_before
  FROM _winners WINDOW _of_id AS (PARTITION BY _id ORDER BY _from)
),
_versions AS (
  SELECT *, lead(_from) OVER (PARTITION BY _id ORDER BY _from) AS _next
  FROM _marked
  WHERE _deleted_before IS NULL OR _deleted <> _deleted_before OR (NOT _deleted AND _hash <> _hash_before)
),
_raw AS (
  {_union(_wide(table.columns, view) for view in views)}
)
SELECT
  {literal(tenant)} AS tenant_id,
  {literal(table.service)} AS source_system,
  _raw._table AS source_table,
  _id AS source_id,
  {columns},
  _from AS effective_from,
  CASE WHEN _deleted THEN _from ELSE _next END AS effective_to,
  NOT _deleted AND _next IS NULL AS is_current,
  CASE WHEN _deleted THEN 'DELETE' WHEN coalesce(_deleted_before, true) THEN 'INSERT' ELSE 'UPDATE' END AS change_type,
  lower(lpad(to_hex(_hash), 32, '0')) AS record_hash
FROM _raw JOIN _versions USING (_source, _file, _row)
ORDER BY source_id, effective_from
"""  # noqa: S608 - names are quoted, values are literals


def quoted(name: str) -> str:
    """A name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def _union(selects: Iterable[str]) -> str:
    return "\n  UNION ALL\n  ".join(selects)


def _narrow(columns: Sequence[CanonicalColumn], view: SourceView) -> str:
    read = (
        f"{_cast(view, view.raw.id_column, ColumnType.STRING)} AS _id",
        f"{_cast(view, view.raw.version_column, ColumnType.TIMESTAMP)} AS _from",
        f"coalesce({_cast(view, DELETED, ColumnType.BOOLEAN)}, false) AS _deleted",
        *(f"{_value(view, column)} AS {quoted(column.name)}" for column in columns if column.tracked),
    )
    rows = f"SELECT {_place(view)}, {', '.join(read)} FROM {_from(view)}"  # noqa: S608
    return f"SELECT _source, _file, _row, _id, _from, _deleted, {_digest(columns)} AS _hash FROM ({rows})"  # noqa: S608


def _wide(columns: Sequence[CanonicalColumn], view: SourceView) -> str:
    read = (f"{_value(view, column)} AS {quoted(column.name)}" for column in columns)
    return f"SELECT {_place(view)}, {', '.join(read)} FROM {_from(view)}"  # noqa: S608


def _place(view: SourceView) -> str:
    place = (
        ("NULL::UINTEGER AS _file", "NULL::UINTEGER AS _row")
        if view.is_empty
        else (f"{FILE}::UINTEGER AS _file", f"{ROW}::UINTEGER AS _row")
    )
    return ", ".join((f"{view.number}::UTINYINT AS _source", *place, f"{literal(view.source.table.name)} AS _table"))


def _from(view: SourceView) -> str:
    return "(SELECT 1) AS _record WHERE false" if view.is_empty else f"source_{view.number} AS _record"


def _value(view: SourceView, column: CanonicalColumn) -> str:
    origin = view.source.origins.get(column.name)
    if origin is None:
        return f"NULL::{SQL_TYPES[column.type]}"
    if isinstance(origin, Constant):
        return literal(origin.text)
    cast = _cast(view, origin.name, column.type)
    return f"NOT {cast}" if origin.negated else cast


def _cast(view: SourceView, name: str, kind: ColumnType) -> str:
    return f"CAST({f'_record.{quoted(name)}' if name in view.columns else 'NULL'} AS {SQL_TYPES[kind]})"


def _digest(columns: Sequence[CanonicalColumn]) -> str:
    """The MD5 of a row's values as a number: a third of the bytes of its digits, where bytes decide the speed."""
    return f"CAST('0x' || md5({_text(columns)}) AS UHUGEINT)"


def _text(columns: Sequence[CanonicalColumn]) -> str:
    """All tracked values as one text that no other values come to: texts behind their lengths, `-` for null.

    It is spelled out so that it says the same in every version of DuckDB and on every machine.
    """
    tracked = [column for column in columns if column.tracked]
    heads = ["strlen(_table)", *(f"coalesce({_head(column)}, '-')" for column in tracked)]
    texts = ["_table", *(quoted(column.name) for column in tracked if column.type is ColumnType.STRING)]
    return f"concat_ws(',', {', '.join(heads)}) || '|' || concat({', '.join(texts)})"


def _head(column: CanonicalColumn) -> str:
    name = quoted(column.name)
    match column.type:
        case ColumnType.STRING:
            return f"CAST(strlen({name}) AS VARCHAR)"
        case ColumnType.TIMESTAMP:
            return f"CAST(epoch_us({name}) AS VARCHAR)"
        case ColumnType.NUMBER:
            # Zero has two signs, which are equal.
            return f"printf('%.17g', {name} + 0.0)"
        case _:
            return f"CAST({name} AS VARCHAR)"
