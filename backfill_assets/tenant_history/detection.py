"""Which tenant service needs its history filled in: a pure decision from facts, with its reason in words.

Where the facts come from belongs to `onboarding.py`.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

NEW_FOR = timedelta(days=7)
"""A service whose oldest data is younger than this counts as newly connected."""


class Verdict(StrEnum):
    """What detection says of a tenant's service."""

    BACKFILL = "backfill"
    OFF = "off"
    NOT_CONFIGURED = "not configured"
    WAITING = "waiting"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    STOPPED = "stopped"
    ESTABLISHED = "established"


class History(StrEnum):
    """How the newest backfill of the whole history stands."""

    NONE = "none"
    ACTIVE = "active"
    PAUSED = "paused"
    COMPLETED = "completed"
    STOPPED = "stopped"


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What detection must know of a tenant's service.

    `missing` names the settings that lack; `stopped_id` is the backfill that failed or was cancelled;
    `oldest_data_age` is None where the lake holds nothing; `was_off` is true from the moment at which the service
    was seen switched off until a backfill follows its being switched on again; `opens` says when its backfill hours
    begin, and nothing while they last.
    """

    is_enabled: bool
    missing: tuple[str, ...] = ()
    history: History = History.NONE
    stopped_id: str = ""
    oldest_data_age: timedelta | None = None
    was_off: bool = False
    opens: str = ""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A verdict and why."""

    verdict: Verdict
    reason: str


def judge(facts: Facts) -> Judgement:
    """Decide; the first rule that fits wins."""
    verdict, reason = _decide(facts)
    if verdict is Verdict.BACKFILL and facts.opens:
        verdict, reason = Verdict.WAITING, f"{reason}; it is launched at {facts.opens}, when its backfill hours begin"
    return Judgement(verdict=verdict, reason=reason)


def _decide(facts: Facts) -> tuple[Verdict, str]:
    if not facts.is_enabled:
        return Verdict.OFF, "switched off in the tenants file"
    if facts.missing:
        return Verdict.NOT_CONFIGURED, f"not set: {', '.join(facts.missing)}"
    if facts.history is History.PAUSED:
        return Verdict.PAUSED, f"its backfill is paused {_until(facts.opens)}"
    if facts.history is History.ACTIVE:
        return Verdict.RUNNING, "its backfill is under way"
    if facts.was_off:
        return Verdict.BACKFILL, "switched on again after being off"
    if facts.history is History.COMPLETED:
        return Verdict.COMPLETED, "a backfill of its history has completed"
    if facts.history is History.STOPPED:
        return Verdict.STOPPED, f"its backfill ended before all was done; `backfill resume {facts.stopped_id}` goes on"
    return _by_age(facts.oldest_data_age)


def _until(opens: str) -> str:
    return f"until {opens}, and goes on by itself" if opens else "and goes on within a minute"


def _by_age(age: timedelta | None) -> tuple[Verdict, str]:
    if age is None:
        return Verdict.BACKFILL, "newly connected: the lake holds nothing of it"
    if age < NEW_FOR:
        return Verdict.BACKFILL, f"newly connected: its oldest data is {_days(age)} old, less than {NEW_FOR.days} days"
    return Verdict.ESTABLISHED, f"its oldest data is {_days(age)} old, so it is not new; `backfill trigger` fills it in"


def _days(age: timedelta) -> str:
    return "1 day" if age.days == 1 else f"{age.days} days"
