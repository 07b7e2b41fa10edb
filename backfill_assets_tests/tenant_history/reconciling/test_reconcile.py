"""The use case of reconciling: from when to when, what is mended, and what is said to be left."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from backfill_assets.core.handoff import Handoff
from backfill_assets.errors import PermanentError, SourceUnreachable, UsageError
from backfill_assets.tenant_history.plan import calendar_of
from backfill_assets.tenant_history.reconciling.reconcile import Reconciled, TableReconcile
from backfill_assets_tests.tenant_history.worlds import (
    DESK,
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

ALL = weeks(0, 11)
HANDOFF = Handoff(tenant="acme", service="desk", table=TICKETS.name, history_from=week(1).start, first_request_at=NOW)


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(root=tmp_path / "lake")
    world.add("acme", {TICKETS.name: tickets_in(0, 1, 2, 5)})
    world.fill(ALL)
    return world


def one_of(world: World, handoff: Handoff | None = None) -> TableReconcile:
    return TableReconcile(
        backfill=world.backfill(run_id="reconcile"),
        calendar=calendar_of(DESK),
        handoff=handoff,
        overlap=timedelta(minutes=15),
    )


def reconcile(world: World, *, deep: bool = False, repair: bool = False) -> Reconciled:
    one = one_of(world)
    return one.run(one.span(), is_deep=deep, is_repair=repair)


def records(world: World) -> list[Any]:
    return list(world.sources["acme"].tables[TICKETS.name])


def hold(world: World, held: list[Any]) -> None:
    world.sources["acme"].tables = {TICKETS.name: held}


def file_of(world: World, moment: datetime) -> Path:
    return Path(world.lake.place(world.backfill().raw, moment.date()))


def spoil(path: Path, summary: str = "spoilt") -> None:
    rows = pq.read_table(path)
    place = rows.column_names.index("summary")
    pq.write_table(rows.set_column(place, "summary", pa.array([summary] * len(rows))), path)


@pytest.mark.parametrize("deep", [False, True])
def test_what_was_just_filled_in_is_equal(world: World, deep: bool) -> None:
    found = reconcile(world, deep=deep)
    assert found.compared is not None
    assert (found.is_equal, found.compared.source_records, found.compared.lake_records) == (True, 12, 12)


def test_without_a_handoff_all_up_to_the_window_of_now_is_compared(world: World) -> None:
    span = one_of(world).span()
    assert (span.start, span.end, span.tail_from) == (week(0).reads_from, week(11).start, week(11).start)


def test_a_handoff_says_from_when_and_until_when(world: World) -> None:
    span = one_of(world, HANDOFF).span()
    until = NOW - timedelta(minutes=15)
    assert (span.start, span.end, span.tail_from) == (week(1).start, until, until)
    assert one_of(world, HANDOFF).span(in_week(2), in_week(3)).end == in_week(3)
    assert one_of(world, replace(HANDOFF, first_request_at=None)).span().end == week(11).start


def test_what_lies_in_the_tail_cannot_be_compared(world: World) -> None:
    with pytest.raises(UsageError, match="left to incremental sync"):
        one_of(world).span(NOW - timedelta(hours=1))


def test_a_table_that_was_never_read_is_not_called_equal(tmp_path: Path) -> None:
    world = World(root=tmp_path)
    world.add("acme")
    with pytest.raises(PermanentError, match="start with backfill trigger"):
        one_of(world).span()


def test_a_lake_from_before_there_were_certificates_is_compared_too(world: World) -> None:
    world.certificates = type(world.certificates)()
    assert one_of(world).span().start == week(0).reads_from
    assert reconcile(world, deep=True).is_equal


def test_a_record_that_became_visible_late_is_missing_until_it_is_repaired(world: World) -> None:
    hold(world, [*records(world), ticket(99, in_week(2, 5))])
    found = reconcile(world)
    assert found.compared is not None
    assert [m.record_id for m in found.compared.missing] == ["99"]
    assert world.stored() != versions_of(records(world)), "only a repair writes"
    mended = reconcile(world, repair=True)
    assert (mended.is_equal, mended.refetched, mended.refilled) == (True, 1, 0)
    assert world.stored() == versions_of(records(world))
    assert reconcile(world, deep=True).is_equal, "its window is certified with it"


def test_a_missing_record_that_fits_no_row_stays_missing(world: World) -> None:
    hold(world, [*records(world), ticket(99, in_week(2, 5), hours="many")])
    mended = reconcile(world, repair=True)
    assert mended.compared is not None
    assert [m.record_id for m in mended.compared.missing] == ["99"]
    assert [letter.record_id for letter in world.dead_letters.letters()] == ["99"]


def test_what_is_gone_from_the_source_is_told_and_no_fault(world: World) -> None:
    hold(world, records(world)[1:])
    found = reconcile(world)
    assert found.compared is not None
    assert (found.is_equal, found.compared.gone) == (True, ("1",))


def test_a_pair_that_makes_up_for_each_other_in_the_counts_is_seen_by_a_deep_look(world: World) -> None:
    hold(world, [*records(world)[1:], ticket(99, in_week(0, 1))])
    assert reconcile(world).is_equal
    found = reconcile(world, deep=True)
    assert found.compared is not None
    assert ([m.record_id for m in found.compared.missing], found.compared.gone) == (["99"], ("1",))


def test_a_changed_value_is_seen_by_a_deep_look_only(world: World) -> None:
    path = file_of(world, in_week(2, 1))
    whole = path.read_bytes()
    spoil(path)
    assert reconcile(world).is_equal
    found = reconcile(world, deep=True)
    [changed] = found.changed
    assert (changed.window, changed.files, changed.unverified) == (week(2), (str(path),), ())
    assert reconcile(world, deep=True, repair=True).is_equal
    assert path.read_bytes() == whole


def test_a_lost_file_is_read_again(world: World) -> None:
    path = file_of(world, in_week(2, 1))
    path.unlink()
    [changed] = reconcile(world, deep=True).changed
    assert (changed.has_other_ids, changed.missing, changed.files) == (True, ("7",), (str(path),))
    mended = reconcile(world, deep=True, repair=True)
    assert (mended.is_equal, mended.refilled, mended.refetched) == (True, 1, 0)
    assert world.stored() == versions_of(records(world))


def test_a_file_that_is_no_parquet_is_named(world: World) -> None:
    path = file_of(world, in_week(2, 1))
    path.write_bytes(b"PAR1 no more")
    found = reconcile(world, deep=True, repair=True)
    [changed] = found.changed
    assert str(path) in changed.reason
    assert str(path) in found.problem


def test_a_spoilt_version_that_the_source_shows_no_more_stays_told_as_unverified(world: World) -> None:
    """It cannot be fetched: a repair that certified the window anew would hide it for good."""
    old = file_of(world, in_week(2, 1))
    held = records(world)
    moved = [ticket(7, in_week(5, 9)) if record["id"] == 7 else record for record in held]
    hold(world, moved)
    world.fill([week(5)], run_id="run 2")
    assert reconcile(world, deep=True).is_equal
    spoil(old)
    for _ in range(2):
        found = reconcile(world, deep=True, repair=True)
        [changed] = found.changed
        assert (changed.window, changed.unverified, changed.files) == (week(2), ("7",), ())


def test_a_repair_proves_by_digest_that_unseen_versions_are_as_they_were(world: World) -> None:
    held = records(world)
    hold(world, [ticket(7, in_week(5, 9)) if record["id"] == 7 else record for record in held])
    world.fill([week(5)], run_id="run 2")
    spoil(file_of(world, in_week(2, 31)))
    [changed] = reconcile(world, deep=True).changed
    assert changed.unverified == ("7",)
    assert reconcile(world, deep=True, repair=True).is_equal


def test_a_source_that_is_away_does_not_hide_what_the_lake_has_lost(world: World) -> None:
    spoil(file_of(world, in_week(2, 1)))
    world.sources["acme"].fail(TICKETS.name, in_week(0), datetime(2030, 1, 1, tzinfo=UTC), SourceUnreachable("away"))
    found = reconcile(world, deep=True, repair=True)
    assert ([c.window for c in found.changed], found.problem, found.is_equal) == ([week(2)], "away", False)
