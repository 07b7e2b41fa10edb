"""Paces that all processes share: one row for each account in the state database, and the in-memory twin.

Here belong the row, its lock, its clock and the pacer over it. What is decided about a request belongs to `turns`.

A request that need not wait costs one transaction. One that waits costs two: the first reserves its turn, the second,
when it is due, finds out whether the service has been banned or the breaker opened meanwhile. On PostgreSQL time is the
database's, so that machines whose clocks differ agree.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    RowMapping,
    Select,
    and_,
    bindparam,
    func,
    select,
    true,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from backfill_assets.adapters.state import turns
from backfill_assets.adapters.state.connecting import transaction
from backfill_assets.adapters.state.tables import PACES, UtcDateTime
from backfill_assets.adapters.state.turns import PaceState, Turn
from backfill_assets.core.pacing import Advice, OpenBreaker, Pace
from backfill_assets.core.windows import Clock, utc_now
from backfill_assets.errors import CircuitOpen

T = TypeVar("T")
Account = tuple[str, str]
"""Service and tenant."""

Decide = Callable[[PaceState, int], tuple[PaceState, T]]
"""From what is remembered and the time to what is remembered next, and whatever the caller wants to know."""

POSTGRES_SETTINGS = (
    # Nobody waits for the disk: a crash of the server may forget the last turns, and takes longer than they last.
    ("synchronous_commit", "off"),
    # A machine that dies between two statements holds the others up no longer than this.
    ("idle_in_transaction_session_timeout", "3s"),
)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TIMES = ("not_before", "learned_at", "opened_at", "open_until", "trial_until")


class PaceStore(Protocol):
    """Where the states of accounts are kept."""

    def change(self, account: Account, decide: Decide[T]) -> T:
        """Let nobody else change this account while it is decided what becomes of it."""
        ...


@dataclass
class _Seen(threading.local):
    """What a thread remembers of its last look: its turn, and the state at that time."""

    reserved: int | None = None
    state: PaceState = field(default_factory=PaceState)
    now: int = 0


class SharedPacer:
    """The `Pacer` of one account over a store; threads may share it."""

    def __init__(self, store: PaceStore, account: Account, pace: Pace) -> None:
        self._store, self._account, self._pace = store, account, pace
        self._seen = _Seen()

    def admit(self) -> float:
        """See `Pacer.admit`."""
        reserved, pace = self._seen.reserved, self._pace

        def decide(state: PaceState, now: int) -> tuple[PaceState, Turn]:
            turn = turns.ask(state, now, pace, reserved)
            return turn.state, turn

        turn = self._store.change(self._account, decide)
        self._remember(turn.state, turn.now, turn.reserved)
        if turn.is_refused:
            raise refusal(self._account, turn)
        return turn.seconds

    def learn(self, advice: Advice) -> None:
        """See `Pacer.learn`; advice that says nothing new costs nothing."""
        if turns.is_news(advice, self._seen.state, self._seen.now, self._pace):
            self._change(lambda state, now: turns.learned(state, now, advice))

    def succeeded(self) -> None:
        """See `Pacer.succeeded`; costs nothing unless there were failures when this request was admitted.

        Those that other processes met since then are forgotten with the next success.
        """
        if self._seen.state.has_failures:
            self._change(lambda state, _: turns.succeeded(state))

    def failed(self, reason: str) -> None:
        """See `Pacer.failed`."""
        self._change(lambda state, now: turns.failed(state, now, self._pace, reason))

    def _change(self, become: Callable[[PaceState, int], PaceState]) -> None:
        def decide(state: PaceState, now: int) -> tuple[PaceState, tuple[PaceState, int]]:
            new = become(state, now)
            return new, (new, now)

        self._remember(*self._store.change(self._account, decide), self._seen.reserved)

    def _remember(self, state: PaceState, now: int, reserved: int | None) -> None:
        self._seen.state, self._seen.now, self._seen.reserved = state, now, reserved


def refusal(account: Account, turn: Turn) -> CircuitOpen:
    """What is told to one who asks while the breaker is open."""
    service, tenant = account
    state = turn.state
    return CircuitOpen(
        f"{service} of tenant {tenant} failed {state.failures} times in a row, last: {state.reason.rstrip('.')}; "
        f"it is asked again in {max(1, round(turn.seconds))} s",
        retry_in=turn.seconds,
    )


class MemoryPaces:
    """The `PaceLedger` of one process, for tests."""

    def __init__(self, clock: Clock = utc_now) -> None:
        self._clock = clock
        self._states: dict[Account, PaceState] = {}
        self._lock = threading.Lock()

    def pacer(self, service: str, tenant: str, pace: Pace) -> SharedPacer:
        """See `PaceLedger.pacer`."""
        return SharedPacer(self, (service, tenant), pace)

    def breakers(self) -> Sequence[OpenBreaker]:
        """See `PaceLedger.breakers`."""
        with self._lock:
            return _open_breakers(self._states.items())

    def change(self, account: Account, decide: Decide[T]) -> T:
        """See `PaceStore.change`."""
        with self._lock:
            now = microseconds(self._clock())
            self._states[account], outcome = decide(self._states.get(account, PaceState()), now)
            return outcome


class SqlPaces:
    """The `PaceLedger` of all processes, on PostgreSQL or SQLite; `clock` replaces the database's, for tests."""

    def __init__(self, engine: Engine, clock: Clock | None = None) -> None:
        self._engine = engine
        is_postgres = engine.dialect.name == "postgresql"
        self._clock = clock or (None if is_postgres else utc_now)
        self._lock_and_read = _lock_and_read(is_postgres)
        insert = postgresql.insert if is_postgres else sqlite.insert
        self._make = insert(PACES).on_conflict_do_nothing()
        self._write = update(PACES).where(_is_account())

    def pacer(self, service: str, tenant: str, pace: Pace) -> SharedPacer:
        """See `PaceLedger.pacer`."""
        return SharedPacer(self, (service, tenant), pace)

    def breakers(self) -> Sequence[OpenBreaker]:
        """See `PaceLedger.breakers`."""
        with transaction(self._engine) as connection:
            rows = connection.execute(select(PACES).where(PACES.c.opened_at.is_not(None))).mappings().all()
        return _open_breakers(((row["service"], row["tenant"]), _state(row)) for row in rows)

    def change(self, account: Account, decide: Decide[T]) -> T:
        """See `PaceStore.change`."""
        which = dict(zip(("of_service", "of_tenant"), account, strict=True))
        with transaction(self._engine) as connection:
            row = self._locked(connection, account, which)
            state = _state(row)
            new, outcome = decide(state, microseconds(self._clock() if self._clock else row["now"]))
            if new != state:
                connection.execute(self._write, {**which, **_row(new)})
            return outcome

    def _locked(self, connection: Connection, account: Account, which: dict[str, str]) -> RowMapping:
        found = connection.execute(self._lock_and_read, which).mappings().one_or_none()
        if found is not None:
            return found
        named = dict(zip(("service", "tenant"), account, strict=True))
        connection.execute(self._make, {**named, **_row(PaceState())})
        return connection.execute(self._lock_and_read, which).mappings().one()


