"""Certificates: what is said of a window when its chunk is committed, and when it is not said."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from backfill_assets.adapters.lake.folder import Folder
from backfill_assets.adapters.lake.raw import RawLake
from backfill_assets.adapters.lake.storage import Stored
from backfill_assets.core.certificates import Certificate
from backfill_assets.core.dead_letters import DeadLetter
from backfill_assets.tenant_history.backfill import WindowDone, WindowFailed
from backfill_assets.tenant_history.letters import LetterRetry
from backfill_assets.tenant_history.plan import calendar_of
from backfill_assets_tests.tenant_history.worlds import (
    DESK,
    NOW,
    TICKETS,
    World,
    in_week,
    ticket,
    tickets_in,
    week,
    weeks,
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(root=tmp_path / "lake")


def certificates(world: World) -> dict[str, Certificate]:
    found = world.certificates.certificates(tenant="acme", service="desk", table=TICKETS.name)
    return {certificate.window: certificate for certificate in found}


def retry(world: World, letters: list[DeadLetter]) -> None:
    LetterRetry(backfill=world.backfill(run_id="retry"), calendar=calendar_of(DESK)).retry(letters)


def test_each_window_is_certified_by_what_the_lake_holds_of_it(world: World) -> None:
    world.add("acme", {TICKETS.name: tickets_in(1, 2)})
    world.fill(weeks(1, 3))
    found = certificates(world)
    assert [(c.source_rows, c.stored_rows, c.stored_ids) for c in found.values()] == [(3, 3, 3), (3, 3, 3), (0, 0, 0)]
    assert len({c.content_digest for c in found.values()}) == 3
    assert {(c.began_at, c.is_settled, c.rows_rejected, c.is_short) for c in found.values()} == {(NOW, True, 0, False)}


def test_days_that_a_later_reading_does_not_touch_are_in_the_certificate_too(world: World) -> None:
    source = world.add("acme", {TICKETS.name: [ticket(1, in_week(1)), ticket(2, in_week(1, 50))]})
    world.fill([week(1)])
    source.tables = {TICKETS.name: [ticket(1, in_week(1, 80)), ticket(2, in_week(1, 50))]}
    world.fill([week(1)], run_id="run 2")
    [found] = certificates(world).values()
    assert (found.source_rows, found.stored_rows, found.stored_ids) == (2, 3, 2)


def test_a_repeat_has_the_same_digests(world: World) -> None:
    world.add("acme", {TICKETS.name: tickets_in(0, 1)})
    world.fill(weeks(0, 1))
    before = certificates(world)
    world.fill(weeks(0, 1), days=7, run_id="run 2")
    assert certificates(world) == before


def test_a_refused_record_leaves_its_window_incomplete_until_it_fits(world: World) -> None:
    source = world.add("acme", {TICKETS.name: [*tickets_in(1), ticket(9, in_week(1), hours="many")]})
    world.fill([week(1)])
    [short] = certificates(world).values()
    assert (short.source_rows, short.rows_rejected, short.stored_ids, short.is_incomplete) == (4, 1, 3, True)
    source.tables = {TICKETS.name: [*tickets_in(1), ticket(9, in_week(1), hours=2)]}
    retry(world, list(world.dead_letters.letters()))
    [whole] = certificates(world).values()
    assert (whole.stored_ids, whole.rows_rejected, whole.is_incomplete) == (4, 0, False)
    assert whole.content_digest != short.content_digest


def test_a_window_that_nobody_certified_is_not_certified_by_a_single_record(world: World) -> None:
    source = world.add("acme", {TICKETS.name: [ticket(9, in_week(1), hours="many")]})
    world.fill([week(1)])
    source.tables = {TICKETS.name: [ticket(9, in_week(2))]}
    retry(world, list(world.dead_letters.letters()))
    assert world.stored() == [(9, in_week(2))]
    assert set(certificates(world)) == {week(1).key}


def test_damage_is_not_certified_over_by_a_single_record(world: World) -> None:
    source = world.add("acme", {TICKETS.name: [*tickets_in(1), ticket(9, in_week(1), hours="many")]})
    world.fill([week(1)])
    before = certificates(world)
    next(world.root.rglob("*.parquet")).unlink()
    source.tables = {TICKETS.name: [*tickets_in(1), ticket(9, in_week(1), hours=2)]}
    retry(world, list(world.dead_letters.letters()))
    assert digests(certificates(world)) == digests(before)


def digests(found: Mapping[str, Certificate]) -> dict[str, str]:
    return {window: certificate.content_digest for window, certificate in found.items()}


class Losing(Folder):
    """A disk that says it has written a file, and has lost one row."""

    def read(self, name: str) -> Stored | None:
        stored = super().read(name)
        if stored is None or in_week(1).date().isoformat() not in name:
            return stored
        rows = pa.parquet.read_table(pa.BufferReader(stored.content))
        sink = pa.BufferOutputStream()
        pa.parquet.write_table(rows.slice(1), sink)
        return replace(stored, content=sink.getvalue())


def test_a_window_of_which_less_is_stored_than_was_read_fails(world: World) -> None:
    world.add("acme", {TICKETS.name: tickets_in(1, 2)})
    lake: Any = RawLake(Losing(world.root), lock=lambda name: world.mutex)
    backfill = replace(world.backfill(), lake=lake)
    from backfill_assets.core.chunks import ChunkTarget

    outcomes = {outcome.window: outcome for outcome in backfill.fill(weeks(1, 2), ChunkTarget(days=14))}
    failed = outcomes[week(1)]
    assert isinstance(failed, WindowFailed)
    assert "3 records of service/tickets of desk for acme were read in the window 2024-01-07" in failed.reason
    assert "hold only 2" in failed.reason
    assert isinstance(outcomes[week(2)], WindowDone)
    assert set(certificates(world)) == {week(2).key}


def test_the_window_that_holds_now_is_not_settled(world: World) -> None:
    world.add("acme", {TICKETS.name: tickets_in(11)})
    world.now = week(11).end + timedelta(minutes=4)
    world.fill([week(11)])
    assert not certificates(world)[week(11).key].is_settled


def test_a_certificate_is_stored_before_its_window_is_told_done(world: World) -> None:
    world.add("acme", {TICKETS.name: tickets_in(1, 2)})
    from backfill_assets.core.chunks import ChunkTarget

    for outcome in world.backfill().fill(weeks(1, 2), ChunkTarget(days=7)):
        assert outcome.window.key in certificates(world)
