"""Salesforce's field types, and one spelling for each value whichever way it came.

JSON of a query and CSV of a bulk job spell the same value differently; here both become what is kept, so that a record
never differs by the way it was read. Pure; where the values come from belongs to `salesforce` and `salesforce_bulk`.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from backfill_assets.core.source import Record

Columns = Mapping[str, str]
"""Salesforce's type of each column, by name, in the order in which they are asked for."""

_NOT_ASKED_FOR = frozenset({"address", "location", "complexvalue", "base64"})
"""Compounds repeat their parts, and bulk jobs refuse them; files would be of any size."""


def columns_of(description: Any) -> Columns:
    """The columns that a describe result names; empty where it names none."""
    fields = description.get("fields") if isinstance(description, dict) else None
    named = [field for field in fields or () if isinstance(field, dict) and isinstance(field.get("name"), str)]
    return {field["name"]: str(field.get("type")) for field in named if field.get("type") not in _NOT_ASKED_FOR}


def as_record(sent: Mapping[str, Any], columns: Columns) -> Record:
    """What was sent as the record that is kept: these columns in this order, `attributes` dropped."""
    return {name: _value(kind, sent.get(name)) for name, kind in columns.items()}


def _value(kind: str, sent: Any) -> Any:
    if sent is None or sent == "":
        return None  # Salesforce keeps no empty texts, and CSV cannot tell them from null
    try:
        return _SPELLINGS[kind](sent) if kind in _SPELLINGS else sent
    except (ValueError, TypeError, OverflowError, LookupError):
        return sent  # whoever fits the record to its columns rejects it by name


def _boolean(sent: Any) -> bool:
    if isinstance(sent, bool):
        return sent
    return {"true": True, "false": False}[str(sent).lower()]


def _integer(sent: Any) -> int:
    number = float(sent)
    if not number.is_integer():
        raise ValueError(sent)
    return int(sent) if not isinstance(sent, str) or sent.lstrip("-").isdigit() else int(number)


def _moment(sent: Any) -> str:
    text = str(sent)
    if text.endswith("+0000"):
        return text
    utc = datetime.fromisoformat(text).astimezone(UTC)
    return f"{utc:%Y-%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03d}+0000"


_SPELLINGS: Mapping[str, Callable[[Any], Any]] = {
    "boolean": _boolean,
    "int": _integer,
    "long": _integer,
    "double": float,
    "currency": float,
    "percent": float,
    "datetime": _moment,
}
