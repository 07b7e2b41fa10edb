"""What of a table is in the lake, told from its certificates: no gap is overlooked, and none is invented."""

from dataclasses import replace
from datetime import datetime, timedelta

import dagster as dg
import pytest

from backfill_assets.core.certificates import Certificate
from backfill_assets.core.handoff import Handoff, watermark
from backfill_assets.core.windows import BEGINNING
from backfill_assets.tenant_history.checks import SHOWN_TENANTS, STALE, completeness_check
from backfill_assets.tenant_history.completeness import (
    covered_from,
    expected_windows,
    gap_free_until,
    missing_windows,
    overlap_of,
    reads_again_from,
    shortfalls,
    told,
    watermark_of,
)
from backfill_assets.tenant_history.plan import calendar_of
from backfill_assets.tenant_history.reading import SETTLING
from backfill_assets_tests.tenant_history.worlds import DESK, NOTES, TICKETS, World, in_week, week, weeks

CALENDAR = calendar_of(DESK)
MINUTE = timedelta(minutes=1)


def handoff(first: int = 2, last: int | None = 5, tenant: str = "acme", hours: float = 1) -> Handoff:
    """A history that begins at one window, and whose newest reading began in another."""
    return Handoff(
        tenant=tenant,
        service=DESK.name,
        table=TICKETS.name,
        history_from=week(first).start,
        first_request_at=None if last is None else in_week(last, hours),
    )


def certificate(number: int, tenant: str = "acme", **said: object) -> Certificate:
    """One that says that all of a window is there, unless told otherwise."""
    whole = Certificate(
        tenant=tenant,
        service=DESK.name,
        table=TICKETS.name,
        window=week(number).key,
        source_rows=10,
        rows_rejected=0,
        stored_rows=10,
        stored_ids=10,
        identity_digest="",
        content_digest="",
        began_at=in_week(number + 1),
        taken_at=in_week(number + 1),
        is_settled=True,
        code_version="1",
    )
    return replace(whole, **said)  # type: ignore[arg-type]


def certificates(*numbers: int) -> list[Certificate]:
    return [certificate(number) for number in numbers]


def short(number: int, tenant: str = "acme", rows: int = 3) -> Certificate:
    return certificate(number, tenant, stored_ids=10 - rows)


def test_windows_are_expected_from_the_beginning_of_history_to_the_newest_reading() -> None:
    assert expected_windows(handoff(2, 5), CALENDAR) == weeks(2, 5)
    assert expected_windows(handoff(0, 0), CALENDAR) == [week(0)]


def test_a_reading_that_began_as_a_window_did_is_expected_to_have_read_that_window() -> None:
    assert expected_windows(handoff(2, 5, hours=0), CALENDAR) == weeks(2, 5)


def test_of_a_table_that_was_never_read_its_first_window_is_expected() -> None:
    assert expected_windows(handoff(2, None), CALENDAR) == [week(2)]
    assert missing_windows(handoff(2, None), CALENDAR, set()) == [week(2)]


def test_windows_in_the_future_were_asked_for_and_are_no_gap() -> None:
    assert expected_windows(handoff(5, 2), CALENDAR) == [week(5)]


def test_a_window_without_a_certificate_is_missing_wherever_it_lies() -> None:
    keys = {week(number).key for number in (1, 3, 4, 6)}
    assert missing_windows(handoff(2, 5), CALENDAR, keys) == [week(2), week(5)]
    assert missing_windows(handoff(3, 4), CALENDAR, keys) == [week(5)], (
        "one that is newer was read, so it was asked for"
    )
    assert missing_windows(handoff(3, 4), CALENDAR, keys - {week(6).key}) == []


