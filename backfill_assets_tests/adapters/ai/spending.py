"""A process that asks a provider until the budget is used up: `... STATE_URL AI_URL CAP SECONDS PROVIDER`.

It says `ready`, waits for a line, and at the end prints how many answers it got and how it ended, as JSON.
"""

import asyncio
import json
import sys
import time
from itertools import count

from backfill_assets.adapters.ai.http import Wire
from backfill_assets.adapters.ai.opening import Opened, Provider, opened
from backfill_assets.adapters.state.database import StateDatabase
from backfill_assets.core.enrichment import Limits
from backfill_assets.errors import BudgetExhausted
from backfill_assets.sandbox.ai.server import endpoints


async def spend(provider: Provider, state: StateDatabase, seconds: float) -> dict[str, object]:
    """Ask with eight at once until the money or the time is used up."""
    numbers, answers, ends = count(), 0, time.monotonic() + seconds

    async def ask(from_now: Opened) -> None:
        nonlocal answers
        while time.monotonic() < ends:
            await from_now.extractor.extract(f"Order {next(numbers)}: replaced the noisy gantry fan, tested.")
            answers += 1

    async with opened(provider, state) as from_now:
        outcomes = await asyncio.gather(*(ask(from_now) for _ in range(8)), return_exceptions=True)
    told = {str(each) for each in outcomes if isinstance(each, BudgetExhausted)}
    others = [
        repr(each) for each in outcomes if isinstance(each, BaseException) and not isinstance(each, BudgetExhausted)
    ]
    return {"answers": answers, "told": sorted(told), "others": others}


def main(state_url: str, ai_url: str, cap: str, seconds: str, name: str) -> None:
    """See the module."""
    provider = Provider(
        endpoint=endpoints(ai_url)[name],
        chat_model="gpt-4o",
        embedding_model="text-embedding-3-small",
        limits=Limits(dollars=float(cap)),
        wire=Wire(at_once=8),
    )
    with StateDatabase.open(state_url) as state:
        print("ready", flush=True)
        sys.stdin.readline()
        print(json.dumps(asyncio.run(spend(provider, state, float(seconds)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
