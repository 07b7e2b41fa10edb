"""What a canonical table holds, said in plain Python: slow, and meant to be obviously right."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import md5
from itertools import groupby
from typing import Any

from backfill_assets.core.source import ColumnType
from backfill_assets.tenant_history.canonical.mapping import CanonicalColumn, CanonicalTable, Constant, Origins

Version = Mapping[str, Any]
"""A raw row, with `id`, `changed` and perhaps `_deleted`."""
Row = dict[str, Any]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def canonical_rows(table: CanonicalTable, tenant: str, raw: Mapping[str, Sequence[Version]]) -> list[Row]:
    """The rows that these versions, by the name of their table, come to."""
    origins = {source.table.name: source.origins for source in table.sources}
    rows = [_row(table, tenant, name, origins[name], version) for name, found in raw.items() for version in found]
    rows.sort(key=lambda row: (row["source_id"].encode(), row["effective_from"]))
    return [row for _, found in groupby(rows, key=lambda row: row["source_id"]) for row in _history(list(found))]


def _row(table: CanonicalTable, tenant: str, name: str, origins: Origins, version: Version) -> Row:
    values = {column.name: _value(origins, column, version) for column in table.columns}
    return {
        "tenant_id": tenant,
        "source_system": table.service,
        "source_table": name,
        "source_id": str(version["id"]),
        **values,
        "effective_from": version["changed"],
        "effective_to": None,
        "is_current": False,
        "change_type": "DELETE" if version.get("_deleted") else "UPDATE",
        "record_hash": _digest(name, [c for c in table.columns if c.tracked], values),
    }


def _history(rows: list[Row]) -> Iterator[Row]:
    """One id's rows, ordered by time: one a moment, those that say nothing new left out, and when each ends."""
    winners = [min(found, key=_precedence) for _, found in groupby(rows, key=lambda row: row["effective_from"])]
    kept: list[Row] = []
    for row in winners:
        if not kept or _says(kept[-1]) != _says(row):
            kept.append(row)
    for before, row, after in zip([None, *kept], kept, [*kept[1:], None], strict=False):
        if row["change_type"] == "DELETE":
            row["effective_to"] = row["effective_from"]
        else:
            row["effective_to"] = after and after["effective_from"]
            row["is_current"] = after is None
            row["change_type"] = "INSERT" if before is None or before["change_type"] == "DELETE" else "UPDATE"
        yield row


def _precedence(row: Row) -> tuple[Any, ...]:
    return row["change_type"] != "DELETE", row["source_table"], -int(row["record_hash"], 16)


def _says(row: Row) -> str:
    return "deleted" if row["change_type"] == "DELETE" else row["record_hash"]


def _value(origins: Origins, column: CanonicalColumn, version: Version) -> Any:
    origin = origins.get(column.name)
    if origin is None:
        return None
    if isinstance(origin, Constant):
        return origin.text
    value = version.get(origin.name)
    if value is None:
        return None
    return not value if origin.negated else str(value) if column.type is ColumnType.STRING else value


def _digest(name: str, tracked: Sequence[CanonicalColumn], values: Row) -> str:
    heads = [_head(column.type, values[column.name]) for column in tracked]
    texts = [values[column.name] or "" for column in tracked if column.type is ColumnType.STRING]
    text = ",".join([str(len(name)), *heads]) + "|" + "".join([name, *texts])
    return md5(text.encode()).hexdigest()


def _head(kind: ColumnType, value: Any) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return str(value).lower()
        case float():
            return f"{value + 0.0:.17g}"
        case datetime():
            return str((value - EPOCH) // timedelta(microseconds=1))
        case str() if kind is ColumnType.STRING:
            return str(len(value.encode()))
        case _:
            return str(value)
