"""How often something runs: the words that settings use for it, as a cron expression.

Here belongs the translation and its checks; what runs belongs to the domains.
"""

import re

HOURLY, DAILY = "hourly", "daily"
_EACH = re.compile(r"(\d{1,4}) ?(min|m|h)")
_FIELD = re.compile(r"\*(/\d{1,2})?|\d{1,2}(-\d{1,2})?(/\d{1,2})?(,\d{1,2}(-\d{1,2})?(/\d{1,2})?)*")
_BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
"""Minute, hour, day of the month, month, day of the week."""
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
"""The days that each month can have."""


def cron_of(frequency: str) -> str:
    """The cron expression of `15min`, `2h`, `hourly`, `daily`, or of one that is written as such, in UTC.

    Raises `ValueError` that says what may be written.
    """
    text = " ".join(frequency.lower().split())
    if text in (HOURLY, DAILY):
        return "0 * * * *" if text == HOURLY else "0 0 * * *"
    if each := _EACH.fullmatch(text):
        return _each(int(each[1]), is_hours=each[2] == "h")
    if _is_cron(fields := text.split(" ")):
        _check_that_it_comes(fields)
        return text
    raise ValueError("must be hourly, daily, minutes or hours like 15min or 2h, or a cron expression like 5 * * * *")


def _each(number: int, *, is_hours: bool) -> str:
    whole = 24 if is_hours else 60
    if number < 1 or whole % number:
        unit = "hours that a day" if is_hours else "minutes that an hour"
        raise ValueError(f"must be a number of {unit} can be divided by: {_divisors(whole)}")
    if number == whole:
        return cron_of(DAILY if is_hours else HOURLY)
    return f"0 */{number} * * *" if is_hours else f"*/{number} * * * *"


def _divisors(whole: int) -> str:
    return ", ".join(str(number) for number in range(1, whole + 1) if whole % number == 0)


def _is_cron(fields: list[str]) -> bool:
    return len(fields) == len(_BOUNDS) and all(map(_fits, fields, _BOUNDS))


def _check_that_it_comes(fields: list[str]) -> None:
    # Dagster refuses some of these only when it loads everything, and others when it looks for the next tick.
    days, months = (_numbers(fields[place], _BOUNDS[place]) for place in (2, 3))
    if min(days) > max(_LONGEST[month - 1] for month in months):
        raise ValueError("must name a day that one of its months has")


def _numbers(field: str, bounds: tuple[int, int]) -> set[int]:
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        low, _, high = span.partition("-")
        first = bounds[0] if low == "*" else int(low)
        last = int(high) if high else bounds[1] if step or low == "*" else first
        found.update(range(first, last + 1, int(step or 1)))
    return found


def _fits(field: str, bounds: tuple[int, int]) -> bool:
    if not _FIELD.fullmatch(field):
        return False
    steps = [int(step) for step in re.findall(r"/(\d+)", field)]
    numbers = [int(number) for number in re.findall(r"\d+", re.sub(r"/\d+", "", field))]
    ranges = [(int(low), int(high)) for low, high in re.findall(r"(\d+)-(\d+)", field)]
    is_within = all(bounds[0] <= number <= bounds[1] for number in numbers)
    return is_within and all(steps) and all(low <= high for low, high in ranges)
