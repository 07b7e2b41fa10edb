"""The computed data set: ids, moments, sizes, and that equal seeds give equal records."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from backfill_assets.sandbox.accounts import ACCOUNTS
from backfill_assets.sandbox.connectwise.account import RECORDS_A_DAY
from backfill_assets.sandbox.dataset import DAY, TENANTS, Shuffle, Timeline, as_moment, as_text
from backfill_assets.sandbox.server import SandboxConfig
from backfill_assets.sandbox.table import IdCache
from backfill_assets_tests.sandbox.worlds import table_of, world_of

SINCE = datetime(2023, 1, 1, tzinfo=UTC)
UNTIL = datetime(2025, 6, 30, 15, 30, tzinfo=UTC)
FOUR_TABLES = ("service/tickets", "time/entries", "company/companies", "company/contacts")


def timeline(key: str = "a", *, per_day: float = 20, until: datetime = UNTIL) -> Timeline:
    return Timeline(key, per_day=per_day, since=SINCE, until=until)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 100, 1023, 5000])
def test_a_shuffle_is_a_permutation_that_can_be_undone(size: int) -> None:
    shuffle = Shuffle("key", size)
    forward = [shuffle.forward(value) for value in range(size)]
    assert sorted(forward) == list(range(size))
    assert [shuffle.backward(value) for value in forward] == list(range(size))


def test_ids_are_not_in_the_order_of_time() -> None:
    lines = timeline()
    ids = [lines.record_id(rank) for rank in range(1000)]
    rising = sum(a < b for a, b in pairwise(ids))
    assert 400 < rising < 600


def test_moments_never_go_back_and_stay_within_the_limits() -> None:
    lines = timeline()
    moments = [lines.moment(rank) for rank in range(lines.total)]
    assert moments == sorted(moments)
    assert moments[0] == SINCE.timestamp()
    assert moments[-1] <= UNTIL.timestamp()
    assert moments == [moment for _, moment in lines.every()]


def test_a_day_begins_at_its_first_and_ends_at_its_last_second() -> None:
    lines = timeline()
    by_day: dict[int, list[int]] = {}
    for _, moment in lines.every():
        by_day.setdefault(moment // DAY, []).append(moment % DAY)
    last_day = by_day.pop(int(UNTIL.timestamp()) // DAY)
    assert last_day[0] == 0
    assert all(seconds[0] == 0 and seconds[-1] == DAY - 1 for seconds in by_day.values() if len(seconds) > 1)


@pytest.mark.parametrize("offset", [-1, 0, 1, 3600, DAY - 1, DAY, DAY + 1])
def test_ranks_are_found_by_time_to_the_second(offset: int) -> None:
    lines = timeline()
    moment = int(datetime(2024, 3, 4, tzinfo=UTC).timestamp()) + offset
    assert lines.rank_at(moment) == sum(found < moment for _, found in lines.every())


def test_a_record_exactly_at_until_is_the_last_one() -> None:
    whole = timeline()
    at = whole.moment(5000)
    cut = timeline(until=datetime.fromtimestamp(at, UTC))
    assert cut.moment(cut.total - 1) == at
    assert whole.moment(cut.total) > at


def test_a_later_until_in_the_same_year_only_adds_records() -> None:
    early, late = timeline(until=UNTIL - timedelta(days=90)), timeline()
    assert early.total < late.total
    assert [early.record_id(rank) for rank in range(early.total)] == [
        late.record_id(rank) for rank in range(early.total)
    ]


def test_an_id_beyond_until_has_no_rank() -> None:
    lines = timeline()
    ids = {lines.record_id(rank) for rank in range(lines.total)}
    absent = [number for number in range(lines.capacity + 2) if number not in ids]
    assert {lines.rank(number) for number in absent} == {None}


def test_a_table_with_few_records_has_empty_days() -> None:
    lines = timeline(per_day=0.4)
    days = {moment // DAY for _, moment in lines.every()}
    assert 0 < len(days) < (UNTIL - SINCE).days * 0.6


def test_weekends_bring_fewer_records_than_workdays() -> None:
    lines = timeline()
    monday = int(datetime(2024, 3, 4, tzinfo=UTC).timestamp())
    ranks = [lines.rank_at(monday + day * DAY) for day in range(7 * 52 + 1)]
    per_day = [b - a for a, b in pairwise(ranks)]
    assert sum(per_day[5::7]) < 0.6 * sum(per_day[0::7])


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_two_years_hold_at_least_24000_records(seed: int) -> None:
    until = datetime(2025, 6, 30, 15, 30, tzinfo=UTC)
    world = world_of(SandboxConfig(seed=seed, until=until))
    start = int((until - timedelta(days=730)).timestamp())
    sizes = {
        tenant: [
            timeline.total - timeline.rank_at(start)
            for timeline in (table_of(world, tenant, name).timeline for name in FOUR_TABLES)
        ]
        for tenant in TENANTS
    }
    assert 24_000 <= sum(map(sum, sizes.values())) < 730 * RECORDS_A_DAY * 1.1
    assert sum(sizes["acme"]) > sum(sizes["globex"]) > sum(sizes["initech"])
    assert all(tickets > entries > contacts > companies for tickets, entries, companies, contacts in sizes.values())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_histories_that_are_looked_back_on_hold_at_least_60000_records(seed: int) -> None:
    until = datetime(2026, 6, 30, 15, 30, tzinfo=UTC)
    world = world_of(SandboxConfig(seed=seed, until=until))
    lookbacks = {"connectwise": 730, "servicenow": 365, "salesforce": 1095}
    starts = {service: int((until - timedelta(days=days)).timestamp()) for service, days in lookbacks.items()}
    sizes = [
        table.timeline.total - table.timeline.rank_at(start)
        for service, start in starts.items()
        for tenant in TENANTS
        for table in (world.tables(service, tenant) or {}).values()
    ]
    assert len(sizes) == 3 * (4 + 6 + 5)
    assert min(sizes) > 100
    assert 60_000 <= sum(sizes) < 80_000


def test_equal_seeds_give_equal_records_and_other_seeds_others() -> None:
    def some(seed: int) -> list[object]:
        world = world_of(SandboxConfig(seed=seed, until=UNTIL))
        held = [table for service in ACCOUNTS for table in (world.tables(service, "globex") or {}).values()]
        return [[table.get(record_id) for record_id in range(1, 200)] for table in held]

    first, again, other = some(1), some(1), some(2)
    assert first == again
    assert all(one != two for one, two in zip(first, other, strict=True))


def test_tenants_hold_different_records() -> None:
    world = world_of(SandboxConfig(until=UNTIL))
    globex, initech = (table_of(world, tenant, "service/tickets") for tenant in ("globex", "initech"))
    assert [globex.get(number) for number in range(1, 50)] != [initech.get(number) for number in range(1, 50)]


def test_the_cache_of_sorted_ids_never_holds_more_than_its_limit() -> None:
    lines, cache = timeline(), IdCache(limit=1000)
    for first in range(0, 3000, 50):
        assert list(cache.ids(lines, first, first + 300)) == sorted(map(lines.record_id, range(first, first + 300)))
        assert cache.held <= 1000
    assert cache.ids(lines, 2950, 3250) is cache.ids(lines, 2950, 3250)


def test_texts_and_moments_are_the_same_thing() -> None:
    assert as_text(1_704_585_600) == "2024-01-07T00:00:00Z"
    assert as_moment("2024-01-07T00:00:00Z") == as_moment("2024-01-07") == as_moment("2024-01-07T01:00:00+01:00")
