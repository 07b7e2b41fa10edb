"""The decision how long to pause before the next request, and when to give up.

Here belong the numbers, the arithmetic and the count of one request's tries. Carrying them out (calling, sleeping)
belongs to the adapters.

What is passing and what is final is told by the error types; how long to pause is the `RetryPolicy`'s. Our own and not
stamina's or tenacity's: both count every attempt, while here a rate limit is a wait and no try and has a bound of its
own; and stamina adds its jitter to the exponential pause where ours is full.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from backfill_assets.errors import CircuitOpen, RateLimited, SourceUnreachable, TransientError

Random = Callable[[], float]
"""Something like `random.random`: a number in [0, 1)."""

_log = logging.getLogger(__name__)

# 2.0 ** 1024 overflows; every cap is reached long before this exponent.
_HIGHEST_EXPONENT = 60


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How one request is repeated; all lengths are in seconds.

    A failure is a try, and the pause after it is exponential with full jitter: many runs that meet the same
    failure spread out evenly. A rate limit is a wait and never a try; `longest_wait` bounds the waits of one request.
    A service that cannot be reached is restarting or away, for which a number of tries says nothing: it is asked again
    until the pauses add up to `longest_outage`, each `shortest_pause` or longer; 0 counts these failures as tries.
    """

    tries: int = 4
    base: float = 1.0
    cap: float = 30.0
    shortest_wait: float = 1.0
    wait_jitter: float = 1.0
    longest_wait: float = 3600.0
    longest_outage: float = 60.0
    shortest_pause: float = 0.1

    def may_try_again(self, failures: int) -> bool:
        """Whether there is a try left after this many failed ones."""
        return failures < self.tries

    def delay(self, failures: int, random: Random) -> float:
        """The pause after the failure with this number, the first being 1."""
        return random() * min(self.cap, self.base * 2.0 ** min(failures - 1, _HIGHEST_EXPONENT))

    def wait(self, retry_after: float, random: Random) -> float:
        """The pause that a rate limit asks for; never less than it, for "at once" would be a busy loop."""
        return max(retry_after, self.shortest_wait) + random() * self.wait_jitter


DEFAULT_POLICY = RetryPolicy()


class Tries:
    """The tries of one request; ask after each failure how long to pause."""

    def __init__(self, policy: RetryPolicy, random: Random) -> None:
        self._policy, self._random = policy, random
        self._failures, self._absences, self._waited, self._outage = 0, 0, 0.0, 0.0

    def pause_after(self, error: TransientError) -> float:
        """Seconds to pause before the next try; raises the error, which says so, where there is none left."""
        if isinstance(error, CircuitOpen):
            raise error  # its pause is longer than ours, and whoever asked for more than this request decides about it
        if isinstance(error, RateLimited):
            return self._pause_at_limit(error)
        return self._pause_after_failure(error)

    def _pause_at_limit(self, limit: RateLimited) -> float:
        pause = self._policy.wait(limit.retry_after, self._random)
        if self._waited + pause > self._policy.longest_wait:
            if self._waited:
                _amend(limit, f"Gave up after {self._waited:.0f} s of waiting for the rate limit.")
            raise limit
        self._waited += pause
        _log.info("waiting %.1f s: %s", pause, limit)
        return pause

    def _pause_after_failure(self, error: TransientError) -> float:
        policy = self._policy
        self._failures += 1
        is_away = isinstance(error, SourceUnreachable) and policy.longest_outage > 0
        self._absences += is_away
        # Failures of a service that has just come back are its first: the absence used up none of the tries.
        tried = self._failures - self._absences
        is_over = self._outage >= policy.longest_outage if is_away else not policy.may_try_again(tried)
        if is_over:
            if self._failures > 1:
                _amend(error, f"Gave up after {self._failures} tries.")
            raise error
        pause = policy.delay(self._failures, self._random)
        if is_away:
            pause = max(pause, policy.shortest_pause)
            self._outage += pause
        _log.warning("trying again in %.1f s: %s", pause, error)
        return pause


def _amend(error: TransientError, sentence: str) -> None:
    # In place and not made anew: the type, with whatever its constructor wants, is what callers decide by.
    error.args = (f"{error} {sentence}", *error.args[1:])
