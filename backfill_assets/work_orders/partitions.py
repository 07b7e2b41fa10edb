"""Partitions of work orders: the month of the record's date.

Here belong the definitions and the translation between keys and what they stand for.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime

import dagster as dg

from backfill_assets.core.orders import Span
from backfill_assets.core.source import Grain
from backfill_assets.core.windows import Calendar, Window, midnight
from backfill_assets.work_orders.outcomes import STAGES

KEYS = {stage: dg.AssetKey(["work_orders", stage]) for stage in STAGES}

PARTITIONS_PER_RUN = 3
"""A month may hold many thousand records, each of which is asked about: few months make a run long enough."""


def calendar_of(start: date) -> Calendar:
    """The months from this day on; what is older, or undated, counts into the first."""
    return Calendar(grain=Grain.MONTHLY, history_start=start)


def months_of(start: date) -> dg.MonthlyPartitionsDefinition:
    """The months, this month included."""
    return dg.MonthlyPartitionsDefinition(start_date=calendar_of(start).first_day.isoformat(), end_offset=1)


def months_until(start: date, now: datetime) -> Sequence[Window]:
    """Every month, the one that holds now included."""
    calendar = calendar_of(start)
    first = calendar.window(calendar.first_day)
    return calendar.windows(first.start, max(now, first.end))


def spans(start: date, keys: Iterable[str], *, first_day: date | None, last_day: date | None) -> Sequence[Span]:
    """The months with these keys, oldest first, cut to these days, both included."""
    months = sorted(calendar_of(start).window_from_key(key) for key in keys)
    cut = [_cut(month, first_day, last_day) for month in months]
    return [span for span in cut if span.start < span.end]


def _cut(month: Window, first_day: date | None, last_day: date | None) -> Span:
    begin = month.start if first_day is None else max(month.start, midnight(first_day))
    end = month.end if last_day is None else min(month.end, midnight(date.fromordinal(last_day.toordinal() + 1)))
    return Span(month=month, start=begin, end=end)
