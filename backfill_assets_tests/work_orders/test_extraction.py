"""Extraction: exactly the records that fit are stored, all others are dead letters, whatever stops it."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from backfill_assets.adapters.snowflake.memory import MemorySource
from backfill_assets.adapters.work_orders.memory import MemoryOrders
from backfill_assets.core.dead_letters import DeadLetterLedger, MemoryDeadLetters
from backfill_assets.core.enriched import InsightVersion, OrderTarget
from backfill_assets.core.orders import (
    OrderSource,
    Span,
    whole,
)
from backfill_assets.core.windows import Window
from backfill_assets.errors import SourceUnreachable, TransientError
from backfill_assets.work_orders.extraction import Extraction
from backfill_assets.work_orders.outcomes import StageDone
from backfill_assets_tests.work_orders.conftest import MakeSource
from backfill_assets_tests.work_orders.orders import NOW, Row, ids, months, peculiar, row, stored

NEVER = InsightVersion(model="none", prompt="none")
AT = datetime(2024, 2, 3, 4, tzinfo=UTC)


def extraction(
    source: OrderSource, target: OrderTarget, letters: DeadLetterLedger, batch_size: int = 100
) -> Extraction:
    return Extraction(
        source=source,
        target=target,
        dead_letters=letters,
        run_id="run-1",
        batch_size=batch_size,
        duplicates=source.duplicates(),
        log=lambda _: None,
        clock=lambda: NOW,
        sleep=lambda _: None,
    )


def extract(
    source: OrderSource, target: OrderTarget, letters: DeadLetterLedger, batch_size: int = 100
) -> list[StageDone]:
    use_case = extraction(source, target, letters, batch_size)
    return [use_case.extract(whole(month)) for month in months()]


def held(target: OrderTarget, windows: Sequence[Window] | None = None) -> dict[str, tuple[datetime, str]]:
    found = [one for month in windows or months() for one in target.behind(whole(month), NEVER, None, 10**6)]
    return {one.id: (one.position.at, one.text) for one in found}


def assert_exact(rows: Sequence[Row], target: OrderTarget, letters: DeadLetterLedger) -> None:
    assert held(target) == stored(rows)
    refused = Counter(letter.record_id for letter in letters.letters())
    assert refused + Counter(dict.fromkeys(stored(rows), 1)) == ids(rows)


@pytest.mark.parametrize("seed", range(3))
def test_every_record_is_stored_or_a_dead_letter(make_source: MakeSource, target: OrderTarget, seed: int) -> None:
    rows, letters = peculiar(seed, 600), MemoryDeadLetters()
    done = extract(make_source(rows), target, letters)
    assert_exact(rows, target, letters)
    assert sum(one.source_rows for one in done) == len(rows)
    assert all(one.is_balanced and not one.complete for one in done)
    assert {kind for one in done for kind in one.rejected} == {"no id", "no date", "text too short", "repeated id"}


def test_ten_thousand_records_arrive_exactly(make_source: MakeSource, orders_url: str) -> None:
    from backfill_assets.adapters.work_orders.opening import open_orders

    rows, letters = peculiar(7, 10_000), MemoryDeadLetters()
    with open_orders(orders_url) as target:
        extract(make_source(rows), target, letters, batch_size=1000)
        assert_exact(rows, target, letters)


@pytest.mark.proof
@pytest.mark.timeout(600)
def test_a_hundred_thousand_records_arrive_exactly(make_source: MakeSource, orders_url: str) -> None:
    from backfill_assets.adapters.work_orders.opening import open_orders

    rows, letters = peculiar(8, 100_000), MemoryDeadLetters()
    with open_orders(orders_url) as target:
        extract(make_source(rows), target, letters, batch_size=1000)
        assert_exact(rows, target, letters)


@pytest.mark.parametrize("batch_size", [1, 100, 1000])
def test_batch_sizes_make_no_difference(make_source: MakeSource, target: OrderTarget, batch_size: int) -> None:
    rows, letters = peculiar(5, 400), MemoryDeadLetters()
    extract(make_source(rows), target, letters, batch_size)
    assert_exact(rows, target, letters)


def test_a_second_run_changes_nothing(target: OrderTarget) -> None:
    rows, letters = peculiar(4, 400), MemoryDeadLetters()
    extract(MemorySource(rows), target, letters)
    before = letters.letters()
    extract(MemorySource(rows), target, letters)
    assert_exact(rows, target, letters)
    assert letters.letters() == before


class Breaking(MemoryOrders):
    """Tables whose commits fail after so many."""

    left = 3

    def put_checkpoint(self, checkpoint: object) -> None:
        """See `OrderWork.put_checkpoint`."""
        self.left -= 1
        if self.left < 0:
            raise SourceUnreachable("away")
        super().put_checkpoint(checkpoint)  # type: ignore[arg-type]


def test_what_was_committed_is_not_read_again() -> None:
    rows, letters, target = peculiar(3, 600), MemoryDeadLetters(), Breaking()
    source = MemorySource(rows)
    with pytest.raises(TransientError, match="away"):
        extraction(source, target, letters, 20).extract(whole(months()[0]))
    half = target.checkpoint("notification_text_backfill/2024-01-01").records
    assert half >= 40
    target.left = 10**6
    done = extraction(source, target, letters, 20).extract(whole(months()[0]))
    assert done.written + half == done.source_rows
    extract(source, target, letters)
    assert_exact(rows, target, letters)


def test_a_record_that_was_mended_is_a_dead_letter_no_more(target: OrderTarget) -> None:
    source, letters = MemorySource([row("a", AT, "short")]), MemoryDeadLetters()
    extract(source, target, letters)
    assert [letter.reason for letter in letters.letters()] == ["its text has 5 characters; 10 are needed"]
    source.rows = [row("a", AT, "long enough by now")]
    done = extract(source, target, letters)
    assert letters.letters() == []
    assert all(one.complete for one in done)


def test_no_dead_letter_holds_a_text(target: OrderTarget) -> None:
    letters = MemoryDeadLetters()
    extract(MemorySource([row("a", AT, "Zoe"), row(None, AT, "Call Zoe Smith"), row("b", None)]), target, letters)
    assert len(letters.letters()) == 3
    assert "Zoe" not in str(letters.letters())


def test_a_part_of_a_month_holds_its_last_day_whole_and_is_no_whole(
    make_source: MakeSource, target: OrderTarget
) -> None:
    month, day = months()[1], datetime(2024, 2, 10, tzinfo=UTC)
    late = day + timedelta(days=1) - timedelta(microseconds=1)
    rows = [row("first", day), row("last", late), row("after", day + timedelta(days=1))]
    span = Span(month=month, start=day, end=day + timedelta(days=1))
    done = extraction(make_source(rows), target, MemoryDeadLetters()).extract(span)
    assert set(held(target)) == {"first", "last"}
    assert (done.is_part, done.is_balanced, done.complete) == (True, True, False)


def test_the_most_records_end_it_and_the_next_run_goes_on(target: OrderTarget) -> None:
    rows, letters = [row(f"r{n:03}", AT + timedelta(hours=n // 2)) for n in range(50)], MemoryDeadLetters()
    span = whole(months()[1])
    first = extraction(MemorySource(rows), target, letters, 7).extract(span, most_records=20)
    assert (first.written, first.is_part) == (20, True)
    rest = extraction(MemorySource(rows), target, letters, 7).extract(span)
    assert (rest.written, rest.complete) == (30, True)


def test_what_the_source_lost_is_noticed(target: OrderTarget) -> None:
    source, letters = MemorySource([row("a", AT), row("b", AT)]), MemoryDeadLetters()
    extract(source, target, letters)
    source.rows = [row("a", AT), row("c", AT, "short")]
    done = extract(source, target, letters)[1]
    assert (done.source_rows, done.rows, done.rows_rejected) == (2, 2, 1)
    assert not done.is_balanced
