"""What every `RecordSource` keeps: played on the in-memory twin and on the ConnectWise client over real HTTP."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest

from backfill_assets.adapters.rest.connectwise_tables import TICKETS
from backfill_assets.adapters.rest.paging import version_of
from backfill_assets.core.source import RecordSource, TableSpec
from backfill_assets.errors import UnexpectedResponse
from backfill_assets_tests.adapters.rest.stands import PAGE_SIZE, SINCE, UNTIL, Held, MemoryStand, SandboxStand, Stand

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
START, END = SINCE + timedelta(days=5), SINCE + timedelta(days=33)
SECOND = timedelta(seconds=1)
UNKNOWN = TableSpec(name="service/unicorns", version_field="_info/lastUpdated", incremental_field="lastUpdated")


@pytest.fixture(params=["memory", "connectwise"])
def stand(request: pytest.FixtureRequest) -> Iterator[Stand]:
    stand: Stand = MemoryStand() if request.param == "memory" else SandboxStand(request.getfixturevalue("sandbox"))
    yield stand
    stand.source.close()


def read(source: RecordSource, start: datetime, end: datetime) -> list[tuple[int, datetime | None]]:
    return [
        (record["id"], version_of(record, TICKETS)) for page in source.records(TICKETS, start, end) for record in page
    ]


def within(held: Held, start: datetime, end: datetime) -> list[tuple[int, datetime]]:
    return sorted((key, version) for key, version in held.items() if start <= version < end)


def test_yields_every_record_of_the_range_exactly_once_in_pages(stand: Stand) -> None:
    expected = within(stand.truth(), START, END)
    assert len(expected) > 5 * PAGE_SIZE
    assert read(stand.source, START, END) == expected
    assert all(len(page) <= PAGE_SIZE for page in stand.source.records(TICKETS, START, END))


def test_the_count_agrees_with_what_is_read(stand: Stand) -> None:
    assert stand.source.count(TICKETS, START, END) == len(within(stand.truth(), START, END))


def test_a_range_that_ends_exactly_on_a_full_page_is_read_once(stand: Stand) -> None:
    versions = sorted(stand.truth().values())
    start, end = versions[0], versions[2 * PAGE_SIZE]
    expected = within(stand.truth(), start, end)
    assert len(expected) == 2 * PAGE_SIZE
    assert read(stand.source, start, end) == expected


def test_the_start_is_inclusive_and_the_end_exclusive(stand: Stand) -> None:
    key, version = within(stand.truth(), START, END)[3]
    assert (key, version) in read(stand.source, version, version + SECOND)
    assert (key, version) not in read(stand.source, version - SECOND, version)
    assert (key, version) not in read(stand.source, version + SECOND, version + 2 * SECOND)


@pytest.mark.parametrize("fraction", [0, 1, 500_000, 999_999])
def test_adjacent_ranges_tile_whatever_the_fraction_of_their_common_bound(stand: Stand, fraction: int) -> None:
    version = sorted(version for _, version in within(stand.truth(), START, END))[PAGE_SIZE]
    for middle in (version + timedelta(microseconds=fraction), version - timedelta(microseconds=fraction)):
        parts = read(stand.source, START, middle) + read(stand.source, middle, END)
        assert sorted(parts, key=lambda part: part[0]) == within(stand.truth(), START, END)


def test_the_bounds_may_be_in_any_time_zone(stand: Stand) -> None:
    berlin = timezone(timedelta(hours=2))
    assert read(stand.source, START.astimezone(berlin), END.astimezone(berlin)) == within(stand.truth(), START, END)


def test_reads_from_the_beginning_of_time(stand: Stand) -> None:
    assert read(stand.source, EPOCH, END) == within(stand.truth(), EPOCH, END)


def test_a_range_without_records_yields_no_page(stand: Stand) -> None:
    assert list(stand.source.records(TICKETS, EPOCH, SINCE)) == []
    assert stand.source.count(TICKETS, EPOCH, SINCE) == 0


def test_a_range_of_no_length_yields_no_page(stand: Stand) -> None:
    assert list(stand.source.records(TICKETS, START, START)) == []
    assert stand.source.count(TICKETS, START, START) == 0


def test_a_record_that_leaves_the_range_between_pages_loses_nobody_else(stand: Stand) -> None:
    expected = within(stand.truth(), START, END)
    pages = stand.source.records(TICKETS, START, END)
    first = [record["id"] for record in next(pages)]
    # Under paging by offset, each of these moves would pull one record that is yet to be read onto a page already read.
    for key in first[:3]:
        stand.move(key, UNTIL - SECOND)
    rest = [record["id"] for page in pages for record in page]
    assert first + rest == [key for key, _ in expected]


def test_a_record_that_leaves_before_it_is_read_is_the_only_one_missing(stand: Stand) -> None:
    expected = [key for key, _ in within(stand.truth(), START, END)]
    pages = stand.source.records(TICKETS, START, END)
    first = [record["id"] for record in next(pages)]
    stand.move(expected[-1], UNTIL - SECOND)
    assert first + [record["id"] for page in pages for record in page] == expected[:-1]


def test_an_unknown_table_is_an_error_that_names_it_and_not_an_empty_one(stand: Stand) -> None:
    with pytest.raises(UnexpectedResponse, match="has no table service/unicorns"):
        list(stand.source.records(UNKNOWN, START, END))
    with pytest.raises(UnexpectedResponse, match="has no table service/unicorns"):
        stand.source.count(UNKNOWN, START, END)


def test_naive_bounds_are_refused_before_anything_is_asked(stand: Stand) -> None:
    naive = START.replace(tzinfo=None)
    with pytest.raises(ValueError, match="aware"):
        stand.source.records(TICKETS, naive, END)
    with pytest.raises(ValueError, match="aware"):
        stand.source.count(TICKETS, START, naive)


def test_bounds_the_wrong_way_round_are_refused(stand: Stand) -> None:
    with pytest.raises(ValueError, match="before it starts"):
        stand.source.records(TICKETS, END, START)


def test_check_tells_in_words_what_answered(stand: Stand) -> None:
    assert stand.source.check()
