"""What every `RecordSource` keeps: played on the in-memory twin and on each client over real HTTP."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from backfill_assets.adapters.rest.paging import field_at, version_of
from backfill_assets.core.source import FETCHED_AT_ONCE, Record
from backfill_assets.errors import NoSuchTable
from backfill_assets_tests.adapters.rest.stands import (
    CLIENTS,
    PAGE_SIZE,
    SINCE,
    UNTIL,
    Held,
    Identified,
    MemoryStand,
    SandboxStand,
    Stand,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
START, END = SINCE + timedelta(days=5), SINCE + timedelta(days=33)
SECOND = timedelta(seconds=1)


@pytest.fixture(params=["memory", *CLIENTS])
def stand(request: pytest.FixtureRequest) -> Iterator[Stand]:
    if request.param == "memory":
        stand: Stand = MemoryStand()
    else:
        stand = SandboxStand(request.getfixturevalue("sandbox"), CLIENTS[request.param])
    yield stand
    stand.source.close()


def identified(stand: Stand, record: Record) -> Identified:
    version = version_of(record, stand.table)
    assert version is not None
    return field_at(record, stand.table.id_field), version


def read(stand: Stand, start: datetime, end: datetime) -> list[Identified]:
    found = [identified(stand, record) for page in stand.source.records(stand.table, start, end) for record in page]
    return found if stand.order else sorted(found)


def within(stand: Stand, held: Held, start: datetime, end: datetime) -> list[Identified]:
    return stand.in_order([(key, version) for key, version in held.items() if start <= version < end])


def ids(found: list[Identified]) -> list[Any]:
    return [key for key, _ in found]


def test_yields_every_record_of_the_range_exactly_once_in_pages(stand: Stand) -> None:
    expected = within(stand, stand.truth(), START, END)
    assert len(expected) > 5 * PAGE_SIZE
    assert read(stand, START, END) == expected
    assert all(len(page) <= PAGE_SIZE for page in stand.source.records(stand.table, START, END))


def test_identities_are_those_of_the_records(stand: Stand) -> None:
    pages = list(stand.source.identities(stand.table, START, END))
    assert len(pages) > 5
    assert stand.in_order([x for page in pages for x in page]) == within(stand, stand.truth(), START, END)


def test_the_count_agrees_with_what_is_read(stand: Stand) -> None:
    expected = within(stand, stand.truth(), START, END)
    assert stand.source.count(stand.table, START, END) == len(expected)


def test_fetches_records_by_their_ids_as_they_are_now(stand: Stand) -> None:
    expected = dict(within(stand, stand.truth(), START, END)[: 2 * PAGE_SIZE])
    [moved, *others] = expected
    stand.move(moved, UNTIL - SECOND)
    found = stand.source.fetch(stand.table, [*reversed(others), stand.absent, moved])
    assert dict(identified(stand, record) for record in found) == {**expected, moved: UNTIL - SECOND}
    assert len(found) == len(expected)


def test_a_fetched_record_is_the_same_as_a_read_one(stand: Stand) -> None:
    pages = stand.source.records(stand.table, START, END)
    records = {field_at(record, stand.table.id_field): record for page in pages for record in page}
    wanted = list(records)[:20]
    fetched = stand.source.fetch(stand.table, wanted)
    assert {field_at(record, stand.table.id_field): record for record in fetched} == {
        key: records[key] for key in wanted
    }


def test_as_many_as_are_allowed_can_be_fetched_at_once_and_none_at_all(stand: Stand) -> None:
    wanted = sorted(stand.truth())[:FETCHED_AT_ONCE]
    assert len(wanted) == FETCHED_AT_ONCE
    assert len(stand.source.fetch(stand.table, wanted)) == FETCHED_AT_ONCE
    assert list(stand.source.fetch(stand.table, [])) == []
    assert list(stand.source.fetch(stand.table, [stand.absent])) == []


def test_a_range_that_ends_exactly_on_a_full_page_is_read_once(stand: Stand) -> None:
    versions = sorted(stand.truth().values())
    start, end = versions[0], versions[2 * PAGE_SIZE]
    expected = within(stand, stand.truth(), start, end)
    assert len(expected) == 2 * PAGE_SIZE
    assert read(stand, start, end) == expected


def test_the_start_is_inclusive_and_the_end_exclusive(stand: Stand) -> None:
    key, version = within(stand, stand.truth(), START, END)[3]
    assert (key, version) in read(stand, version, version + SECOND)
    assert (key, version) not in read(stand, version - SECOND, version)
    assert (key, version) not in read(stand, version + SECOND, version + 2 * SECOND)


@pytest.mark.parametrize("fraction", [0, 1, 500_000, 999_999])
def test_adjacent_ranges_tile_whatever_the_fraction_of_their_common_bound(stand: Stand, fraction: int) -> None:
    version = sorted(version for _, version in within(stand, stand.truth(), START, END))[PAGE_SIZE]
    for middle in (version + timedelta(microseconds=fraction), version - timedelta(microseconds=fraction)):
        parts = read(stand, START, middle) + read(stand, middle, END)
        assert stand.in_order(parts) == within(stand, stand.truth(), START, END)


def test_the_bounds_may_be_in_any_time_zone(stand: Stand) -> None:
    berlin = timezone(timedelta(hours=2))
    expected = within(stand, stand.truth(), START, END)
    assert read(stand, START.astimezone(berlin), END.astimezone(berlin)) == expected


def test_reads_from_the_beginning_of_time(stand: Stand) -> None:
    assert read(stand, EPOCH, END) == within(stand, stand.truth(), EPOCH, END)


def test_many_records_of_one_moment_are_each_read_once(stand: Stand) -> None:
    moment = START + timedelta(days=14)
    crowd = ids(within(stand, stand.truth(), START, moment))[: 3 * PAGE_SIZE + 2]
    for key in crowd:
        stand.move(key, moment)
    expected = within(stand, stand.truth(), START, END)
    assert sum(version == moment for _, version in expected) >= len(crowd) > 2 * PAGE_SIZE
    assert read(stand, START, END) == expected


def test_a_range_without_records_yields_no_page(stand: Stand) -> None:
    assert list(stand.source.records(stand.table, EPOCH, SINCE)) == []
    assert stand.source.count(stand.table, EPOCH, SINCE) == 0


def test_a_range_of_no_length_yields_no_page(stand: Stand) -> None:
    assert list(stand.source.records(stand.table, START, START)) == []
    assert stand.source.count(stand.table, START, START) == 0


def test_a_record_that_leaves_the_range_between_pages_loses_nobody_else(stand: Stand) -> None:
    expected = within(stand, stand.truth(), START, END)
    pages = stand.source.records(stand.table, START, END)
    first = [identified(stand, record) for record in next(pages)]
    # Under paging by offset, each of these moves would pull one record that is yet to be read onto a page already read.
    for key in ids(first)[:3]:
        stand.move(key, UNTIL - SECOND)
    rest = [identified(stand, record) for page in pages for record in page]
    assert (first + rest if stand.order else stand.in_order(first + rest)) == expected


def test_a_record_that_leaves_before_it_is_read_is_the_only_one_that_may_be_missing(stand: Stand) -> None:
    expected = within(stand, stand.truth(), START, END)
    pages = stand.source.records(stand.table, START, END)
    first = [identified(stand, record) for record in next(pages)]
    leaver = next(found for found in reversed(expected) if found not in first)
    stand.move(leaver[0], UNTIL - SECOND)
    found = first + [identified(stand, record) for page in pages for record in page]
    # A bulk job holds what it found when it began.
    assert stand.in_order(found) in (expected, [each for each in expected if each != leaver])


def test_an_unknown_table_is_an_error_that_names_it_and_not_an_empty_one(stand: Stand) -> None:
    unknown = replace(stand.table, name="unicorns")
    with pytest.raises(NoSuchTable, match="has no table unicorns"):
        list(stand.source.records(unknown, START, END))
    with pytest.raises(NoSuchTable, match="has no table unicorns"):
        list(stand.source.identities(unknown, START, END))
    with pytest.raises(NoSuchTable, match="has no table unicorns"):
        stand.source.count(unknown, START, END)


def test_naive_bounds_are_refused_before_anything_is_asked(stand: Stand) -> None:
    naive = START.replace(tzinfo=None)
    with pytest.raises(ValueError, match="aware"):
        stand.source.records(stand.table, naive, END)
    with pytest.raises(ValueError, match="aware"):
        stand.source.identities(stand.table, naive, END)
    with pytest.raises(ValueError, match="aware"):
        stand.source.count(stand.table, START, naive)


def test_bounds_the_wrong_way_round_are_refused(stand: Stand) -> None:
    with pytest.raises(ValueError, match="before it starts"):
        stand.source.records(stand.table, END, START)


def test_check_tells_in_words_what_answered(stand: Stand) -> None:
    assert stand.source.check()
