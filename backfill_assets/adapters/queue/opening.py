"""Opens the queue that the settings name.

Here belongs the choice of the implementation.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from backfill_assets.adapters.queue.passwords import Passwords
from backfill_assets.adapters.queue.sql import SqlQueue
from backfill_assets.core.jobs import JobQueue


@contextmanager
def open_queue(url: str, encryption_key: str | None) -> Iterator[JobQueue]:
    """The queue at this URL, as `settings` gives it; it is reached when it is first asked."""
    with closing(SqlQueue(url, Passwords(encryption_key))) as queue:
        yield queue
