"""Records that do not fit are quarantined with their reason, and let go when they fit."""

import json

from backfill_assets.core.dead_letters import DeadLetter
from backfill_assets.tenant_history.backfill import Outcome, WindowDone
from backfill_assets.tenant_history.partitions import partition_key
from backfill_assets_tests.tenant_history.worlds import (
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

BAD = ticket(50, in_week(2, 5), hours="many")


def facts(outcomes: list[Outcome]) -> list[tuple[int, int, int, bool]]:
    """Rows, rejected rows, rows of the source, and whether it is complete."""
    found = [(o.rows, o.rows_rejected, o.source_rows, o.complete) for o in outcomes if isinstance(o, WindowDone)]
    assert len(found) == len(outcomes)
    return found


def test_a_rejected_record_is_quarantined_and_its_window_is_not_complete(world: World) -> None:
    records = tickets_in(1, 2)
    world.add("acme", {TICKETS.name: [*records, BAD]})
    assert facts(world.fill(weeks(1, 3))) == [(3, 0, 3, True), (3, 1, 4, False), (0, 0, 0, True)]
    assert world.stored() == versions_of(records)
    assert world.dead_letters.letters() == [
        DeadLetter(
            domain="tenant_history",
            tenant="acme",
            service="desk",
            table="service/tickets",
            partition=f"acme|{week(2).key}",
            record_id="50",
            version="2024-01-14T05:00:00.000000Z",
            reason="its field 'hours' holds 'many', which is no number",
            payload=json.dumps(BAD, sort_keys=True),
            run_id="run 1",
            seen_at=NOW,
        )
    ]


def test_a_letter_names_the_partition_as_dagster_does(world: World) -> None:
    world.add("a|b", {TICKETS.name: [ticket(50, in_week(3), hours="many")]})
    world.fill(weeks(3, 3), tenant="a|b")
    [letter] = world.dead_letters.letters()
    assert (letter.tenant, letter.partition) == ("a|b", "a%7Cb|2024-01-21")
    assert letter.partition == partition_key("a|b", week(3))


def test_a_record_met_again_is_one_letter_of_the_newest_run(world: World) -> None:
    world.add("acme", {TICKETS.name: [BAD]})
    world.fill(weeks(1, 3))
    world.fill(weeks(2, 2), run_id="run 2")
    assert [letter.run_id for letter in world.dead_letters.letters()] == ["run 2"]


def test_a_letter_is_let_go_when_its_record_fits(world: World) -> None:
    other = ticket(51, in_week(3, 5), open="perhaps")
    source = world.add("acme", {TICKETS.name: [BAD, other]})
    world.fill(weeks(1, 3))
    source.tables = {TICKETS.name: [{**BAD, "hours": 2}, other]}
    assert facts(world.fill(weeks(2, 3), run_id="run 2")) == [(1, 0, 1, True), (0, 1, 1, False)]
    assert [letter.record_id for letter in world.dead_letters.letters()] == ["51"]


def test_letters_of_other_tenants_and_tables_are_left_alone(world: World) -> None:
    world.add("other", {TICKETS.name: [BAD]})
    world.fill(weeks(2, 2), tenant="other")
    world.add("acme", {TICKETS.name: [{**BAD, "hours": 2}]})
    world.fill(weeks(2, 2))
    assert [letter.tenant for letter in world.dead_letters.letters()] == ["other"]


def test_a_record_without_a_legible_time_belongs_to_the_first_window_of_what_was_read(world: World) -> None:
    world.add("acme", {TICKETS.name: [ticket(7, "yesterday"), ticket(8, in_week(2))]})
    assert facts(world.fill(weeks(1, 2))) == [(0, 1, 1, False), (1, 0, 1, True)]
    [letter] = world.dead_letters.letters()
    assert (letter.record_id, letter.version, letter.partition) == ("7", "yesterday", f"acme|{week(1).key}")


def test_a_record_that_says_nothing_of_itself_is_quarantined_too(world: World) -> None:
    lost = [{"summary": "lost"}, {"summary": "lost too"}]
    world.add("acme", {TICKETS.name: [*lost, ticket(8, in_week(1))]})
    assert facts(world.fill(weeks(1, 1))) == [(1, 2, 3, False)]
    letters = world.dead_letters.letters()
    assert sorted(json.loads(letter.payload)["summary"] for letter in letters) == ["lost", "lost too"]
    assert all(letter.version == "" and letter.record_id.startswith("sha256:") for letter in letters)


def test_a_time_that_no_calendar_in_utc_holds_does_not_end_the_run(world: World) -> None:
    world.add("acme", {TICKETS.name: [ticket(7, "9999-12-31T23:59:59-14:00"), ticket(8, in_week(1))]})

    class Unguarded(type(world.sources["acme"])):  # type: ignore[misc]
        def _pages(self, *_: object) -> object:
            return iter([self.tables[TICKETS.name]])

        def count(self, *_: object) -> int:
            return 2

    world.sources["acme"] = Unguarded(world.sources["acme"].tables)
    assert facts(world.fill(weeks(1, 1))) == [(1, 1, 2, False)]
    [letter] = world.dead_letters.letters()
    assert letter.version == "9999-12-31T23:59:59-14:00"


def test_half_a_character_is_quarantined_and_costs_no_other_record(world: World) -> None:
    world.add("acme", {TICKETS.name: [ticket(7, in_week(1), summary="\ud83d"), ticket(8, in_week(1))]})
    assert facts(world.fill(weeks(1, 1))) == [(1, 1, 2, False)]
    assert [letter.record_id for letter in world.dead_letters.letters()] == ["7"]
