"""Completeness: what was read is compared with what the source says it holds."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from backfill_assets.adapters.rest.memory import MemorySource
from backfill_assets.adapters.rest.paging import version_of
from backfill_assets.core.source import Record, TableSpec
from backfill_assets.tenant_history.backfill import WindowDone, WindowFailed
from backfill_assets.tenant_history.reading import READS_OF_A_SHORT_WINDOW, SETTLING
from backfill_assets_tests.tenant_history.worlds import (
    NOW,
    TICKETS,
    World,
    in_week,
    ticket,
    tickets_in,
    versions_of,
    week,
    weeks,
)


class Shy(MemorySource):
    """Leaves the record of one moment out of as many readings as `shyness` says."""

    def __init__(self, records: Sequence[Record], *, hidden: datetime, shyness: int) -> None:
        super().__init__({TICKETS.name: records})
        self.shyness, self._hidden = shyness, hidden

    def records(self, table: TableSpec, start: datetime, end: datetime) -> Iterator[Sequence[Record]]:
        hides = start <= self._hidden < end and self.shyness > 0
        self.shyness -= hides
        for page in super().records(table, start, end):
            yield [r for r in page if not (hides and version_of(r, table) == self._hidden)]


def shy_world(world: World, *, shyness: int, number: int = 2) -> list[dict[str, Any]]:
    records = tickets_in(1, 2, 3, each=2)
    world.add("acme")
    world.sources["acme"] = Shy(records, hidden=in_week(number, 31), shyness=shyness)
    return records


@pytest.mark.parametrize("shyness", range(1, READS_OF_A_SHORT_WINDOW))
def test_a_short_window_is_read_again_until_it_is_whole(world: World, shyness: int) -> None:
    records = shy_world(world, shyness=shyness)
    outcomes = world.fill(weeks(2, 2))
    assert [(o.rows, o.source_rows, o.complete) for o in outcomes if isinstance(o, WindowDone)] == [(2, 2, True)]
    assert world.stored() == versions_of(records[2:4])


def test_only_the_short_window_of_a_chunk_is_read_again(world: World) -> None:
    records = tickets_in(1, 2, 3, each=2)
    world.add("acme")
    source = Shy(records, hidden=in_week(3, 1), shyness=1)
    world.sources["acme"] = source
    outcomes = world.fill(weeks(1, 3), days=21)
    assert [(o.rows, o.complete) for o in outcomes if isinstance(o, WindowDone)] == [(2, True)] * 3
    assert {r.start for r in source.requests if r.kind == "records"} == {week(1).start, week(3).start}
    assert world.stored() == versions_of(records)


def test_a_window_that_stays_short_fails_and_the_numbers_are_told(world: World) -> None:
    shy_world(world, shyness=100)
    first, short, last = world.fill(weeks(1, 3), days=21)
    assert isinstance(first, WindowDone)
    assert isinstance(last, WindowDone)
    assert isinstance(short, WindowFailed)
    assert short.reason == (
        "desk holds 2 records of service/tickets for acme in the window 2024-01-14, but let only 1 be read, 3 times in "
        "a row; check that the account may see every record of that table, then rerun this partition"
    )


class Counting(MemorySource):
    """Says that it holds so many more records than it does."""

    more = 0

    def count(self, table: TableSpec, start: datetime, end: datetime) -> int:
        return super().count(table, start, end) + self.more


def counting_world(world: World, number: int, *, more: int) -> None:
    world.add("acme")
    source = Counting({TICKETS.name: tickets_in(number)})
    source.more = more
    world.sources["acme"] = source


def test_a_source_that_counts_fewer_than_it_let_us_read_has_lost_some_since(world: World) -> None:
    counting_world(world, 1, more=-1)
    [outcome] = world.fill([week(1)])
    assert isinstance(outcome, WindowDone)
    assert (outcome.rows, outcome.source_rows, outcome.complete) == (3, 2, True)


@pytest.mark.parametrize("after_its_end", [-timedelta(hours=1), timedelta(0), SETTLING - timedelta(seconds=1)])
def test_a_window_that_has_not_settled_may_grow_while_it_is_read(world: World, after_its_end: timedelta) -> None:
    world.now = week(11).end + after_its_end
    counting_world(world, 11, more=2)
    [outcome] = world.fill([week(11)])
    assert isinstance(outcome, WindowDone)
    assert (outcome.rows, outcome.source_rows, outcome.complete) == (3, 5, False)


def test_a_window_that_has_settled_may_not_be_short(world: World) -> None:
    world.now = week(11).end + SETTLING
    counting_world(world, 11, more=2)
    [outcome] = world.fill([week(11)])
    assert isinstance(outcome, WindowFailed)
    assert "holds 5 records of service/tickets" in outcome.reason


@pytest.mark.parametrize("later", [in_week(2, 50), in_week(2, 1.5)])
def test_a_record_that_changes_before_its_window_is_read_again_is_stored_at_both_versions(
    world: World, later: datetime
) -> None:
    records = [ticket(n, in_week(2, n)) for n in (1, 2, 3)]
    changed = [ticket(1, later, hours=8), *records[1:]]
    world.add("acme")

    class Changing(Shy):
        def count(self, table: TableSpec, start: datetime, end: datetime) -> int:
            self.tables = {TICKETS.name: changed}
            return super().count(table, start, end)

    world.sources["acme"] = Changing([*records], hidden=in_week(2, 3), shyness=1)
    [outcome] = world.fill([week(2)])
    assert isinstance(outcome, WindowDone)
    assert (outcome.rows, outcome.source_rows, outcome.complete) == (3, 3, True)
    assert world.stored() == sorted({*versions_of(records), *versions_of(changed)})


def test_a_record_that_is_updated_while_it_is_read_is_neither_lost_nor_doubled(world: World) -> None:
    records = tickets_in(1, each=6)
    world.add("acme")

    class Busy(MemorySource):
        def records(self, table: TableSpec, start: datetime, end: datetime) -> Iterator[Sequence[Record]]:
            for page in super().records(table, start, end):
                yield page
                # The first record moves out of the window after the first page.
                moved = {**records[0], "_info": {"lastUpdated": NOW.isoformat()}}
                self.tables = {TICKETS.name: [moved, *records[1:]]}

    world.sources["acme"] = Busy({TICKETS.name: records}, page_size=2)
    [outcome] = world.fill([week(1)])
    assert isinstance(outcome, WindowDone)
    assert (outcome.rows, outcome.source_rows) == (6, 5)
    world.fill([week(11)], run_id="run 2")
    assert world.stored() == sorted([*versions_of(records), (1, NOW)])
