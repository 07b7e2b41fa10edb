"""One contract for the pace ledger, held by its in-memory twin, by SQLite and by PostgreSQL."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event

import pytest
from sqlalchemy import NullPool, make_url

from backfill_assets.adapters.state.connecting import engine_for, parse
from backfill_assets.adapters.state.database import StateDatabase
from backfill_assets.adapters.state.pacing import Account, Decide, MemoryPaces, PaceStore, SharedPacer, SqlPaces, T
from backfill_assets.adapters.state.schema import initialise
from backfill_assets.adapters.state.turns import LONGEST_TEXT, PaceState, failed
from backfill_assets.core.pacing import Advice, OpenBreaker, Pace, PaceLedger, Pacer
from backfill_assets.errors import CircuitOpen, TransientError
from backfill_assets.sandbox.postgres import EmbeddedPostgres
from backfill_assets_tests.adapters.state.test_schema import run_sql

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
PACE = Pace(requests_per_minute=60, breaker_failures=3, breaker_pause_seconds=30)
APART = 1.03


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[PaceLedger]:
    if request.param == "memory":
        yield MemoryPaces(clock)
        return
    is_sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path / 'state.db'}" if is_sqlite else str(request.getfixturevalue("database_url"))
    initialise(url)
    engine = engine_for(parse(url))
    yield SqlPaces(engine, clock)
    engine.dispose()


def pacers(ledger: PaceLedger, number: int = 2) -> list[Pacer]:
    """As many as there would be processes."""
    return [ledger.pacer("connectwise", "acme", PACE) for _ in range(number)]


def refused(pacer: Pacer) -> CircuitOpen:
    with pytest.raises(CircuitOpen) as caught:
        pacer.admit()
    return caught.value


def test_the_first_is_admitted_at_once_and_those_who_follow_wait_for_their_turns(
    ledger: PaceLedger, clock: Clock
) -> None:
    ours, theirs = pacers(ledger)
    assert [ours.admit(), theirs.admit(), ours.admit()] == [0, pytest.approx(APART), pytest.approx(2 * APART)]
    clock.wait(APART)
    assert [theirs.admit(), ours.admit(), theirs.admit()] == [0, pytest.approx(APART), pytest.approx(2 * APART)]


def test_accounts_do_not_wait_for_each_other(ledger: PaceLedger) -> None:
    accounts = [("connectwise", "acme"), ("connectwise", "globex"), ("servicenow", "acme"), ("a", "bc"), ("ab", "c")]
    assert [ledger.pacer(*account, PACE).admit() for account in accounts] == [0] * 5


def test_what_a_service_says_holds_for_all(ledger: PaceLedger, clock: Clock) -> None:
    ours, theirs = pacers(ledger)
    ours.learn(Advice(reason="429", wait_seconds=20))
    theirs.learn(Advice(reason="429", wait_seconds=5))
    assert [ours.admit(), theirs.admit()] == [20, pytest.approx(20 + APART)]
    clock.wait(20)
    assert ours.admit() == 0


def test_a_slower_rate_holds_for_all_for_an_hour(ledger: PaceLedger, clock: Clock) -> None:
    ours, theirs = pacers(ledger)
    ours.learn(Advice(reason="X-RateLimit-Limit", requests_per_minute=30))
    assert [theirs.admit(), ours.admit()] == [0, pytest.approx(2 * APART)]
    clock.wait(3601)
    assert [theirs.admit(), ours.admit()] == [0, pytest.approx(APART)]


def test_the_breaker_opens_for_all_with_its_reason(ledger: PaceLedger, clock: Clock) -> None:
    ours, theirs = pacers(ledger)
    assert ours.admit() == 0
    for pacer in (ours, theirs, ours):
        assert ledger.breakers() == []
        pacer.failed("it answered 503.")
    clock.wait(18)
    told = "connectwise of tenant acme failed 3 times in a row, last: it answered 503; it is asked again in 12 s"
    assert (str(refused(theirs)), refused(ours).retry_in) == (told, 12)
    assert ledger.pacer("connectwise", "globex", PACE).admit() == 0
    assert ledger.breakers() == [
        OpenBreaker(
            service="connectwise",
            tenant="acme",
            failures=3,
            reason="it answered 503.",
            opened_at=NOON,
            asked_again_at=NOON + timedelta(seconds=30),
        )
    ]


def test_exactly_one_tries_after_the_pause_and_its_success_closes_for_all(ledger: PaceLedger, clock: Clock) -> None:
    several = pacers(ledger, 8)
    for _ in range(3):
        several[0].failed("503")
    clock.wait(30)
    assert several[5].admit() == 0
    for pacer in several[:5] + several[6:]:
        assert refused(pacer).retry_in == 30
    several[5].succeeded()
    clock.wait(APART)
    assert several[0].admit() == 0
    assert ledger.breakers() == []


def test_a_trial_that_fails_opens_anew_for_the_whole_pause(ledger: PaceLedger, clock: Clock) -> None:
    ours, theirs = pacers(ledger)
    for _ in range(3):
        ours.failed("503")
    clock.wait(30)
    assert theirs.admit() == 0
    theirs.failed("504")
    assert refused(ours).retry_in == 30
    assert "failed 4 times in a row, last: 504" in str(refused(theirs))


def test_another_may_try_when_the_one_who_tried_never_came_back(ledger: PaceLedger, clock: Clock) -> None:
    ours, theirs = pacers(ledger)
    for _ in range(3):
        ours.failed("503")
    clock.wait(30)
    assert theirs.admit() == 0
    clock.wait(119)
    assert refused(ours).retry_in == 1
    clock.wait(1)
    assert ours.admit() == 0


def test_a_success_forgets_the_failures_that_another_met(ledger: PaceLedger, clock: Clock) -> None:
    ours, theirs = pacers(ledger)
    ours.failed("503")
    ours.failed("503")
    assert theirs.admit() == 0
    theirs.succeeded()
    ours.failed("503")
    clock.wait(APART)
    assert ours.admit() == 0


@pytest.mark.parametrize("reason", ["a\0b", "half a pair \ud83d", "x" * 10_000], ids=["nul", "surrogate", "long"])
def test_keeps_whatever_reason_a_service_gives(ledger: PaceLedger, reason: str) -> None:
    pacer = pacers(ledger, 1)[0]
    for _ in range(3):
        pacer.failed(reason)
    pacer.learn(Advice(reason=reason, wait_seconds=1))
    assert ledger.breakers()[0].reason == reason[:LONGEST_TEXT]


def test_no_two_of_many_at_once_get_the_same_turn(ledger: PaceLedger) -> None:
    pace = Pace(requests_per_minute=6000)

    def ask_often(_: int) -> list[float]:
        return [ledger.pacer("connectwise", "acme", pace).admit() for _ in range(10)]

    with ThreadPoolExecutor(8) as pool:
        waits = sorted(wait for several in pool.map(ask_often, range(8)) for wait in several)
    assert waits == [pytest.approx(n * 0.0103) for n in range(80)]


class Counted:
    """A store that counts how often it is asked."""

    def __init__(self, store: PaceStore) -> None:
        self._store, self.times = store, 0

    def change(self, account: Account, decide: Decide[T]) -> T:
        self.times += 1
        return self._store.change(account, decide)


def test_what_changes_nothing_costs_no_transaction(clock: Clock) -> None:
    store = Counted(MemoryPaces(clock))
    pacer = SharedPacer(store, ("connectwise", "acme"), PACE)
    advice = Advice(reason="X-RateLimit-Limit", requests_per_minute=30)
    for _ in range(10):
        clock.wait(10)
        assert pacer.admit() == 0
        pacer.learn(advice)
        pacer.succeeded()
    assert store.times == 11  # ten requests, and one advice that was new


def test_time_is_the_databases_on_postgres(database_url: str) -> None:
    """Two machines whose clocks differ must agree; here the database's own is a day ahead of both."""
    initialise(database_url)
    run_sql(database_url, "CREATE SCHEMA tomorrow")
    body = "SELECT pg_catalog.clock_timestamp() + interval '1 day'"
    run_sql(
        database_url, f"CREATE FUNCTION tomorrow.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ {body} $$"
    )
    ahead = make_url(database_url).update_query_dict({"options": "-csearch_path=tomorrow,pg_catalog"})
    with StateDatabase.open(ahead.render_as_string(hide_password=False)) as state:
        for _ in range(5):
            state.pacer("connectwise", "acme", Pace(requests_per_minute=60)).failed("503")
        opened = state.breakers()[0].opened_at - datetime.now(UTC)
    assert timedelta(hours=23) < opened < timedelta(hours=25)


