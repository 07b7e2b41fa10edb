"""Being the only one who writes some tables, among all who work on one queue.

Here belongs how that is taken and given back. A connection of its own carries it, so that it ends with its holder.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection, text

from backfill_assets.adapters.queue.connecting import engine_for, told

ROUND = 1.0
"""Seconds between two tries: in between the waiting one is asked whether it still wants to."""

TRY_LOCK = text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))")


@contextmanager
def hold(url: str, places: Sequence[str], keep_waiting: Callable[[], bool]) -> Iterator[bool]:
    """Hold all of these places; false where `keep_waiting` said no before they were free."""
    engine = engine_for(url, pooled=False).execution_options(isolation_level="AUTOCOMMIT")
    with told(engine.url):
        connection = engine.connect()
    with connection:
        with told(engine.url):
            # All in the same order, so that nobody waits for somebody who waits for him.
            got_all = all(_wait(connection, place, keep_waiting) for place in sorted(set(places)))
        yield got_all


def _wait(connection: Connection, place: str, keep_waiting: Callable[[], bool]) -> bool:
    while not connection.scalar(TRY_LOCK, {"name": f"backfill_assets table {place}"}):
        if not keep_waiting():
            return False
        time.sleep(ROUND)
    return True