def _open_breakers(states: Iterable[tuple[Account, PaceState]]) -> Sequence[OpenBreaker]:
    return [
        OpenBreaker(
            service=service,
            tenant=tenant,
            failures=state.failures,
            reason=state.reason,
            opened_at=_moment(state.opened_at),
            asked_again_at=_moment(state.refused_until),
        )
        for (service, tenant), state in sorted(states, key=lambda known: known[0])
        if state.opened_at is not None
    ]


def _is_account() -> ColumnElement[bool]:
    # Not named like the columns: an UPDATE uses those names for its new values.
    return and_(PACES.c.service == bindparam("of_service"), PACES.c.tenant == bindparam("of_tenant"))


def _lock_and_read(is_postgres: bool) -> Select[Any]:
    if not is_postgres:
        return select(PACES).where(_is_account())  # a transaction begins with the lock of the file
    # The time of the outer SELECT is taken when the lock is held.
    held = select(PACES).where(_is_account()).with_for_update().subquery()
    settings = [func.set_config(name, value, true()).label(name) for name, value in POSTGRES_SETTINGS]
    return select(held, func.clock_timestamp(type_=UtcDateTime).label("now"), *settings)


def _state(row: RowMapping) -> PaceState:
    found = {name: row[name] for name in PaceState.__dataclass_fields__}
    times = {name: microseconds(found[name]) for name in TIMES if found[name] is not None}
    return PaceState(**{**found, **times})


def _row(state: PaceState) -> dict[str, Any]:
    fields = asdict(state)
    return {**fields, **{name: _moment(fields[name]) for name in TIMES if fields[name] is not None}}


def microseconds(moment: datetime) -> int:
    """Whole microseconds since 1970."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def _moment(microseconds: int) -> datetime:
    return EPOCH + timedelta(microseconds=microseconds)
