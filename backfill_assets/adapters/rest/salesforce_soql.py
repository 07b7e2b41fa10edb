"""The texts of Salesforce queries.

Pure; what is done with the answers belongs to `salesforce` and `salesforce_bulk`.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from backfill_assets.core.source import RecordId, TableSpec

_EARLIEST = datetime(1700, 1, 1, tzinfo=UTC)
"""SOQL knows no earlier time."""


def select_range(
    table: TableSpec, columns: Iterable[str], start: datetime, end: datetime, after: tuple[datetime, str] | None
) -> str:
    """The records of `[start, end)` in the order of (version, id), or those of them that come `after` such a pair."""
    field, key = table.incremental_field, table.id_field
    condition = _within(table, start, end)
    if after:
        version, written = moment(after[0]), text(after[1])
        # The first bound says nothing that the second does not, but it is what an index serves.
        condition = (
            f"{_within(table, after[0], end)} AND ({field} > {version} OR ({field} = {version} AND {key} > {written}))"
        )
    return f"{_select(table, columns)} WHERE {condition} ORDER BY {field} ASC, {key} ASC"


def select_unordered(table: TableSpec, columns: Iterable[str], start: datetime, end: datetime) -> str:
    """The records of `[start, end)` in any order: an order would keep a bulk job from being done in parts."""
    return f"{_select(table, columns)} WHERE {_within(table, start, end)}"


def select_ids(table: TableSpec, columns: Iterable[str], ids: Sequence[RecordId]) -> str:
    """The records with these ids, in the order of ids."""
    listed = ", ".join(text(str(key)) for key in ids)
    return f"{_select(table, columns)} WHERE {table.id_field} IN ({listed}) ORDER BY {table.id_field} ASC"


def select_count(table: TableSpec, start: datetime, end: datetime) -> str:
    """How many records `[start, end)` holds."""
    return f"SELECT COUNT() FROM {table.name} WHERE {_within(table, start, end)}"  # noqa: S608 - names only


def moment(value: datetime) -> str:
    """A moment as SOQL writes it, without quotes; fractions only where there are some."""
    utc = value.astimezone(UTC)
    timespec = "milliseconds" if utc.microsecond else "seconds"
    return utc.replace(tzinfo=None).isoformat(timespec=timespec) + "Z"


def text(value: str) -> str:
    """A text as SOQL writes it."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _select(table: TableSpec, columns: Iterable[str]) -> str:
    return f"SELECT {', '.join(columns)} FROM {table.name}"  # noqa: S608 - names only


def _within(table: TableSpec, start: datetime, end: datetime) -> str:
    before = f"{table.incremental_field} < {moment(end)}"
    return f"{table.incremental_field} >= {moment(start)} AND {before}" if start > _EARLIEST else before
