"""The use case: windows are read, committed and told of, and one bad window costs no other."""

from datetime import timedelta
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backfill_assets.errors import (
    BackfillError,
    CredentialRefused,
    PermanentError,
    RateLimited,
    TransientError,
    UnexpectedResponse,
)
from backfill_assets.tenant_history.backfill import Outcome, WindowDone, WindowFailed
from backfill_assets.tenant_history.reading import SETTLING
from backfill_assets_tests.tenant_history.worlds import (
    FIRST,
    NOW,
    TICKETS,
    WEEK,
    World,
    in_week,
    ticket,
    tickets_in,
    versions_of,
    week,
    weeks,
)


def told(outcomes: list[Outcome]) -> list[tuple[str, str]]:
    """The windows with what was said of each: `done`, or the reason of its failure."""
    return [(o.window.key, "done" if isinstance(o, WindowDone) else o.reason) for o in outcomes]


def done(outcomes: list[Outcome]) -> list[WindowDone]:
    assert [o for o in outcomes if isinstance(o, WindowFailed)] == []
    return [o for o in outcomes if isinstance(o, WindowDone)]


def test_every_window_is_told_of_oldest_first_and_every_record_arrives(world: World) -> None:
    records = tickets_in(1, 2, 3, 5, 6)
    world.add("acme", {TICKETS.name: records})
    outcomes = done(world.fill(weeks(1, 6)))
    assert [o.window for o in outcomes] == weeks(1, 6)
    assert [o.rows for o in outcomes] == [o.source_rows for o in outcomes] == [3, 3, 3, 0, 3, 3]
    assert {o.complete for o in outcomes} == {True}
    assert world.stored() == versions_of(records)


def test_bytes_are_the_sizes_of_a_windows_files(world: World) -> None:
    world.add("acme", {TICKETS.name: tickets_in(1, 2)})
    for outcome in done(world.fill(weeks(1, 3))):
        first, last = outcome.window.start.isoformat()[:10], outcome.window.end.isoformat()[:10]
        sizes = [len(content) for path, (_, content) in world.files().items() if first <= path.name < last]
        assert outcome.bytes == sum(sizes)
        assert outcome.seconds > 0


