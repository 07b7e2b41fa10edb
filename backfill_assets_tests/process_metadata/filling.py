"""A backfill as tests run it, and what it told.

Here belongs what tests of the use case share.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from backfill_assets.core.dead_letters import DeadLetterLedger, MemoryDeadLetters
from backfill_assets.core.instances import InstanceDatabase
from backfill_assets.core.metadata import MetadataField
from backfill_assets.core.source import Grain
from backfill_assets.core.windows import Calendar, Window
from backfill_assets.process_metadata.backfill import MetadataBackfill, MonthDone, MonthFailed
from backfill_assets.process_metadata.batches import Counts

CALENDAR = Calendar(grain=Grain.MONTHLY, history_start=date(2024, 1, 1))
NOW = datetime(2024, 8, 15, 12, tzinfo=UTC)


def months(first: int = 1, last: int = 8) -> list[Window]:
    """Months of 2024; the first of them holds what is older."""
    return [CALENDAR.window(date(2024, month, 1)) for month in range(first, last + 1)]


def in_month(month: int, day: int = 10) -> int:
    """A moment of 2024 in seconds."""
    return int(datetime(2024, month, day, 8, tzinfo=UTC).timestamp())


@dataclass(kw_only=True)
class Filling:
    """One backfill after another over a database."""

    database: InstanceDatabase
    batch_size: int = 7
    letters: DeadLetterLedger = field(default_factory=MemoryDeadLetters)
    now: datetime = NOW
    lines: list[str] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)

    @property
    def backfill(self) -> MetadataBackfill:
        """The use case."""
        return MetadataBackfill(
            database=self.database,
            dead_letters=self.letters,
            run_id="run-1",
            batch_size=self.batch_size,
            log=self.lines.append,
            clock=lambda: self.now,
            sleep=self.pauses.append,
            random=lambda: 1.0,
        )

    def fill(
        self, fields: Sequence[MetadataField], windows: Sequence[Window] | None = None, **options: Any
    ) -> list[MonthDone]:
        """Fill these months, none of which may fail."""
        return _done(self.backfill.fill(months() if windows is None else windows, fields, **options))

    def recount(self, fields: Sequence[MetadataField], windows: Sequence[Window]) -> list[MonthDone]:
        """Count these months anew, none of which may fail."""
        return _done(self.backfill.recount(windows, fields))


def _done(outcomes: Iterable[MonthDone | MonthFailed]) -> list[MonthDone]:
    found = list(outcomes)
    assert not [outcome for outcome in found if isinstance(outcome, MonthFailed)]
    return [outcome for outcome in found if isinstance(outcome, MonthDone)]


def total(done: Sequence[MonthDone], select: Callable[[MonthDone], bool] = lambda _: True) -> Counts:
    """The counts of these together."""
    return sum((one.counts for one in done if select(one)), Counts())
