"""One contract for each ledger, held by its in-memory twin, by SQLite and by PostgreSQL."""

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import NullPool, make_url, select

from backfill_assets.adapters.state.connecting import engine_for
from backfill_assets.adapters.state.database import StateDatabase
from backfill_assets.adapters.state.tables import DEAD_LETTERS
from backfill_assets.core.dead_letters import DeadLetter, DeadLetterLedger, MemoryDeadLetters
from backfill_assets.core.switches import MemorySwitches, SwitchLedger

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)

LETTER = DeadLetter(
    domain="tenant_history",
    tenant="acme",
    service="connectwise",
    table="service/tickets",
    partition="acme|2024-04-29",
    record_id="17",
    version="2024-05-01T00:00:00Z",
    reason="closedDate is no timestamp",
    payload='{"id": 17, "closedDate": "soon"}',
    run_id="run-1",
    seen_at=NOON,
)


@pytest.fixture
def dead_letters(state_or_none: StateDatabase | None) -> DeadLetterLedger:
    return state_or_none.dead_letters if state_or_none else MemoryDeadLetters()


@pytest.fixture
def switches(state_or_none: StateDatabase | None) -> SwitchLedger:
    return state_or_none.switches if state_or_none else MemorySwitches()


def test_gives_back_the_letter_that_was_put(dead_letters: DeadLetterLedger) -> None:
    dead_letters.put([LETTER])
    assert dead_letters.letters() == [LETTER]


def test_putting_nothing_changes_nothing(dead_letters: DeadLetterLedger) -> None:
    dead_letters.put([])
    assert dead_letters.letters() == []


def test_the_same_record_met_again_replaces_its_letter(dead_letters: DeadLetterLedger) -> None:
    dead_letters.put([LETTER])
    again = replace(LETTER, reason="id is no number", run_id="run-2", seen_at=NOON + timedelta(hours=1))
    dead_letters.put([again])
    assert dead_letters.letters() == [again]


def test_the_last_of_two_letters_put_at_once_stays(dead_letters: DeadLetterLedger) -> None:
    again = replace(LETTER, reason="id is no number")
    dead_letters.put([LETTER, again])
    assert dead_letters.letters() == [again]


def test_another_version_of_a_record_is_another_letter(dead_letters: DeadLetterLedger) -> None:
    dead_letters.put([LETTER, replace(LETTER, version="2024-05-02T00:00:00Z")])
    assert len(dead_letters.letters()) == 2


def test_identities_do_not_run_into_each_other(dead_letters: DeadLetterLedger) -> None:
    dead_letters.put([replace(LETTER, record_id="1", version="23"), replace(LETTER, record_id="12", version="3")])
    assert len(dead_letters.letters()) == 2


def test_filters_by_each_part_of_the_place_and_orders_by_identity(dead_letters: DeadLetterLedger) -> None:
    other_tenant = replace(LETTER, tenant="Zeta")
    other_table = replace(LETTER, table="company/contacts")
    other_service = replace(LETTER, service="salesforce", table="Case")
    other_domain = replace(LETTER, domain="work_orders")
    dead_letters.put([other_domain, other_service, LETTER, other_table, other_tenant])
    assert dead_letters.letters() == [other_tenant, other_table, LETTER, other_service, other_domain]
    assert dead_letters.letters(tenant="Zeta") == [other_tenant]
    assert dead_letters.letters(domain="tenant_history", table="service/tickets") == [other_tenant, LETTER]
    assert dead_letters.letters(service="salesforce") == [other_service]
    assert dead_letters.letters(tenant="zeta") == []


def test_resolving_removes_the_records_that_fit_now_and_counts_them(dead_letters: DeadLetterLedger) -> None:
    stays = replace(LETTER, record_id="18")
    elsewhere = replace(LETTER, tenant="beta")
    dead_letters.put([LETTER, stays, elsewhere])
    fitting = [(LETTER.record_id, LETTER.version), (LETTER.record_id, LETTER.version), ("99", "never seen")]
    place = (LETTER.domain, LETTER.tenant, LETTER.service, LETTER.table)
    assert dead_letters.resolve(*place, fitting) == 1
    assert dead_letters.letters() == [stays, elsewhere]
    assert dead_letters.resolve(*place, fitting) == 0
    assert dead_letters.resolve(*place, []) == 0


@pytest.mark.parametrize(
    "text", ["", "a\0b", "half a pair \ud83d", "json:", 'json:"a"', "back\\slash", "名前 🎫", "x" * 100_000], ids=ascii
)
def test_keeps_whatever_text_a_bad_record_brings(dead_letters: DeadLetterLedger, text: str) -> None:
    """A NUL or half a surrogate pair is reason enough for a record to be quarantined, and PostgreSQL takes neither."""
    letter = replace(LETTER, record_id=text, version=text, reason=text, payload=text, tenant=text)
    dead_letters.put([letter])
    assert dead_letters.letters() == [letter]
    assert dead_letters.letters(tenant=text) == [letter]
    assert dead_letters.resolve(letter.domain, text, letter.service, letter.table, [(text, text)]) == 1


