"""From a service's record to a row of the lake: flattened, typed, or rejected with a reason in words.

Pure: no files, no network. Here a record goes alone; many at once are the business of `pages.py`. Where rows are stored
belongs to `adapters/lake`.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from math import isfinite
from typing import Any

from backfill_assets.adapters.lake.raw import OURS
from backfill_assets.core.source import ColumnType, Record, TableSpec
from backfill_assets.core.windows import utc_text
from backfill_assets.errors import RejectedRecord

SEPARATOR = "__"
DELETED = "_deleted"
"""The column that says of a record's version that the source holds it as deleted, where the table has such a mark."""

BOOLEAN_TEXTS: Mapping[Any, bool | None] = {"": None, "true": True, "false": False}

Scalar = str | int | float | bool | datetime | date | None


@dataclass(frozen=True, kw_only=True)
class Row:
    """One flattened record: what identifies it, and its columns."""

    record_id: str | int
    version: datetime
    columns: Mapping[str, Scalar]


def flatten(record: Record) -> dict[str, Any]:
    """Nested objects become columns joined by `__`; a list becomes JSON text, an empty one null; `{}` vanishes.

    Raises `RejectedRecord` when two fields come to the same column, or one has a name that is ours or no text.
    """
    columns: dict[str, Any] = {}
    for name, value in _leaves(record, ""):
        if name in columns:
            raise RejectedRecord(f"two of its fields flatten to the same column {name!r}")
        if not is_fit_name(name):
            raise RejectedRecord(_why_unfit(name))
        columns[name] = value
    return columns


def is_fit_name(name: str) -> bool:
    """Whether a column may have this name."""
    return not name.startswith(OURS) and _is_storable(name)


def _why_unfit(name: str) -> str:
    if name.startswith(OURS):
        return f"its field {name!r} takes a name that is reserved for the backfill's own columns"
    return f"its field {_short(name)} has a name that is no text"


def _leaves(record: Record, prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in record.items():
        name = prefix + key
        if isinstance(value, dict):
            yield from _leaves(value, name + SEPARATOR)
        elif isinstance(value, list):
            yield name, as_json(value) if value else None
        else:
            yield name, value


def as_json(value: Any) -> str:
    """A value as JSON text that is equal for equal values."""
    # Sorted keys: a service may order them differently on a second read, and a repeat must change no byte.
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


class RowFitter:
    """Makes rows of one table: flattens each record and fits its values to the declared columns."""

    def __init__(self, table: TableSpec) -> None:
        self._id = table.id_field.replace("/", SEPARATOR)
        self._version = table.version_field.replace("/", SEPARATOR)
        self.deleted = None if table.deleted_field is None else table.deleted_field.replace("/", SEPARATOR)
        mark = {} if self.deleted is None else {DELETED: ColumnType.BOOLEAN}
        self.types = {**table.columns, self._version: ColumnType.TIMESTAMP, **mark}
        self._casts = {name: (kind, CASTS[kind]) for name, kind in self.types.items()}
        self._any = (ColumnType.STRING, CASTS[ColumnType.STRING])

    def fit(self, record: Record) -> Row:
        """The record as a row; raises `RejectedRecord` with the reason when it does not fit."""
        if not isinstance(record, dict):
            raise RejectedRecord(f"it is not an object but {type(record).__name__}")
        columns = {name: self._cast(name, value) for name, value in self._marked(flatten(record)).items()}
        return Row(record_id=self._record_id(columns), version=self._moment(columns), columns=columns)

    def identity(self, record: Record) -> tuple[str, str]:
        """The id and version of a record that was rejected, as far as it tells them; empty texts where it does not."""
        found = dict(_leaves(record, "")) if isinstance(record, dict) else {}
        record_id, version = found.get(self._id), found.get(self._version)
        try:
            version = utc_text(_timestamp(version))
        except (ValueError, TypeError, OverflowError):
            version = "" if version is None else str(version)
        return "" if record_id is None else str(record_id), version

    def _marked(self, columns: dict[str, Any]) -> dict[str, Any]:
        if self.deleted not in columns:
            return columns
        if DELETED in columns:
            raise RejectedRecord(f"its field {DELETED!r} takes the name of the mark of deleted records")
        return {**columns, DELETED: columns[self.deleted]}

    def _cast(self, name: str, value: Any) -> Scalar:
        if value is None:
            return None
        kind, cast = self._casts.get(name, self._any)
        try:
            return cast(value)
        except (ValueError, TypeError, OverflowError):
            raise RejectedRecord(f"its field {name!r} holds {_short(value)}, which is no {kind}") from None

    def _record_id(self, columns: Mapping[str, Scalar]) -> str | int:
        value = columns.get(self._id)
        if not isinstance(value, str | int) or value == "":
            raise RejectedRecord(f"it has no id in {self._id!r}")
        return value

    def _moment(self, columns: Mapping[str, Scalar]) -> datetime:
        value = columns.get(self._version)
        if not isinstance(value, datetime):
            raise RejectedRecord(f"it has no time of change in {self._version!r}")
        return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _integer(value: Any) -> int | None:
    if value == "":
        return None
    if isinstance(value, bool) or "_" in str(value) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError(value)
    number = int(value)
    if not -(2**63) <= number < 2**63:
        raise OverflowError(value)
    return number


def _number(value: Any) -> float | None:
    if value == "":
        return None
    if isinstance(value, bool) or "_" in str(value) or not isfinite(number := float(value)):
        raise ValueError(value)
    return number


def _boolean(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    if value not in BOOLEAN_TEXTS:
        raise ValueError(value)
    return BOOLEAN_TEXTS[value]


def _timestamp(value: Any) -> datetime:
    moment = datetime.fromisoformat(value)
    # A service that names no zone means UTC (compat b3).
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _optional_timestamp(value: Any) -> datetime | None:
    return None if value == "" else _timestamp(value)


def _date(value: Any) -> date | None:
    return None if value == "" else date.fromisoformat(value[:10])


def _string(value: Any) -> str:
    text = value if isinstance(value, str) else as_json(value)
    if not _is_storable(text):
        raise ValueError(value)
    return text


def _is_storable(text: str) -> bool:
    # JSON can spell one half of a character (a lone surrogate), which no file can hold.
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


CASTS: Mapping[ColumnType, Callable[[Any], Scalar]] = {
    ColumnType.INTEGER: _integer,
    ColumnType.NUMBER: _number,
    ColumnType.BOOLEAN: _boolean,
    ColumnType.TIMESTAMP: _optional_timestamp,
    ColumnType.DATE: _date,
    ColumnType.STRING: _string,
}
