"""The pace of an account at which many coroutines ask at once: the turns of `pacing`, given out in groups.

Here belong waiting for a turn and telling what came of a request. Turns and breaker are decided by `turns`, as they are
for one who asks alone, and lie in the same row.
"""

import asyncio
from collections.abc import Awaitable, Callable

from backfill_assets.adapters.state import turns
from backfill_assets.adapters.state.grouping import SECONDS_TO_GATHER, Grouped
from backfill_assets.adapters.state.pacing import Account, PaceStore, refusal
from backfill_assets.adapters.state.turns import PaceState, Turn
from backfill_assets.core.pacing import Advice, Pace
from backfill_assets.errors import RateLimited

Rest = Callable[[float], Awaitable[None]]


class CrowdPacer:
    """Paces the requests of one account for the coroutines of one event loop; close it."""

    def __init__(
        self,
        store: PaceStore,
        account: Account,
        pace: Pace,
        *,
        longest_wait: float,
        gather: float = SECONDS_TO_GATHER,
        rest: Rest = asyncio.sleep,
    ) -> None:
        self._account, self._pace, self._longest_wait, self._rest = account, pace, longest_wait, rest
        self._row: Grouped[PaceState] = Grouped(lambda become: store.change(account, become), gather=gather)
        self._has_failures = False

    async def admit(self) -> None:
        """Wait for the turn of one request.

        Raises `CircuitOpen` while the breaker is open, and `RateLimited` where the service wants to be left alone for
        longer than anybody waits.
        """
        reserved: int | None = None
        while True:
            turn = await self._turn(reserved)
            self._has_failures = turn.state.has_failures
            if turn.is_refused:
                raise refusal(self._account, turn)
            if not turn.seconds:
                return
            if turn.seconds > self._longest_wait:
                service, tenant = self._account
                raise RateLimited(
                    f"{service} of {tenant} is not asked for another {turn.seconds:.0f} s, "
                    f"since it said so: {turn.state.told}",
                    retry_after=turn.seconds,
                )
            await self._rest(turn.seconds)
            reserved = turn.reserved

    def learn(self, advice: Advice) -> None:
        """See `Pacer.learn`."""
        self._row.change_later(lambda state, now: turns.learned(state, now, advice))

    def succeeded(self) -> None:
        """See `Pacer.succeeded`; costs nothing unless there were failures when somebody was last admitted."""
        if self._has_failures:
            self._has_failures = False
            self._row.change_later(lambda state, _: turns.succeeded(state))

    def failed(self, reason: str) -> None:
        """See `Pacer.failed`."""
        self._has_failures = True
        self._row.change_later(lambda state, now: turns.failed(state, now, self._pace, reason))

    async def close(self) -> None:
        """Write down what was told."""
        await self._row.close()

    async def _turn(self, reserved: int | None) -> Turn:
        def become(state: PaceState, now: int) -> tuple[PaceState, Turn]:
            turn = turns.ask(state, now, self._pace, reserved)
            return turn.state, turn

        return await self._row.change(become)
