"""The kinds of value that settings files hold, each with the words that say what it must be.

A kind refuses what it is not instead of converting it: `true` is no number, and a number left blank is not "unset".
"""

import re
from collections.abc import Set
from datetime import date, datetime, time
from enum import StrEnum
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, InstanceOf

from backfill_assets.core.frequency import cron_of
from backfill_assets.core.opening import Hours
from backfill_assets.core.source import ColumnType, Grain

_MOST = 1_000_000
"""More than any sensible setting, and little enough for date arithmetic."""
_FIRST_DAY = date(1970, 1, 1)
"""No service is older, and the arithmetic with windows and time zones holds from here on."""


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError("must be a positive whole number")
    if value > _MOST:
        raise ValueError(f"must be a positive whole number of at most {_MOST}")
    return value


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > _MOST:
        raise ValueError("must be a whole number")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be a text")
    return value.strip()


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(x, str) and x.strip() for x in value):
        raise ValueError("must be a list of names")
    return tuple(x.strip() for x in value)


def _table_names(value: object) -> tuple[str, ...]:
    try:
        return _texts(value)
    except ValueError as error:
        raise ValueError(f"{error} (tables are defined in the file that BACKFILL_SERVICES_FILE names)") from None


def _day(value: object) -> date:
    day = _any_day(value)
    if day < _FIRST_DAY:
        raise ValueError(f"must be a date from {_FIRST_DAY} on")
    return day


def _any_day(value: object) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    try:
        return date.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError("must be a date like 2023-01-01") from None


def _time_zone(value: object) -> str:
    try:
        return ZoneInfo(value if isinstance(value, str) else "").key
    except (KeyError, ValueError, OSError):
        raise ValueError("must be a time zone like Europe/Berlin") from None


def _hours(value: object) -> Hours | bool:
    """Hours of a day, or False where it says `off`, which YAML reads as false."""
    if isinstance(value, Hours) or value is False or value == "off":
        return value if isinstance(value, Hours) else False
    if not isinstance(value, dict) or not value.keys() <= {"start", "end"}:
        raise ValueError('must be a start and an end like {start: "22:00", end: "06:00"}, or off')
    start, end = (_time_of_day(name, value.get(name)) for name in ("start", "end"))
    if start == end:
        raise ValueError("begins when it ends; write off to read around the clock")
    return Hours(start=start, end=end)


def _time_of_day(name: str, value: object) -> time:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 23:
        return time(value)
    if isinstance(value, str) and (found := re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", value.strip())):
        return time(int(found[1]), int(found[2]))
    # Without the quotes, YAML reads 22:00 as the number 1320.
    raise ValueError(f'has no {name} that is a time like "22:00", in quotes, or a whole hour from 0 to 23')


def _one_of(kind: type[StrEnum], value: object) -> StrEnum:
    if not isinstance(value, str) or value not in list(kind):
        *others, last = kind
        raise ValueError(f"must be {', '.join(others)} or {last}")
    return kind(value)


def _grain(value: object) -> StrEnum:
    return _one_of(Grain, value)


def _frequency(value: object) -> str:
    cron_of(text := _text(value))
    return text


def _column_type(value: object) -> StrEnum:
    return _one_of(ColumnType, value)


TimeZone = Annotated[str, BeforeValidator(_time_zone)]
Flag = Annotated[bool, BeforeValidator(_flag)]
Column = Annotated[ColumnType, BeforeValidator(_column_type)]

# A setting that is not in the file is None; one that is there must have its kind, so that a blank is refused.
MaybeCount = Annotated[int | None, BeforeValidator(_count)]
MaybeWhole = Annotated[int | None, BeforeValidator(_whole)]
MaybeText = Annotated[str | None, BeforeValidator(_text)]
MaybeTexts = Annotated[tuple[str, ...] | None, BeforeValidator(_texts)]
MaybeTableNames = Annotated[tuple[str, ...] | None, BeforeValidator(_table_names)]
MaybeDay = Annotated[date | None, BeforeValidator(_day)]
MaybeHours = Annotated[InstanceOf[Hours] | Literal[False] | None, BeforeValidator(_hours)]
"""False is said where hours are switched off."""
MaybeGrain = Annotated[Grain | None, BeforeValidator(_grain)]
MaybeFrequency = Annotated[str | None, BeforeValidator(_frequency)]


def spec_changes(section: BaseModel, *, but: Set[str]) -> dict[str, Any]:
    """What a section says, as fields of a service, but for these; hours that are switched off are None there."""
    said = {name: getattr(section, name) for name in type(section).model_fields if name not in but}
    return {name: None if value is False else value for name, value in said.items() if value is not None}
