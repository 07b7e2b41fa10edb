"""What a backfill of a tenant's service will cover: tables, windows, chunks and runs, before anything starts.

Pure; refuses what makes no sense with a sentence. Launching a plan belongs to `onboarding.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil

from backfill_assets.core.source import ServiceSpec, TableSpec
from backfill_assets.core.windows import Calendar, Chunk, Window, midnight, plan_chunks
from backfill_assets.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class HistoryPlan:
    """The tables and windows to fill; `is_whole` when they are all of the tenant's history."""

    spec: ServiceSpec
    tables: tuple[TableSpec, ...]
    windows: tuple[Window, ...]
    chunk_size_days: int
    windows_per_run: int
    is_whole: bool

    @property
    def chunks(self) -> Sequence[Chunk]:
        """The chunks of one table."""
        return plan_chunks(self.windows, self.chunk_size_days)

    @property
    def partitions(self) -> int:
        """How many partitions the backfill has."""
        return len(self.tables) * len(self.windows)

    @property
    def runs(self) -> int:
        """How many Dagster runs it will be cut into."""
        return ceil(len(self.windows) / self.windows_per_run)

    @property
    def target(self) -> str:
        """The target in words that are equal for equal targets; the whole history is one target, whenever it ends."""
        if self.is_whole:
            return "whole"
        tables = "all" if len(self.tables) == len(self.spec.tables) else ",".join(sorted(t.slug for t in self.tables))
        return f"{tables}/{self.windows[0].key}..{self.windows[-1].key}"


def calendar_of(spec: ServiceSpec) -> Calendar:
    """The windows of a service."""
    return Calendar(grain=spec.grain, history_start=spec.history_start)


def windows_per_run(spec: ServiceSpec) -> int:
    """How many windows one run covers: `chunks_per_run` chunks of the service's own size."""
    year = calendar_of(spec).windows(midnight(spec.history_start), midnight(spec.history_start) + timedelta(days=366))
    return spec.chunks_per_run * len(plan_chunks(year, spec.chunk_size_days)[0].windows)


def plan_history(
    spec: ServiceSpec,
    now: datetime,
    *,
    windows_per_run: int,
    tables: Sequence[TableSpec] | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    chunk_size_days: int | None = None,
) -> HistoryPlan:
    """Plan the windows that overlap `[start, end)`: whole windows, from the lookback to now where not given.

    `spec` is the service with the tenant's overrides; `windows_per_run` is the service's own, shared by all tenants.
    Raises `UsageError` for an empty or impossible range.
    """
    begin = start or max(now - timedelta(days=spec.lookback_days), midnight(spec.history_start))
    finish = min(end or now, now)
    _check_range(spec, now, begin, end)
    if chunk_size_days is not None and chunk_size_days < 1:
        raise UsageError(f"--chunk-size-days must be 1 or more, not {chunk_size_days}")
    return HistoryPlan(
        spec=spec,
        tables=tuple(tables or spec.tables),
        windows=tuple(calendar_of(spec).windows(begin, finish)),
        chunk_size_days=chunk_size_days or spec.chunk_size_days,
        windows_per_run=windows_per_run,
        is_whole=start is None and end is None and tables is None,
    )


def _check_range(spec: ServiceSpec, now: datetime, start: datetime, end: datetime | None) -> None:
    if start >= now:
        raise UsageError(f"--start-date {start.isoformat()} lies in the future; history ends now ({_day(now)})")
    if start < midnight(spec.history_start):
        raise UsageError(
            f"--start-date {start.isoformat()} lies before {spec.history_start}, where the history of {spec.name} "
            f"begins; ask for a later day, or set history_start of {spec.name} in the services file to an earlier one"
        )
    if end is not None and end <= start:
        raise UsageError(f"--end-date {end.isoformat()} is not after the start {start.isoformat()}")


def parse_moment(text: str, option: str) -> datetime:
    """An ISO 8601 date or time, in UTC where it names no zone; raises `UsageError` naming the option."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{option} {text!r} is no ISO 8601 date; write 2024-01-31 or 2024-01-31T08:00:00+01:00"
        ) from None


def _day(moment: datetime) -> str:
    return moment.date().isoformat()