def test_times_come_out_in_utc(dead_letters: DeadLetterLedger, state_or_none: StateDatabase | None) -> None:
    tokyo = NOON.replace(microsecond=123456).astimezone(timezone(timedelta(hours=9)))
    dead_letters.put([replace(LETTER, seen_at=tokyo)])
    (found,) = dead_letters.letters()
    assert found.seen_at == tokyo
    if state_or_none is not None:
        assert found.seen_at.tzinfo is UTC


def test_holds_more_letters_than_one_statement(dead_letters: DeadLetterLedger) -> None:
    letters = [replace(LETTER, record_id=f"{number:05}") for number in range(2500)]
    dead_letters.put(letters)
    dead_letters.put(letters)
    assert dead_letters.letters() == letters
    fitting = [(x.record_id, x.version) for x in letters[:2400]]
    assert dead_letters.resolve(LETTER.domain, LETTER.tenant, LETTER.service, LETTER.table, fitting) == 2400
    assert dead_letters.letters() == letters[2400:]


def test_behaves_like_its_twin_over_many_random_steps(dead_letters: DeadLetterLedger) -> None:
    chance, twin = random.Random(1), MemoryDeadLetters()
    for step in range(60):
        letters = [
            replace(LETTER, tenant=chance.choice("ab"), record_id=chance.choice("123"), run_id=f"{step}")
            for _ in range(chance.randrange(4))
        ]
        fitting = [(chance.choice("123"), LETTER.version) for _ in range(chance.randrange(3))]
        place = (LETTER.domain, chance.choice("ab"), LETTER.service, LETTER.table)
        for ledger in (dead_letters, twin):
            ledger.put(iter(letters))
        assert dead_letters.resolve(*place, iter(fitting)) == twin.resolve(*place, iter(fitting))
        assert dead_letters.letters() == twin.letters()


def test_writers_at_once_do_not_deadlock(dead_letters: DeadLetterLedger) -> None:
    """Each thread brings the same letters in an order of its own."""
    letters = [replace(LETTER, record_id=f"{number}") for number in range(200)]

    def write(seed: int) -> None:
        mine = random.Random(seed).sample(letters, len(letters))
        for _ in range(5):
            dead_letters.put(mine)
            fitting = [(x.record_id, x.version) for x in mine[:100]]
            dead_letters.resolve(LETTER.domain, LETTER.tenant, LETTER.service, LETTER.table, fitting)
        dead_letters.put(mine)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert len(dead_letters.letters()) == 200


def test_a_letter_that_is_replaced_keeps_its_row_and_its_first_time(state: StateDatabase, state_url: str) -> None:
    later = replace(LETTER, seen_at=NOON + timedelta(days=1), reason="still bad")
    state.dead_letters.put([LETTER])
    [before] = _rows(state_url)
    state.dead_letters.put([later])
    [after] = _rows(state_url)
    assert after == before == (before[0], NOON)
    assert state.dead_letters.letters() == [later]


def _rows(url: str) -> Sequence[tuple[int, datetime]]:
    engine = engine_for(make_url(url), poolclass=NullPool)
    with engine.begin() as connection:
        rows = connection.execute(select(DEAD_LETTERS.c.id, DEAD_LETTERS.c.first_seen_at)).all()
    engine.dispose()
    return [(row.id, row.first_seen_at) for row in rows]


def test_a_time_without_a_zone_is_refused(state: StateDatabase) -> None:
    with pytest.raises(Exception, match="has no time zone"):
        state.switches.note({("acme", "connectwise"): True}, NOON.replace(tzinfo=None))


def test_a_service_never_looked_at_is_neither_on_nor_off(switches: SwitchLedger) -> None:
    assert switches.seen().get(("acme", "connectwise")) is None


@pytest.mark.parametrize("enabled", [True, False])
def test_remembers_a_switch(switches: SwitchLedger, enabled: bool) -> None:
    switches.note({("acme", "connectwise"): enabled}, NOON)
    assert switches.seen().get(("acme", "connectwise")) is enabled
    assert switches.seen().get(("acme", "salesforce")) is None
    assert switches.seen().get(("beta", "connectwise")) is None


def test_the_last_look_at_a_switch_counts(switches: SwitchLedger) -> None:
    for hour, enabled in enumerate([True, False, True, False]):
        switches.note({("acme", "connectwise"): enabled}, NOON + timedelta(hours=hour))
        assert switches.seen().get(("acme", "connectwise")) is enabled
