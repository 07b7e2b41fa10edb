"""Values of filters, checked against the type of the column that they are compared with.

Here belongs which texts a type takes. They stay texts, in a form that PostgreSQL reads as the column's type.
"""

import ipaddress
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from uuid import UUID

from backfill_assets.core.tables import Column, Operator
from backfill_assets.errors import PermanentError

PATTERNS = (Operator.LIKE, Operator.ILIKE)
EQUALITY = (Operator.EQUAL, Operator.NOT_EQUAL, Operator.IN)
TRUE, FALSE = ("true", "t", "yes", "on", "1"), ("false", "f", "no", "off", "0")
LONGEST_NUMBER = 1000
BITS = {"smallint": 15, "integer": 31, "bigint": 63}


def fitted(text: str, column: Column, operator: Operator) -> str:
    """The text as the column's type takes it; raises `PermanentError` where it does not."""
    if "\x00" in text:
        raise PermanentError(f"The filter on {column.name} holds a NUL character, which no column can")
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise PermanentError(f"The filter on {column.name} holds half a character; write it anew")
    kind = _kind(column.type)
    if operator in PATTERNS and kind not in TEXTS:
        raise PermanentError(
            f"The filter uses {operator} on {column.name}, which is {column.type}; only texts are compared by patterns"
        )
    if kind == "boolean" and operator not in EQUALITY:
        raise PermanentError(f"The filter uses {operator} on {column.name}, which is boolean; use = or !=")
    check = _CHECKS.get(kind)
    if check is None:
        return text
    try:
        return check(text.strip())
    except (ValueError, InvalidOperation, OverflowError):
        raise PermanentError(
            f"The filter compares {column.name}, which is {column.type}, with {_shown(text)}, which is none"
        ) from None


TEXTS = ("text", "character varying", "character", "bpchar", "citext", "name")


def _kind(type_: str) -> str:
    """The type without what is in brackets: `numeric(10,2)` is `numeric`; an array is of no kind that is checked."""
    return "array" if type_.endswith("]") else re.sub(r"\s+", " ", re.sub(r"\([^)]*\)", "", type_)).strip()


def _integer(bits: int) -> Callable[[str], str]:
    def check(text: str) -> str:
        number = Decimal(text)
        if len(text) > LONGEST_NUMBER or not number.is_finite() or number != number.to_integral_value():
            raise ValueError
        # Compared before it is written out: 1e999999999 would take all memory.
        if not -(2**bits) <= number < 2**bits:
            raise ValueError
        return str(int(number))

    return check


def _number(text: str) -> str:
    number = Decimal(text)
    if len(text) > LONGEST_NUMBER or number.is_snan():
        raise ValueError
    if number.is_nan():
        return "NaN"
    return str(number)


def _boolean(text: str) -> str:
    if text.lower() not in (*TRUE, *FALSE):
        raise ValueError
    return "true" if text.lower() in TRUE else "false"


def _date(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        moment = datetime.fromisoformat(text)
        if moment.time() != time():
            raise
        return moment.date().isoformat()


def _timestamp(text: str) -> str:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is not None:
        # The column knows no zone; it is compared with what the clock showed in UTC.
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return moment.isoformat(sep=" ")


def _moment(text: str) -> str:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).isoformat(sep=" ")


def _address(text: str) -> str:
    return str(ipaddress.ip_interface(text))


_CHECKS: dict[str, Callable[[str], str]] = {
    **{name: _integer(bits) for name, bits in BITS.items()},
    "numeric": _number,
    "real": _number,
    "double precision": _number,
    "boolean": _boolean,
    "date": _date,
    "timestamp without time zone": _timestamp,
    "timestamp with time zone": _moment,
    "uuid": lambda text: str(UUID(text)),
    "inet": _address,
}


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:60]}...")
