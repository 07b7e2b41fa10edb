"""Whether a tenant's history may be read now: its backfill hours, and how long one backfill may take.

Here belongs the decision, from settings and times alone, and what is said of it. A run asks at each commit
(`assets.py`); what becomes of backfills belongs to `pausing.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from backfill_assets.core.opening import Opening
from backfill_assets.settings import TenantService


@dataclass(frozen=True, kw_only=True)
class Closed:
    """It is outside of the tenant's backfill hours, `until` then."""

    service: TenantService
    at: datetime
    until: datetime

    @property
    def opens(self) -> str:
        """When it opens, as the tenant's clocks show it."""
        return local_text(self.service, self.until)

    def __str__(self) -> str:
        at, hours = local_text(self.service, self.at, with_date=False), self.service.spec.backfill_hours
        return f"paused at {at}, outside of the backfill hours of {self.service.tenant} ({hours})"


@dataclass(frozen=True, kw_only=True)
class TimedOut:
    """The backfill has taken as long as it may."""

    service: TenantService

    def __str__(self) -> str:
        hours = self.service.spec.timeout_hours
        return f"stopped after {hours} {'hour' if hours == 1 else 'hours'} (timeout_hours)"


Halt = Closed | TimedOut


class Halted(Exception):
    """Raised between two chunks when no further one may begin."""

    def __init__(self, halt: Halt) -> None:
        super().__init__(str(halt))
        self.halt = halt


def opening_of(service: TenantService) -> Opening | None:
    """The service's backfill hours in the tenant's time zone; None where it has none."""
    hours = service.spec.backfill_hours
    return None if hours is None else Opening(hours=hours, zone=ZoneInfo(service.time_zone))


def closed(service: TenantService, now: datetime) -> Closed | None:
    """The tenant's being closed now, or None while its history may be read."""
    opening = opening_of(service)
    if opening is None or opening.is_open(now):
        return None
    return Closed(service=service, at=now, until=opening.next_opening(now))


def halt(service: TenantService, *, began: datetime, now: datetime) -> Halt | None:
    """Why a backfill that began then may not go on now, or None."""
    if now - began >= timedelta(hours=service.spec.timeout_hours):
        return TimedOut(service=service)
    return closed(service, now)


def halted_sentence(halts: Sequence[Halt], backfill_id: str | None, *, left: int, of: int) -> str:
    """Why a run stopped before all was done, how much is left, and who goes on with it."""
    told = f"{'; '.join(map(str, halts))}: {left} of {of} partitions are left"
    if backfill_id is None:
        return f"{told}; materialize them again when they may be read"
    if any(isinstance(halt, TimedOut) for halt in halts):
        return f"{told}; `backfill resume {backfill_id}` goes on"
    opens = dict.fromkeys(halt.opens for halt in halts if isinstance(halt, Closed))
    return f"{told}, it goes on at {', '.join(opens)} by itself"


def described(service: TenantService) -> str:
    """The hours with their time zone, or nothing where there are none."""
    hours = service.spec.backfill_hours
    return "" if hours is None else f"{hours} {service.time_zone}"


def local_text(service: TenantService, moment: datetime, *, with_date: bool = True) -> str:
    """A moment as the tenant's clocks show it."""
    shape = "%Y-%m-%d %H:%M" if with_date else "%H:%M"
    return f"{moment.astimezone(ZoneInfo(service.time_zone)).strftime(shape)} {service.time_zone}"
