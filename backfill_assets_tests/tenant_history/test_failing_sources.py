"""Sources that fail: waited for, cut smaller, or read around the records that they cannot send."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from backfill_assets.adapters.rest.memory import MemorySource
from backfill_assets.core.source import Record, RecordId, TableSpec
from backfill_assets.errors import (
    BackfillError,
    CircuitOpen,
    SourceUnreachable,
    TimedOut,
    TransientError,
    UnexpectedResponse,
)
from backfill_assets.tenant_history.backfill import Outcome, WindowDone, WindowFailed
from backfill_assets_tests.tenant_history.worlds import (
    NOTES,
    TICKETS,
    World,
    in_week,
    ticket,
    tickets_in,
    versions_of,
    week,
    weeks,
)

DOWN = TransientError("it answered 500")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(root=tmp_path / "lake")


class Shaky(MemorySource):
    """Fails whatever it is asked, so many times."""

    def __init__(self, tables: Any, errors: Sequence[BackfillError], **options: Any) -> None:
        super().__init__(tables, **options)
        self.errors = list(errors)
        self.checks = 0

    def check(self) -> str:
        self.checks += 1
        if self.errors:
            raise self.errors[0]
        return super().check()

    def _serve(self, table: TableSpec, request: Any) -> list[Record]:
        if self.errors:
            raise self.errors.pop(0)
        return super()._serve(table, request)


def shaky(world: World, records: Sequence[Record], errors: Sequence[BackfillError]) -> Shaky:
    world.add("acme")
    source = Shaky({TICKETS.name: records, NOTES.name: []}, errors)
    world.sources["acme"] = source
    return source


def done(outcomes: list[Outcome]) -> list[WindowDone]:
    assert all(isinstance(outcome, WindowDone) for outcome in outcomes), outcomes
    return [outcome for outcome in outcomes if isinstance(outcome, WindowDone)]


@pytest.mark.parametrize("error", [DOWN, SourceUnreachable("nobody answers")])
def test_a_source_that_comes_back_within_three_more_tries_is_read_whole(world: World, error: BackfillError) -> None:
    records = tickets_in(1, 2, 3)
    shaky(world, records, [error] * 3)
    assert [w.complete for w in done(world.fill(weeks(1, 3)))] == [True] * 3
    assert world.stored() == versions_of(records)
    # After the third failure the source answers a check again, so nothing is waited for.
    assert world.pauses == [1.0, 2.0]


def test_the_fourth_failed_try_of_a_chunk_is_its_last(world: World) -> None:
    shaky(world, tickets_in(1, 2, 3), [DOWN] * 100)
    assert {outcome.reason for outcome in world.fill(weeks(1, 3)) if isinstance(outcome, WindowFailed)} == {str(DOWN)}
    assert len(world.pauses) == 3


def test_an_open_breaker_is_waited_for_as_long_as_it_says(world: World) -> None:
    records = tickets_in(1)
    shaky(world, records, [CircuitOpen("it failed 5 times in a row", retry_in=seconds) for seconds in (27, 9)])
    done(world.fill(weeks(1, 1)))
    assert world.pauses == [27]


def test_a_chunk_that_times_out_comes_again_in_halves_and_says_its_size(world: World) -> None:
    records = tickets_in(1, 2, 3, 4)
    source = world.add("acme", {TICKETS.name: records})
    asked = source.records

    def slow(table: TableSpec, start: datetime, end: datetime) -> Any:
        if (end - start).days > 7:
            raise TimedOut("it took too long")
        return asked(table, start, end)

    source.records = slow  # type: ignore[method-assign]
    assert [w.chunk_days for w in done(world.fill(weeks(1, 4), days=28))] == [7, 7, 7, 7]
    assert world.stored() == versions_of(records)
    assert world.pauses == []


def test_a_chunk_with_too_many_rows_is_cut_before_all_of_it_is_held(world: World) -> None:
    records = tickets_in(1, 2, 3, 4, each=5)
    source = world.add("acme", {TICKETS.name: records})
    outcomes = done(world.fill(weeks(1, 4), days=28, rows=12))
    assert [w.chunk_days for w in outcomes] == [14, 14, 14, 14]
    assert world.stored() == versions_of(records)
    whole = [r for r in source.requests if r.kind == "records" and r.start == week(1).start and r.end == week(4).end]
    assert len(whole) == 4  # pages of four: the thirteenth row is on the fourth


def test_one_window_is_read_however_many_rows_it_holds(world: World) -> None:
    records = tickets_in(1, each=5)
    world.add("acme", {TICKETS.name: records})
    assert [w.rows for w in done(world.fill(weeks(1, 1), rows=2))] == [5]


@pytest.mark.parametrize("error", [DOWN, UnexpectedResponse("it answered a page for people each time")])
@pytest.mark.parametrize("bad", [{1}, {7}, {12}, {3, 4}, {1, 6, 12}])
def test_a_record_that_the_source_cannot_send_goes_to_the_dead_letters_and_the_rest_is_stored(
    world: World, error: BackfillError, bad: set[int]
) -> None:
    records = tickets_in(1, 2, 3, 4)
    source = world.add("acme", {TICKETS.name: records})
    for record_id in bad:
        source.poison(TICKETS.name, record_id, error)
    outcomes = done(world.fill(weeks(1, 4), days=28))
    assert world.stored() == versions_of([record for record in records if record["id"] not in bad])
    letters = world.dead_letters.letters()
    assert {int(letter.record_id) for letter in letters} == bad
    assert {letter.reason for letter in letters} == {f"the source holds it and cannot send it: {error}"}
    assert {(letter.record_id, letter.version) for letter in letters} == {
        (str(r["id"]), r["_info"]["lastUpdated"].replace("Z", ".000000Z")) for r in records if r["id"] in bad
    }
    per_window = {week(n): {3 * n - 2, 3 * n - 1, 3 * n} & bad for n in range(1, 5)}
    assert {w.window: w.rows_rejected for w in outcomes} == {w: len(ids) for w, ids in per_window.items()}
    assert {w.window: w.complete for w in outcomes} == {w: not ids for w, ids in per_window.items()}
    assert all(w.source_rows == 3 for w in outcomes)


def test_bisecting_asks_for_no_record_alone_that_is_not_beside_a_bad_one(world: World) -> None:
    source = world.add("acme", {TICKETS.name: [ticket(n, in_week(1, n)) for n in range(1, 101)]})
    source.poison(TICKETS.name, 70, DOWN)
    done(world.fill(weeks(1, 1)))
    assert len(source.fetched) == 15  # two for each of the seven halvings, and the first
    assert {ids for ids in source.fetched if len(ids) == 1} <= {(69,), (70,), (71,)}


def test_a_record_that_is_changed_while_it_is_bisected_is_left_to_its_new_window(world: World) -> None:
    records = tickets_in(1, 2)
    source = world.add("acme", {TICKETS.name: records})
    source.poison(TICKETS.name, 1, DOWN)
    fetch = source.fetch

    def moving(table: TableSpec, ids: Sequence[RecordId]) -> Sequence[Record]:
        source.tables = {TICKETS.name: [*records[:2], ticket(3, in_week(5)), *records[3:]]}
        return fetch(table, ids)

    source.fetch = moving  # type: ignore[method-assign]
    [outcome] = done(world.fill(weeks(1, 1)))
    assert (outcome.rows, outcome.rows_rejected, outcome.source_rows) == (1, 1, 2)
    assert world.stored() == versions_of(records[1:2])


def test_a_source_that_cannot_send_any_record_fails_the_window_instead_of_quarantining_all(world: World) -> None:
    records = [ticket(n, in_week(1, n)) for n in range(1, 61)]
    source = world.add("acme", {TICKETS.name: records})
    for n in range(1, 61):
        source.poison(TICKETS.name, n, DOWN)
    [outcome] = world.fill(weeks(1, 1))
    assert isinstance(outcome, WindowFailed)
    assert outcome.reason == str(DOWN)
    assert world.dead_letters.letters() == []


def test_each_failed_question_about_a_record_is_followed_by_a_check_so_that_no_breaker_opens(world: World) -> None:
    world.add("acme")
    source = Shaky({TICKETS.name: [ticket(n, in_week(1, n)) for n in range(1, 101)]}, [])
    world.sources["acme"] = source
    source.poison(TICKETS.name, 70, DOWN)
    done(world.fill(weeks(1, 1)))
    failed = [ids for ids in source.fetched if 70 in ids]
    assert source.checks == len(failed) + 1  # and one for the chunk


@pytest.mark.parametrize("error", [DOWN, TimedOut("it took too long")])
def test_a_window_that_cannot_be_read_at_all_opens_no_breaker_for_the_others(
    world: World, error: BackfillError
) -> None:
    """A request is tried four times, and five failures in a row open the breaker."""

    class Counting(MemorySource):
        in_a_row = longest = 0

        def check(self) -> str:
            self.in_a_row = 0
            return super().check()

        def _serve(self, table: TableSpec, request: Any) -> list[Record]:
            try:
                found = super()._serve(table, request)
            except TransientError:
                self.in_a_row += 4
                self.longest = max(self.longest, self.in_a_row)
                raise
            self.in_a_row = 0
            return found

    world.add("acme")
    source = world.sources["acme"] = Counting({TICKETS.name: tickets_in(1, 2, 3), NOTES.name: []})
    source.fail(TICKETS.name, week(2).start, week(2).end, error)
    outcomes = world.fill(weeks(1, 3), days=7)
    assert [isinstance(outcome, WindowDone) for outcome in outcomes] == [True, False, True]
    assert source.longest == 4
