"""The use case of a run, put together from the wiring.

Here belongs opening what it needs and closing it again.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from backfill_assets.core.scrubbing import Scrubber
from backfill_assets.resources import Wiring
from backfill_assets.work_orders.backfill import OrderBackfill


@contextmanager
def opened_backfill(
    wiring: Wiring, *, run_id: str, log: Callable[[str], None], batch_size: int | None = None
) -> Iterator[OrderBackfill]:
    """Open source and target; the scrubber, which loads a model, when it is first needed."""
    with ExitStack() as opened:
        loaded: list[Scrubber] = []

        def scrubber() -> Scrubber:
            if not loaded:
                loaded.append(opened.enter_context(wiring.orders.scrubber()))
            return loaded[0]

        yield OrderBackfill(
            source=opened.enter_context(wiring.orders.source()),
            target=opened.enter_context(wiring.orders.target()),
            dead_letters=wiring.dead_letters,
            scrubber=scrubber,
            provider=wiring.orders.provider,
            run_id=run_id,
            batch_size=batch_size or wiring.settings.work_orders_batch_size,
            at_once=wiring.settings.ai_requests_at_once,
            log=log,
            clock=wiring.clock,
        )
