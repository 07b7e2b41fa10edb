"""Repeats a request that failed in passing, and waits where the service asks for it.

Here belongs the loop; what it does after a failure is decided by `core.retries`.
"""

from collections.abc import Callable
from typing import TypeVar

from backfill_assets.core.retries import Random, RetryPolicy, Tries
from backfill_assets.errors import TransientError

T = TypeVar("T")
Sleep = Callable[[float], None]


def with_retries(request: Callable[[], T], *, policy: RetryPolicy, sleep: Sleep, random: Random) -> T:
    """Make the request until it succeeds, fails for good, or uses up its tries or waits; raises its last error then."""
    tries = Tries(policy, random)
    while True:
        try:
            return request()
        except TransientError as error:
            pause = tries.pause_after(error)
        sleep(pause)
