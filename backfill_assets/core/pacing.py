"""The pace at which an account of a service may be asked: limits and breaker, shared by all processes.

Here belong the interfaces, their values and the one who lets everything pass. How a pace is kept for all processes
belongs to `adapters/state`, which requests are made to `adapters/rest`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Pace:
    """What the settings allow: requests a minute, and after how many failures in a row to pause for how long.

    `interval_seconds` is the length of the window in which the service counts requests.
    """

    requests_per_minute: int
    interval_seconds: float = 60.0
    breaker_failures: int = 5
    breaker_pause_seconds: float = 30.0


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What a service says of its own limits; what is None it does not say.

    `wait_seconds`: nobody may ask before that is over. `requests_per_minute`: as fast as the service lets us be, which
    counts where it is slower than the settings. `reason` is in words, for a person.
    """

    reason: str
    wait_seconds: float | None = None
    requests_per_minute: float | None = None


@dataclass(frozen=True, kw_only=True)
class OpenBreaker:
    """A service that failed too often in a row for one tenant; nobody asks it before `asked_again_at`."""

    service: str
    tenant: str
    failures: int
    reason: str
    opened_at: datetime
    asked_again_at: datetime


class Pacer(Protocol):
    """Paces the requests of one (service, tenant)."""

    def admit(self) -> float:
        """Ask for one request: 0 when it may be made now, else the seconds after which to ask again.

        Raises `CircuitOpen` while the breaker is open; after its pause one request is let through to try.
        """
        ...

    def learn(self, advice: Advice) -> None:
        """Take to heart what the service said, for all processes."""
        ...

    def succeeded(self) -> None:
        """The service answered: the breaker closes, and failures are counted from zero."""
        ...

    def failed(self, reason: str) -> None:
        """The service failed in passing (not a 429): the breaker opens after enough of these in a row."""
        ...


class PaceLedger(Protocol):
    """Keeps the paces of all accounts for all processes."""

    def pacer(self, service: str, tenant: str, pace: Pace) -> Pacer:
        """The pacer of one account; threads may share it. It asks nothing of the ledger yet."""
        ...

    def breakers(self) -> Sequence[OpenBreaker]:
        """The breakers that are open now, by service and tenant."""
        ...


class Unpaced:
    """Lets every request pass; for tests, and for one short question."""

    def admit(self) -> float:
        """See `Pacer.admit`."""
        return 0.0

    def learn(self, advice: Advice) -> None:
        """See `Pacer.learn`."""

    def succeeded(self) -> None:
        """See `Pacer.succeeded`."""

    def failed(self, reason: str) -> None:
        """See `Pacer.failed`."""
