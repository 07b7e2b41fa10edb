"""Dead letters tried again: what becomes of each, what is stored, and what Dagster is told."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from backfill_assets.core.dead_letters import DeadLetter, Fate
from backfill_assets.errors import CredentialRefused, TransientError
from backfill_assets.tenant_history.assets import materialisation
from backfill_assets.tenant_history.backfill import WindowDone
from backfill_assets.tenant_history.partitions import asset_key, tenant_set, tenant_windows
from backfill_assets.tenant_history.retrying import TableRetried, retry_letters
from backfill_assets_tests.tenant_history.worlds import (
    DESK,
    NOW,
    TICKETS,
    World,
    in_week,
    ticket,
    versions_of,
    week,
    weeks,
)

KEY = asset_key("desk", TICKETS)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(root=tmp_path / "lake")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(tenant_set("desk"), ["acme"])
        yield instance


def fill(world: World, instance: dg.DagsterInstance) -> None:
    """Fill weeks 1 to 3 as a run does, telling Dagster."""
    for outcome in world.fill(weeks(1, 3)):
        assert isinstance(outcome, WindowDone)
        instance.report_runless_asset_event(materialisation(KEY, "acme", outcome))


def retry(world: World, instance: dg.DagsterInstance) -> TableRetried:
    [retried] = retry_letters(world.wiring, instance, world.dead_letters.letters())
    return retried


def latest(instance: dg.DagsterInstance, partition: str) -> dict[str, Any]:
    wanted = dg.AssetRecordsFilter(asset_key=KEY, asset_partitions=[partition])
    event = instance.fetch_materializations(wanted, limit=1).records[0].asset_materialization
    assert event is not None
    return {name: value.value for name, value in event.metadata.items()}


def with_bad(world: World, *bad: int) -> list[dict[str, Any]]:
    """Three tickets in each of weeks 1 to 3, some of which do not fit."""
    records = [
        ticket(3 * n + k, in_week(n + 1, 30 * k), **({"hours": "many"} if 3 * n + k in bad else {}))
        for n in range(3)
        for k in (1, 2, 3)
    ]
    world.add("acme", {TICKETS.name: records})
    return records


def test_a_record_that_was_mended_in_place_is_stored_and_its_partition_marked(
    world: World, instance: dg.DagsterInstance
) -> None:
    records = with_bad(world, 5, 8)
    fill(world, instance)
    key = f"acme|{week(2).key}"
    assert latest(instance, key)["complete"] is False
    records[4]["hours"] = 3
    world.sources["acme"].requests.clear()
    retried = retry(world, instance)
    assert {a.letter.record_id: a.fate for a in retried.answered} == {"5": Fate.STORED, "8": Fate.KEPT}
    assert retried.marked == [key]
    assert {letter.record_id for letter in world.dead_letters.letters()} == {"8"}
    assert world.stored() == versions_of([record for record in records if record["id"] != 8])
    assert latest(instance, key) == {"rows": 3, "rows_rejected": 0, "source_rows": 3, "complete": True}
    assert latest(instance, f"acme|{week(3).key}")["rows_rejected"] == 1


def test_just_the_records_of_the_letters_are_fetched(world: World, instance: dg.DagsterInstance) -> None:
    with_bad(world, 5, 8)
    fill(world, instance)
    source = world.sources["acme"]
    source.requests.clear()
    retry(world, instance)
    assert source.fetched == [(5, 8)]
    assert {request.kind for request in source.requests} <= {"count"}


def test_a_record_that_was_changed_meanwhile_is_stored_in_its_new_window(
    world: World, instance: dg.DagsterInstance
) -> None:
    records = with_bad(world, 5)
    fill(world, instance)
    records[4] = ticket(5, in_week(8))
    world.sources["acme"].tables = {TICKETS.name: records}
    retried = retry(world, instance)
    assert [a.fate for a in retried.answered] == [Fate.SUPERSEDED]
    assert world.dead_letters.letters() == []
    assert world.stored() == versions_of(records)
    # The new window was never read whole, so it is only observed.
    assert retried.marked == [f"acme|{week(2).key}", f"acme|{week(8).key} (observed)"]
    definition = tenant_windows(DESK)
    assert f"acme|{week(8).key}" in definition.get_partition_keys(NOW, instance)
    assert f"acme|{week(8).key}" not in instance.get_materialized_partitions(KEY)
    assert latest(instance, f"acme|{week(2).key}")["complete"] is True


def test_a_record_that_is_gone_takes_its_letter_along(world: World, instance: dg.DagsterInstance) -> None:
    records = with_bad(world, 5)
    fill(world, instance)
    world.sources["acme"].tables = {TICKETS.name: records[:4] + records[5:]}
    assert [a.fate for a in retry(world, instance).answered] == [Fate.GONE]
    assert world.dead_letters.letters() == []
    assert latest(instance, f"acme|{week(2).key}")["complete"] is True


def test_a_record_that_still_cannot_be_sent_keeps_its_letter_with_the_new_reason(
    world: World, instance: dg.DagsterInstance
) -> None:
    with_bad(world)
    world.sources["acme"].poison(TICKETS.name, 5, TransientError("it answered 500"))
    fill(world, instance)
    world.sources["acme"].poison(TICKETS.name, 5, TransientError("it answered 502"))
    retried = retry(world, instance)
    assert [(a.fate, a.reason) for a in retried.answered] == [
        (Fate.KEPT, "the source holds it and cannot send it: it answered 502")
    ]
    assert retried.marked == []
    assert [letter.reason for letter in world.dead_letters.letters()] == [a.reason for a in retried.answered]
    world.sources["acme"].heal()
    assert [a.fate for a in retry(world, instance).answered] == [Fate.STORED]
    assert len(world.stored()) == 9


def test_a_record_without_an_id_cannot_be_asked_for(world: World, instance: dg.DagsterInstance) -> None:
    records = with_bad(world)
    world.sources["acme"].tables = {TICKETS.name: [{**records[0], "id": None}, *records[1:]]}
    fill(world, instance)
    [answered] = retry(world, instance).answered
    assert answered.fate is Fate.KEPT
    assert "rerun its partition" in answered.reason
    assert world.sources["acme"].fetched == []


def test_a_source_that_does_not_work_keeps_every_letter_and_says_why(
    world: World, instance: dg.DagsterInstance
) -> None:
    with_bad(world, 5)
    fill(world, instance)
    before = world.dead_letters.letters()

    world.sources["acme"].poison(TICKETS.name, 5, CredentialRefused("the key was refused"))
    assert retry(world, instance).problem == "the key was refused"
    assert world.dead_letters.letters() == before


def test_a_tenant_that_is_gone_keeps_its_letters_and_the_others_go_on(
    world: World, instance: dg.DagsterInstance
) -> None:
    with_bad(world, 5)
    fill(world, instance)
    [letter] = world.dead_letters.letters()
    stranger = DeadLetter(**{**vars(letter), "tenant": "nobody"})
    problems = [r.problem for r in retry_letters(world.wiring, instance, [stranger, letter])]
    assert "there is no tenant 'nobody'" in problems[0]
    assert problems[1] == ""
