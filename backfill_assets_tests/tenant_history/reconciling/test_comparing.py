"""What counts as a difference between the lake and its source, and how few requests it takes to find."""

from collections.abc import Callable
from datetime import datetime, timedelta
from math import log2
from pathlib import Path
from random import Random

import pytest

from backfill_assets.errors import UnexpectedResponse
from backfill_assets_tests.tenant_history.reconciling.comparing import TAIL, Sides, sides
from backfill_assets_tests.tenant_history.worlds import FIRST, NOW, TICKETS, in_week, ticket, week

SPAN = int((TAIL - FIRST).total_seconds())

Identities = list[tuple[int, datetime]]


def evenly(random: Random, number: int) -> Identities:
    return [(n, FIRST + timedelta(seconds=SPAN * n // number)) for n in range(number)]


def anywhere(random: Random, number: int) -> Identities:
    return [(n, FIRST + timedelta(microseconds=random.randrange(SPAN * 10**6))) for n in range(number)]


def in_bursts(random: Random, number: int) -> Identities:
    """As after bulk changes: many records in the same second, few elsewhere."""
    bursts = [FIRST + timedelta(seconds=random.randrange(SPAN)) for _ in range(3)]
    return [(n, random.choice(bursts) if random.random() < 0.7 else moment) for n, moment in anywhere(random, number)]


def at_one_end(random: Random, number: int) -> Identities:
    return [(n, FIRST + timedelta(seconds=int(SPAN * random.random() ** 40))) for n in range(number)]


def in_one_second(random: Random, number: int) -> Identities:
    return [(n, in_week(5)) for n in range(number)]


SHAPES = [evenly, anywhere, in_bursts, at_one_end, in_one_second]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(12))
def test_one_missing_id_is_found_with_few_count_requests(
    shape: Callable[[Random, int], Identities], seed: int, tmp_path: Path
) -> None:
    random = Random(seed)
    number = random.choice([20, 100, 1000, 3000])
    held = shape(random, number)
    missing = random.choice(held)
    both = sides(tmp_path, stored=[one for one in held if one != missing], held=held)
    compared = both.compare()
    assert [(m.record_id, m.version) for m in compared.missing] == [(str(missing[0]), missing[1])]
    assert (compared.source_records, compared.lake_records) == (number, number - 1)
    assert (compared.gone, compared.unexplained) == ((), 0)
    assert both.counts == compared.count_requests <= 2 * log2(number)


def test_equal_sides_take_one_count(tmp_path: Path) -> None:
    held = evenly(Random(1), 500)
    both = sides(tmp_path, stored=held, held=held)
    compared = both.compare()
    assert (compared.missing, compared.gone, compared.count_requests) == ((), (), 1)


def test_many_differences_of_all_kinds_are_all_found(tmp_path: Path) -> None:
    random = Random(7)
    held = anywhere(random, 800)
    missing = random.sample(held, 30)
    gone = [(9000 + n, moment) for n, (_, moment) in enumerate(random.sample(held, 9))]
    both = sides(tmp_path, stored=[*(one for one in held if one not in missing), *gone], held=held)
    compared = both.compare()
    assert {int(m.record_id) for m in compared.missing} == {key for key, _ in missing}
    assert set(compared.gone) == {str(key) for key, _ in gone}
    assert compared.unexplained == 0


def test_an_older_version_in_the_lake_is_not_the_one_that_the_source_holds(tmp_path: Path) -> None:
    both = sides(tmp_path, stored=[(1, in_week(1)), (2, in_week(2))], held=[(1, in_week(4)), (2, in_week(2))])
    [missing] = both.compare(suspects=(week(4),)).missing
    assert (missing.record_id, missing.version) == ("1", in_week(4))


def test_only_the_newest_version_of_an_id_is_compared(tmp_path: Path) -> None:
    both = sides(tmp_path, stored=[(1, in_week(n)) for n in range(6)], held=[(1, in_week(5))])
    assert both.compare().count_requests == 1


def test_what_has_moved_on_is_left_to_incremental_sync(tmp_path: Path) -> None:
    held = evenly(Random(1), 50)
    moved = [(key, TAIL + timedelta(minutes=key)) for key, _ in held[:20]]
    both = sides(tmp_path, stored=held, held=[*moved, *held[20:]])
    compared = both.compare()
    assert (compared.missing, compared.gone, compared.unexplained) == ((), (), 0)
    assert (compared.source_records, compared.lake_records) == (30, 30)


def test_a_record_that_was_deleted_is_not_called_gone(tmp_path: Path) -> None:
    held = evenly(Random(1), 50)
    both = sides(tmp_path, stored=[*held, (77, in_week(2), False), (77, in_week(3), True), (78, in_week(3))], held=held)
    assert both.compare().gone == ("78",)


def test_a_missing_record_that_cannot_be_sent_is_missing_all_the_same(tmp_path: Path) -> None:
    held = evenly(Random(1), 50)
    both = sides(tmp_path, stored=held[1:], held=held)
    both.source.poison(TICKETS.name, 0, UnexpectedResponse("no JSON"))
    assert [m.record_id for m in both.compare().missing] == ["0"]


def test_a_missing_and_a_gone_record_hide_each_other_but_not_where_a_window_is_known_to_be_short(
    tmp_path: Path,
) -> None:
    """The known limit: their number is equal."""
    held = evenly(Random(1), 50)
    stored = [*held[1:], (99, held[1][1])]
    assert sides(tmp_path, stored=stored, held=held).compare().missing == ()
    compared = sides(tmp_path, stored=stored, held=held).compare(suspects=(week(0),))
    assert ([m.record_id for m in compared.missing], compared.gone) == (["0"], ("99",))
    compared = sides(tmp_path, stored=stored, held=held).compare(is_thorough=True)
    assert ([m.record_id for m in compared.missing], compared.gone) == (["0"], ("99",))


def test_what_the_source_counts_and_never_shows_is_told_as_unexplained(tmp_path: Path) -> None:
    held = evenly(Random(1), 50)
    both = sides(tmp_path, stored=held, held=held)
    both.source.tables = {TICKETS.name: [*both.source.tables[TICKETS.name], {"id": 99, "_info": {"lastUpdated": "?"}}]}
    assert both.compare().unexplained == 1


def change_one(random: Random, both: Sides) -> None:
    """A record changes, and now and then one is made."""
    both.world.now += timedelta(seconds=1)
    records = list(both.source.tables[TICKETS.name])
    place = random.randrange(len(records))
    records[place] = ticket(records[place]["id"], both.world.now)
    if random.random() < 0.3:
        records.append(ticket(10_000 + len(both.source.requests), both.world.now))
    both.source.tables = {TICKETS.name: records}


@pytest.mark.parametrize("seed", range(60))
def test_a_source_that_changes_meanwhile_gives_no_false_alarm(seed: int, tmp_path: Path) -> None:
    random = Random(seed)
    held = anywhere(random, 300)
    missing = random.sample(held, seed % 3)
    both = sides(tmp_path, stored=[one for one in held if one not in missing], held=held)
    serve = both.source._serve
    chance = random.choice([0.1, 0.5, 1.0])

    def busy(*asked: object) -> object:
        if random.random() < chance:
            change_one(random, both)
        return serve(*asked)  # type: ignore[arg-type]

    both.source._serve = busy  # type: ignore[assignment, method-assign]
    compared = both.compare(few=4)
    still = {r["id"] for r in both.source.tables[TICKETS.name] if r["_info"]["lastUpdated"] < TAIL.isoformat()}
    assert {int(m.record_id) for m in compared.missing} <= {key for key, _ in missing}
    assert {int(m.record_id) for m in compared.missing} >= {key for key, _ in missing} & still
    assert (compared.gone, compared.unexplained) == ((), 0)


def test_what_is_newer_than_our_clock_is_in_the_tail(tmp_path: Path) -> None:
    both = sides(tmp_path, stored=[(1, in_week(1))], held=[(1, NOW + timedelta(minutes=3))])
    assert both.compare().gone == ()
