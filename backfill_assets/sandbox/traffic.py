"""The requests that came in: a log for tests to look at, and each tenant's rate limit.

What a refused request is answered belongs to the module of its service.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Any


class RequestLog:
    """Counts requests and keeps the last 200 of them."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lines: deque[dict[str, str]] = deque(maxlen=200)

    def add(self, *, target: str, method: str, path: str, query: str) -> None:
        """Note a request; `target` is `service/tenant/endpoint`, the path without version and record id."""
        self._counts[target] += 1
        self._lines.append({"method": method, "path": path, "query": query})

    def as_json(self) -> dict[str, Any]:
        """Counts by target, and the last requests, oldest first."""
        return {"counts": dict(sorted(self._counts.items())), "requests": list(self._lines)}

    def clear(self) -> None:
        """Forget every request."""
        self._counts.clear()
        self._lines.clear()


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """So many requests in any so many seconds."""

    requests: int
    seconds: float = 60


class RateLimit:
    """Lets each tenant make so many requests in any window of time; None for no limit."""

    def __init__(self, allowance: Allowance | None, *, clock: Callable[[], float]) -> None:
        self.allowance = allowance
        self._clock = clock
        self._admitted: defaultdict[str, deque[float]] = defaultdict(deque)

    def wait(self, account: str) -> int:
        """Admit a request and return 0, or return the whole seconds to wait before the next try."""
        if self.allowance is None:
            return 0
        if self.used(account) >= self.allowance.requests:
            return max(1, ceil(self.allowance.seconds - (self._clock() - self._admitted[account][0])))
        self._admitted[account].append(self._clock())
        return 0

    def used(self, account: str) -> int:
        """How many requests were admitted in the window that ends now."""
        if self.allowance is None:
            return 0
        now, admitted = self._clock(), self._admitted[account]
        while admitted and now - admitted[0] >= self.allowance.seconds:
            admitted.popleft()
        return len(admitted)