@settings(max_examples=25, deadline=None)
@given(
    hours=st.lists(st.integers(-3000, 24 * 7 * 6 - 1), max_size=25),
    days=st.integers(1, 60),
    left_out=st.sets(st.integers(0, 5), max_size=3),
)
def test_whatever_the_chunk_size_exactly_the_windows_asked_for_arrive(
    hours: list[int], days: int, left_out: set[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    world = World(root=tmp_path_factory.mktemp("lake"))
    records = [ticket(n, FIRST + timedelta(hours=hour)) for n, hour in enumerate(hours, 1)]
    world.add("acme", {TICKETS.name: records})
    windows = [week(number) for number in range(6) if number not in left_out]
    outcomes = done(world.fill(windows, days=days))
    inside = [
        (record_id, moment)
        for record_id, moment in versions_of(records)
        if any(window.reads_from <= moment < window.end for window in windows)
    ]
    assert [o.window for o in outcomes] == windows
    assert sum(o.rows for o in outcomes) == len(inside)
    assert world.stored() == inside


def test_rows_name_the_backfill_and_the_chunk_that_stored_them(world: World) -> None:
    world.add("acme", {TICKETS.name: tickets_in(2, each=1)})
    world.fill(weeks(1, 2))
    [path] = world.files()
    [row] = pq.read_table(path, partitioning=None).to_pylist()
    ours = {name: value for name, value in row.items() if name.startswith("_backfill_")}
    assert ours == {
        "_backfill_job_id": "job of run 1",
        "_backfill_chunk_start": "2024-01-07T00:00:00.000000Z",
        "_backfill_chunk_end": "2024-01-21T00:00:00.000000Z",
        "_backfill_processed_at": "2024-03-20T12:00:00.000000Z",
    }


def test_a_chunk_is_one_query_and_one_count(world: World) -> None:
    source = world.add("acme", {TICKETS.name: tickets_in(1, 2, each=1)})
    world.fill(weeks(1, 2))
    # Each page but the first follows an id; the last one is empty.
    assert [(r.kind, r.start, r.end) for r in source.requests] == [
        *[("records", in_week(1, 0), in_week(3, 0))] * 2,
        ("count", in_week(1, 0), in_week(3, 0)),
    ]


@pytest.mark.parametrize("error", [TransientError("the service is down"), PermanentError("the service makes no sense")])
@pytest.mark.parametrize("poisoned", [1, 2, 3, 4, 6])
def test_a_poisoned_window_fails_alone(world: World, poisoned: int, error: BackfillError) -> None:
    records = tickets_in(1, 2, 3, 4, 5, 6)
    source = world.add("acme", {TICKETS.name: records})
    source.fail(TICKETS.name, in_week(poisoned, 3), in_week(poisoned, 4), error)
    outcomes = world.fill(weeks(1, 6), days=28)
    expected = [(w.key, str(error) if w == week(poisoned) else "done") for w in weeks(1, 6)]
    assert told(outcomes) == expected
    assert world.stored() == [v for v in versions_of(records) if not week(poisoned).start <= v[1] < week(poisoned).end]


@pytest.mark.parametrize(
    "error",
    [
        CredentialRefused("the key was refused"),
        RateLimited("too many requests", retry_after=600),
    ],
)
def test_what_every_request_would_meet_ends_it_at_once(world: World, error: BackfillError) -> None:
    source = world.add("acme", {TICKETS.name: tickets_in(1, 2, 3, 4)})
    source.fail(TICKETS.name, in_week(3, 3), in_week(3, 4), error)
    outcomes = world.fill(weeks(1, 8))
    assert told(outcomes) == [(w.key, "done" if w < week(3) else str(error)) for w in weeks(1, 8)]
    assert [r.start for r in source.requests].count(in_week(3, 0)) == 1
    assert max(r.start for r in source.requests) == in_week(3, 0)


def test_when_the_source_fails_even_a_check_a_chunk_gets_three_more_tries_and_the_rest_none(world: World) -> None:
    class Down(type(world.add("acme"))):  # type: ignore[misc]
        def check(self) -> str:
            raise TransientError("still down")

    source = world.sources["acme"] = Down({TICKETS.name: tickets_in(1, 2, 3, 4)})
    source.fail(TICKETS.name, in_week(3, 3), in_week(3, 4), TransientError("the service is down"))
    outcomes = world.fill(weeks(1, 8))
    assert told(outcomes) == [(w.key, "done" if w < week(3) else "the service is down") for w in weeks(1, 8)]
    assert [r.start for r in source.requests].count(in_week(3, 0)) == 4
    assert world.pauses == [1.0, 2.0, 4.0]
    assert max(r.start for r in source.requests) == in_week(3, 0)


def test_a_window_that_will_never_work_asks_for_no_check(world: World) -> None:
    class Unchecked(type(world.add("acme"))):  # type: ignore[misc]
        def check(self) -> str:
            raise TransientError("not to be asked")

    source = world.sources["acme"] = Unchecked({TICKETS.name: tickets_in(1, 2, 3, 4)})
    source.fail(TICKETS.name, in_week(3, 3), in_week(3, 4), PermanentError("makes no sense"))
    assert [reason for _, reason in told(world.fill(weeks(1, 4)))] == ["done", "done", "makes no sense", "done"]


def test_a_refusal_inside_a_halved_chunk_ends_all_the_rest_in_order(world: World) -> None:
    source = world.add("acme", {TICKETS.name: tickets_in(1, 2, 3, 4)})
    source.fail(TICKETS.name, in_week(1, 3), in_week(1, 4), TransientError("hiccup"))
    source.fail(TICKETS.name, in_week(3, 3), in_week(3, 4), CredentialRefused("the key was refused"))
    outcomes = world.fill(weeks(1, 6), days=14)
    assert told(outcomes) == [
        (week(1).key, "hiccup"),
        (week(2).key, "done"),
        *((w.key, "the key was refused") for w in weeks(3, 6)),
    ]


def test_a_lake_that_cannot_be_written_fails_the_window_with_the_path(world: World) -> None:
    world.add("acme", {TICKETS.name: tickets_in(1, 2, each=1)})
    world.fill(weeks(1, 1))
    [path] = world.files()
    path.write_bytes(b"no parquet")
    first, second = world.fill(weeks(1, 2))
    assert isinstance(first, WindowFailed)
    assert path.name in first.reason
    assert isinstance(second, WindowDone)


def test_a_repeat_writes_nothing_and_tells_the_same(world: World) -> None:
    world.add("acme", {TICKETS.name: tickets_in(0, 1, 2)})
    first = done(world.fill(weeks(0, 3)))
    files = world.files()
    world.now = NOW + WEEK
    again = done(world.fill(weeks(0, 3), days=7, run_id="run 2"))
    assert world.files() == files
    assert [(o.window, o.rows, o.bytes, o.complete) for o in again] == [
        (o.window, o.rows, o.bytes, o.complete) for o in first
    ]


def test_a_record_that_has_moved_to_a_later_day_does_not_vanish_from_history(world: World) -> None:
    source = world.add("acme", {TICKETS.name: [ticket(1, in_week(1))]})
    world.fill(weeks(1, 2))
    source.tables = {TICKETS.name: [ticket(1, in_week(2))]}
    world.fill(weeks(1, 2), run_id="run 2")
    assert world.stored() == [(1, in_week(1)), (1, in_week(2))]


def test_a_record_older_than_history_lands_in_the_first_window_and_on_its_own_day(world: World) -> None:
    old = FIRST - timedelta(days=900)
    world.add("acme", {TICKETS.name: [ticket(1, old), ticket(2, in_week(0))]})
    [outcome] = done(world.fill([week(0)]))
    assert (outcome.rows, outcome.source_rows, outcome.chunk_days) == (2, 2, 7)
    assert world.stored() == [(1, old), (2, in_week(0))]
    assert sorted(path.name[:10] for path in world.files()) == [old.date().isoformat(), "2023-12-31"]
    assert outcome.bytes == sum(len(content) for _, content in world.files().values())


@pytest.mark.parametrize(
    ("after_its_end", "complete"),
    [
        (-WEEK, False),
        (-timedelta(microseconds=1), False),
        (timedelta(0), False),
        (SETTLING - timedelta(microseconds=1), False),
        (SETTLING, True),
        (WEEK, True),
    ],
)
def test_a_window_is_complete_only_when_it_has_settled(world: World, after_its_end: timedelta, complete: bool) -> None:
    world.add("acme", {TICKETS.name: tickets_in(10, 11, each=1)})
    world.now = week(11).end + after_its_end
    # The one before ends at the very moment at which the last one begins.
    before = week(10).end + SETTLING <= world.now
    assert [o.complete for o in done(world.fill(weeks(10, 11)))] == [before, complete]


def test_a_service_that_ignores_the_range_fails_the_window_and_names_the_record(world: World) -> None:
    class Ignoring(type(world.add("acme"))):  # type: ignore[misc]
        def records(self, *_: Any) -> Any:
            return iter([[ticket(7, in_week(5))]])

    world.sources["acme"] = Ignoring({TICKETS.name: []})
    [outcome] = world.fill([week(1)])
    assert isinstance(outcome, WindowFailed)
    assert "returned record 7 of service/tickets for acme" in outcome.reason
    assert "incremental_field" in outcome.reason
    assert world.files() == {}


def test_an_error_that_is_not_ours_is_not_swallowed(world: World) -> None:
    source = world.add("acme", {TICKETS.name: tickets_in(1)})
    source.fail(TICKETS.name, in_week(1, 0), in_week(2, 0), ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        world.fill([week(1)])


def test_nothing_of_a_failed_read_is_stored(world: World) -> None:
    class Uncounted(type(world.add("acme"))):  # type: ignore[misc]
        def count(self, *_: Any) -> int:
            raise UnexpectedResponse("no count")

    world.sources["acme"] = Uncounted({TICKETS.name: tickets_in(1)})
    assert told(world.fill([week(1)])) == [(week(1).key, "no count")]
    assert world.files() == {}
