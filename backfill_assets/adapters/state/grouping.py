"""Changes that many coroutines make to one row, carried out in few transactions.

Here belongs gathering changes and telling their outcomes. The row, its lock and its clock belong to the store, what
becomes of the row to whoever asks.

A process that makes a hundred requests a second would otherwise make three hundred transactions a second, which all
wait for one lock. Those who come within a few hundredths of a second share one.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Generic, TypeVar

S = TypeVar("S")
T = TypeVar("T")

Become = Callable[[S, int], tuple[S, T]]
"""From what is remembered and the time to what is remembered next, and whatever the caller wants to know."""

SECONDS_TO_GATHER = 0.02

_log = logging.getLogger(__name__)


class Grouped(Generic[S]):
    """Changes one row of a store; for the coroutines of one event loop. Close it, so that nothing is left undone."""

    def __init__(self, change: Callable[[Become[S, Any]], Any], *, gather: float = SECONDS_TO_GATHER) -> None:
        self._carry_out, self._gather = change, gather
        self._waiting: list[tuple[Become[S, Any], asyncio.Future[Any]]] = []
        self._worker: asyncio.Task[None] | None = None

    async def change(self, become: Become[S, T]) -> T:
        """Change the row, and say what came of it once that is committed; raises what the store raises.

        The order of those who come one after the other is kept.
        """
        outcome: T = await self._queued(become)
        return outcome

    def change_later(self, become: Callable[[S, int], S]) -> None:
        """Change the row soon, with nobody waiting for it.

        A change that fails is not made again: nobody knows whether it was committed.
        """
        self._queued(lambda state, now: (become(state, now), None)).add_done_callback(_tell)

    async def close(self) -> None:
        """Carry out what is waiting."""
        if self._worker is not None:
            await self._worker

    def _queued(self, become: Become[S, Any]) -> asyncio.Future[Any]:
        outcome = asyncio.get_running_loop().create_future()
        self._waiting.append((become, outcome))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return outcome

    async def _work(self) -> None:
        while self._waiting:
            await asyncio.sleep(self._gather)
            group, self._waiting = self._waiting, []
            become = _in_turn([each for each, _ in group])
            commit = asyncio.get_running_loop().run_in_executor(None, self._carry_out, become)
            await asyncio.wait([commit])
            error = commit.exception()
            results = [None] * len(group) if error else commit.result()
            for (_, outcome), result in zip(group, results, strict=True):
                if outcome.cancelled():
                    continue
                if error:
                    outcome.set_exception(error)
                else:
                    outcome.set_result(result)


def _in_turn(group: list[Become[S, Any]]) -> Become[S, list[Any]]:
    def become(state: S, now: int) -> tuple[S, list[Any]]:
        outcomes = []
        for each in group:
            state, outcome = each(state, now)
            outcomes.append(outcome)
        return state, outcomes

    return become


def _tell(outcome: asyncio.Future[Any]) -> None:
    if not outcome.cancelled() and (error := outcome.exception()):
        _log.warning("a change was lost: %s", error)
