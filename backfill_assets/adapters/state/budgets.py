"""Budgets that all processes share: one row for each in the state database, and the budget over it.

Here belong the row, its lock and its clock. What is decided about a reservation belongs to `spending`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from typing import TypeVar

from sqlalchemy import Connection, Engine, RowMapping, bindparam, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from backfill_assets.adapters.state import spending
from backfill_assets.adapters.state.connecting import transaction
from backfill_assets.adapters.state.grouping import SECONDS_TO_GATHER, Become, Grouped
from backfill_assets.adapters.state.pacing import microseconds
from backfill_assets.adapters.state.spending import BudgetState, Grant
from backfill_assets.adapters.state.tables import BUDGETS, UtcDateTime
from backfill_assets.core.enrichment import NOTHING, Limits, Reservation, Spent, exhausted
from backfill_assets.core.windows import utc_now

T = TypeVar("T")
Rest = Callable[[float], Awaitable[None]]

AI = "ai"
"""The one budget that all providers are paid from."""


class SqlBudgets:
    """Keeps budgets for all processes, on PostgreSQL or SQLite."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._is_postgres = engine.dialect.name == "postgresql"
        insert = postgresql.insert if self._is_postgres else sqlite.insert
        self._make = insert(BUDGETS).on_conflict_do_nothing()
        self._write = update(BUDGETS).where(BUDGETS.c.name == bindparam("of_name"))
        wanted = select(BUDGETS).where(BUDGETS.c.name == bindparam("of_name"))
        if self._is_postgres:
            # The time of the outer SELECT is taken when the lock is held. Unlike a pace, this waits for the disk: what
            # was spent must survive a crash of the server.
            held = wanted.with_for_update().subquery()
            wanted = select(held, func.clock_timestamp(type_=UtcDateTime).label("now"))
        self._lock_and_read = wanted

    def open(self, limits: Limits, *, name: str = AI, gather: float = SECONDS_TO_GATHER) -> "SharedBudget":
        """The budget of this name under these limits, for the coroutines of one event loop; close it."""
        return SharedBudget(self, name, limits, gather=gather)

    def spent(self, name: str = AI) -> Spent:
        """What all processes have spent, with what they have reserved."""
        with transaction(self._engine) as connection:
            row = connection.execute(select(BUDGETS).where(BUDGETS.c.name == name)).mappings().one_or_none()
        return BudgetState().spent if row is None else _state(row).spent

    def change(self, name: str, become: Become[BudgetState, T]) -> T:
        """Let nobody else change this budget while it is decided what becomes of it."""
        with transaction(self._engine) as connection:
            row = self._locked(connection, name)
            state = _state(row)
            new, outcome = become(state, microseconds(row["now"] if self._is_postgres else utc_now()))
            if new != state:
                connection.execute(self._write, {"of_name": name, **asdict(new)})
            return outcome

    def _locked(self, connection: Connection, name: str) -> RowMapping:
        found = connection.execute(self._lock_and_read, {"of_name": name}).mappings().one_or_none()
        if found is not None:
            return found
        connection.execute(self._make, {"name": name, **asdict(BudgetState())})
        return connection.execute(self._lock_and_read, {"of_name": name}).mappings().one()


class SharedBudget:
    """The `Budget` over the state database."""

    def __init__(
        self, budgets: SqlBudgets, name: str, limits: Limits, *, gather: float, rest: Rest = asyncio.sleep
    ) -> None:
        self._budgets, self._name, self._limits, self._rest = budgets, name, limits, rest
        self._row: Grouped[BudgetState] = Grouped(lambda become: budgets.change(name, become), gather=gather)
        self._under_way = 0
        self._settled = asyncio.Event()

    async def reserve(self, at_most: Spent, *, expected_tokens: int | None = None) -> Reservation:
        """See `Budget.reserve`; while calls of this process are under way, their settlement is waited for first."""
        tokens = at_most.tokens if expected_tokens is None else expected_tokens
        wanted = Reservation(at_most=at_most, expected_tokens=tokens)
        while True:
            settled = self._settled  # before asking, so that none is missed
            grant = await self._ask(wanted)
            if grant.is_granted:
                break
            if not self._under_way:
                raise exhausted(grant.dollars, at_most.dollars, self._limits.dollars or 0.0)
            await settled.wait()
        self._under_way += 1
        try:
            await self._rest(grant.seconds)
        except BaseException:
            self.settle(wanted, NOTHING)
            raise
        return wanted

    def settle(self, reservation: Reservation, actual: Spent | None) -> None:
        """See `Budget.settle`."""
        self._under_way -= 1
        limits = self._limits
        if actual is not None:
            self._row.change_later(lambda state, _: spending.settle(state, limits, reservation, actual))
        settled, self._settled = self._settled, asyncio.Event()
        settled.set()

    async def spent(self) -> Spent:
        """See `Budget.spent`."""
        return await asyncio.to_thread(self._budgets.spent, self._name)

    async def close(self) -> None:
        """Write down what was settled."""
        await self._row.close()

    async def _ask(self, wanted: Reservation) -> Grant:
        limits = self._limits
        return await self._row.change(lambda state, now: spending.reserve(state, now, limits, wanted))


def _state(row: RowMapping) -> BudgetState:
    return replace(BudgetState(), **{name: row[name] for name in BudgetState.__dataclass_fields__})
