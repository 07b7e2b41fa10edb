"""The decision how long to pause before the next request, and when to give up.

Here belong the numbers and the arithmetic. Carrying them out (calling, sleeping) belongs to the adapters.
"""

from collections.abc import Callable
from dataclasses import dataclass

Random = Callable[[], float]
"""Something like `random.random`: a number in [0, 1)."""

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
