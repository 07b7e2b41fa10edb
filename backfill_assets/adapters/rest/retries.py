"""Repeats a request that failed in passing, and waits where the service asks for it.

What is passing and what is final is told by the error types; how long to pause is the `RetryPolicy`'s. Our own loop
and not stamina's or tenacity's: both count every attempt, while here a rate limit is a wait and no try and has a bound
of its own; and stamina adds its jitter to the exponential pause where ours is full.
"""

import logging
from collections.abc import Callable
from typing import TypeVar

from backfill_assets.core.retries import Random, RetryPolicy
from backfill_assets.errors import CircuitOpen, RateLimited, SourceUnreachable, TransientError

T = TypeVar("T")
Sleep = Callable[[float], None]

_log = logging.getLogger(__name__)


def with_retries(request: Callable[[], T], *, policy: RetryPolicy, sleep: Sleep, random: Random) -> T:
    """Make the request until it succeeds, fails for good, or uses up its tries or waits; raises its last error then."""
    failures, absences, waited, outage = 0, 0, 0.0, 0.0
    while True:
        try:
            return request()
        except CircuitOpen:
            raise  # its pause is longer than ours, and whoever asked for more than this request decides about it
        except RateLimited as limit:
            pause = policy.wait(limit.retry_after, random)
            if waited + pause > policy.longest_wait:
                if waited:
                    _amend(limit, f"Gave up after {waited:.0f} s of waiting for the rate limit.")
                raise
            waited += pause
            _log.info("waiting %.1f s: %s", pause, limit)
        except TransientError as error:
            failures += 1
            is_away = isinstance(error, SourceUnreachable) and policy.longest_outage > 0
            absences += is_away
            # Failures of a service that has just come back are its first: the absence used up none of the tries.
            is_over = outage >= policy.longest_outage if is_away else not policy.may_try_again(failures - absences)
            if is_over:
                if failures > 1:
                    _amend(error, f"Gave up after {failures} tries.")
                raise
            pause = policy.delay(failures, random)
            if is_away:
                pause = max(pause, policy.shortest_pause)
                outage += pause
            _log.warning("trying again in %.1f s: %s", pause, error)
        sleep(pause)


def _amend(error: TransientError, sentence: str) -> None:
    # In place and not made anew: the type, with whatever its constructor wants, is what callers decide by.
    error.args = (f"{error} {sentence}", *error.args[1:])