def test_a_database_that_is_away_is_worth_another_try(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "pg", durable=False)
    try:
        server.start()
        initialise(server.url())
        with StateDatabase.open(server.url()) as state:
            pacer = state.pacer("connectwise", "acme", PACE)
            assert pacer.admit() == 0
            server.stop()
            with pytest.raises(TransientError, match=r"The state database .* did not answer.*Connection refused"):
                pacer.admit()
            server.start()
            assert pacer.admit() <= APART
    finally:
        server.remove()


def test_a_process_that_stops_while_it_holds_the_row_does_not_hold_the_others_up(database_url: str) -> None:
    initialise(database_url)
    holding, ended = Event(), Event()

    def stop(state: PaceState, now: int) -> tuple[PaceState, None]:
        holding.set()
        ended.wait()
        return failed(state, now, PACE, ""), None

    engine = engine_for(parse(database_url))
    paces, began = SqlPaces(engine), time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        stopped = pool.submit(paces.change, ("connectwise", "acme"), stop)
        holding.wait()
        assert paces.pacer("connectwise", "acme", PACE).admit() == 0
        ended.set()
        assert time.monotonic() - began < 10
        assert isinstance(stopped.exception(), TransientError)
    engine.dispose()


def test_a_locked_sqlite_file_is_worth_another_try(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    initialise(url)
    impatient = engine_for(parse(url), patience=0.1)
    other = engine_for(parse(url), poolclass=NullPool)
    with other.begin(), pytest.raises(TransientError, match=r"did not answer: database is locked"):
        SqlPaces(impatient).pacer("connectwise", "acme", PACE).admit()
    impatient.dispose()
    other.dispose()