@pytest.mark.parametrize(
    ("held", "until"),
    [
        ([], 2),
        (certificates(2, 3, 4, 5), 6),
        (certificates(5, 4, 3, 2), 6),
        (certificates(2, 3), 4),
        (certificates(2, 4, 5), 3),
        (certificates(3, 4, 5), 2),
        (certificates(0, 1), 2),
        ([certificate(2), short(3), certificate(4)], 3),
        ([certificate(2), certificate(3, is_settled=False), certificate(4)], 3),
        ([certificate(2), certificate(3, source_rows=12, rows_rejected=2), certificate(4)], 5),
        ([certificate(2), certificate(3, stored_rows=20, stored_ids=12), certificate(4)], 5),
    ],
    ids=[
        "nothing was read",
        "everything was read",
        "in any order",
        "it ends with the newest",
        "a hole",
        "a hole at the beginning",
        "windows before the history",
        "a short window",
        "a window that was not settled",
        "dead letters are no gap",
        "more than the source counts is no gap",
    ],
)
def test_there_is_no_gap_until_the_first_window_that_is_not_completed(held: list[Certificate], until: int) -> None:
    assert gap_free_until(handoff(2, 5), CALENDAR, held) == week(until).start


def test_the_watermark_is_the_earlier_of_the_gap_and_of_the_first_request_less_the_overlap() -> None:
    overlap = timedelta(minutes=15)
    began = in_week(5)
    assert watermark(handoff(2, 5), in_week(3), overlap) == in_week(3)
    assert watermark(handoff(2, 5), in_week(6), overlap) == began - overlap
    assert watermark(handoff(2, 5), began - overlap / 2, overlap) == began - overlap
    assert watermark(handoff(2, None), in_week(3), overlap) is None


def test_the_watermark_of_a_table_takes_its_services_overlap() -> None:
    spec = replace(DESK, overlap_minutes=120)
    whole = certificates(2, 3, 4, 5)
    assert watermark_of(handoff(2, 5, hours=20), spec, CALENDAR, whole) == in_week(5, 18)
    assert watermark_of(handoff(2, 5, hours=20), spec, CALENDAR, whole[:2]) == week(4).start
    assert watermark_of(handoff(2, None), spec, CALENDAR, whole) is None


def test_the_overlap_is_never_shorter_than_windows_take_to_settle() -> None:
    assert overlap_of(replace(DESK, overlap_minutes=1)) == SETTLING
    assert overlap_of(replace(DESK, overlap_minutes=0)) == SETTLING
    assert overlap_of(replace(DESK, overlap_minutes=6)) == 6 * MINUTE > SETTLING


def test_a_table_is_read_again_from_its_first_request_less_the_overlap() -> None:
    assert reads_again_from(handoff(2, 4), DESK) == in_week(4) - 15 * MINUTE
    assert reads_again_from(replace(handoff(2, 4), first_request_at=None), DESK) is None


@pytest.mark.parametrize(
    ("done", "covered"),
    [
        ((), None),
        ((3, 4), None),
        ((5,), week(5).start),
        ((3, 4, 5), week(3).start),
        ((5, 3, 4), week(3).start),
        ((2, 4, 5), week(4).start),
        ((1, 2, 3, 5), week(5).start),
        ((4, 5, 6), week(4).start),
        ((0, 1, 2, 3, 4, 5), BEGINNING),
        ((0, 2, 3, 4, 5), week(2).start),
    ],
)
def test_a_reading_covers_what_lies_without_a_gap_before_the_window_of_now(
    done: tuple[int, ...], covered: datetime | None
) -> None:
    assert covered_from([week(number) for number in done], in_week(5)) == covered


def test_a_reading_that_began_as_its_newest_window_ended_covered_nothing() -> None:
    assert covered_from(weeks(3, 5), week(5).end) is None
    assert covered_from(weeks(3, 5), week(5).start) == week(3).start


def sentences(handoffs: list[Handoff], held: list[Certificate]) -> list[str]:
    incomplete = [each for each in held if each.is_incomplete]
    found = shortfalls(handoffs, CALENDAR, [(each.tenant, each.window) for each in held], incomplete)
    return [each.sentence for each in found]


def test_a_tenant_that_lacks_nothing_is_not_named() -> None:
    assert sentences([handoff(2, 5)], certificates(2, 3, 4, 5)) == []


def test_windows_that_were_not_read_are_named_and_many_are_counted() -> None:
    assert sentences([handoff(2, 5)], certificates(2, 4)) == [f"acme has not been read in {week(3).key}, {week(5).key}"]
    assert sentences([handoff(2, 6)], []) == [
        f"acme has not been read in {week(2).key}, {week(3).key}, {week(4).key} and 2 more"
    ]
    assert told(weeks(2, 4)) == f"{week(2).key}, {week(3).key}, {week(4).key}"


def test_what_is_short_and_what_is_rejected_are_told_apart() -> None:
    rejected = certificate(4, source_rows=12, rows_rejected=2)
    both = certificate(5, source_rows=15, rows_rejected=1)
    held = [certificate(2), short(3), rejected, both]
    found = shortfalls([handoff(2, 6)], CALENDAR, [("acme", each.window) for each in held], held[1:])
    assert [(f.windows, f.rows, f.rejected) for f in found] == [(1, 3 + 4, 3)]
    assert found[0].sentence == (
        f"acme has not been read in {week(6).key}, lacks 7 rows in {week(3).key}, {week(5).key}, "
        "has 3 rows among the dead letters"
    )


def test_tenants_are_not_taken_for_each_other() -> None:
    held = [*certificates(2, 3), certificate(2, "beta"), short(3, "beta")]
    assert sentences([handoff(2, 3), handoff(2, 3, "beta")], held) == [f"beta lacks 3 rows in {week(3).key}"]
    assert sentences([handoff(2, 3), handoff(2, 3, "beta")], held[:2]) == [
        f"beta has not been read in {week(2).key}, {week(3).key}"
    ]


def check(world: World) -> dg.AssetCheckResult:
    return completeness_check(world.wiring, DESK, TICKETS)


def arrange(world: World, *tenants: str, first: int = 2, last: int = 3, held: list[Certificate]) -> None:
    """Histories of tickets that were asked for and read."""
    for tenant in tenants:
        world.handoffs.plan(tenant, DESK.name, TICKETS.name, start=week(first).start)
        world.handoffs.begin(tenant, DESK.name, TICKETS.name, in_week(last))
    world.certificates.put(held)
    world.now = in_week(last) + timedelta(hours=1)


def test_the_check_passes_where_nothing_was_asked_for(world: World) -> None:
    result = check(world)
    assert (result.passed, result.description) == (True, "nothing was asked for")


def test_the_check_passes_where_all_is_there(world: World) -> None:
    arrange(world, "acme", "beta", held=[*certificates(2, 3), certificate(2, "beta"), certificate(3, "beta")])
    result = check(world)
    assert result.passed
    assert result.description == "the histories of 2 tenants are in the lake, without a gap"


def test_the_check_looks_at_its_own_table_only(world: World) -> None:
    arrange(world, "acme", held=certificates(2, 3))
    world.handoffs.plan("acme", DESK.name, NOTES.name, start=week(2).start)
    world.certificates.put([replace(short(3), table=NOTES.name)])
    assert check(world).passed


def test_the_check_warns_of_what_is_not_read_or_rejected_and_fails_for_what_is_short(world: World) -> None:
    arrange(world, "acme", held=[certificate(2, source_rows=12, rows_rejected=2)])
    result = check(world)
    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert result.description == (f"acme has not been read in {week(3).key}, has 2 rows among the dead letters")
    world.certificates.put([short(3)])
    result = check(world)
    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.ERROR)
    counts = {name: value.value for name, value in result.metadata.items()}
    assert counts == {"tenants": 1, "windows_missing": 0, "rows_missing": 3, "rows_rejected": 2, "tenants_stale": 0}


def test_the_check_names_ten_tenants_and_counts_the_others(world: World) -> None:
    tenants = [f"tenant{number:02}" for number in range(SHOWN_TENANTS + 2)]
    arrange(world, *tenants, held=[])
    parts = (check(world).description or "").split("; ")
    assert len(parts) == SHOWN_TENANTS + 1
    assert parts[0].startswith("tenant00 has not been read in ")
    assert parts[-1] == "and 2 more"


def test_the_check_warns_of_a_tenant_whose_sync_has_not_got_through_for_a_week(world: World) -> None:
    world.add("acme")
    world.add("off", enabled=False)
    held = [certificate(number, tenant) for tenant in ("acme", "off", "gone") for number in (2, 3)]
    arrange(world, "acme", "off", "gone", held=held)
    world.now = in_week(3) + STALE
    assert check(world).passed
    world.now += timedelta(seconds=1)
    result = check(world)
    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert result.description == f"acme has not been read since {in_week(3):%Y-%m-%d}"
    assert result.metadata["tenants_stale"].value == 1
