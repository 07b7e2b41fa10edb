"""When an account of a service may be asked next: the decision, without a clock and without a database.

Here belong what is remembered of an account, and how it changes with each request, answer and failure. Where it is
remembered, so that all processes see it, belongs to `pacing`.

Turns are given out in advance, one to each who waits, at even distances (GCRA with a burst of one): nobody has to race
for a turn, so none is lost, and each costs the same few statements however many wait. A service that lets N requests
pass in any window of T never sees more of them when turns are T * (1 + SLACK) / N apart and each request reaches it at
most SLACK * T after its turn. A burst would take its size off the allowance and buy nothing.

Every time is in whole microseconds since 1970.
"""

from dataclasses import dataclass, replace

from pyrate_limiter import GCRA, Rate

from backfill_assets.core.pacing import Advice, Pace

ALGORITHM = GCRA()
SECOND = 1_000_000
HOUR = 3600 * SECOND

SLACK = 0.03
"""By how much of the window a request may reach the service late; as much of the allowance stays unused."""

LATE = 0.02
"""By how much of the window a turn may be taken late; the rest of `SLACK` is for the way to the service."""

RESERVED_AHEAD = 30 * SECOND
"""How far ahead a turn is given out: those who die waiting take no more than that with them."""

LONGEST_TRIAL = 120 * SECOND
"""After which the request that tries a service out is taken for dead; longer than any time-out of ours."""

LONGEST_BAN = 24 * HOUR
ADVICE_LASTS = HOUR
ADVICE_IS_THE_SAME = 0.01
"""Difference in rates below which an advice is no news, ..."""
ADVICE_IS_FRESH = ADVICE_LASTS // 6
"""... for so long: services repeat themselves in each answer."""

LONGEST_TEXT = 500


@dataclass(frozen=True, kw_only=True)
class PaceState:
    """What all processes remember of one account; a time that is None has never been.

    `next_turn` is GCRA's theoretical arrival time, a thousandth of a microsecond being its unit. Nobody may ask before
    `not_before`, for the reason `told`. The breaker is open from `opened_at` on until somebody succeeds; after
    `open_until` one request may try, and others again after `trial_until`, should it never end.
    """

    next_turn: int = 0
    not_before: int | None = None
    told: str = ""
    learned_per_minute: float | None = None
    learned_at: int | None = None
    failures: int = 0
    reason: str = ""
    opened_at: int | None = None
    open_until: int | None = None
    trial_until: int | None = None

    @property
    def has_failures(self) -> bool:
        """Whether a success changes anything."""
        return self.failures > 0 or self.opened_at is not None

    @property
    def refused_until(self) -> int:
        """When the breaker lets the next one try; 0 while it is closed."""
        return 0 if self.opened_at is None else max(self.open_until or 0, self.trial_until or 0)


@dataclass(frozen=True, kw_only=True)
class Turn:
    """The answer to who asks at `now`: come (again) at `at`, with the turn that is `reserved`, if it is one.

    `state` is what is remembered from now on. `is_refused` says that the breaker is open.
    """

    state: PaceState
    now: int
    at: int
    reserved: int | None = None
    is_refused: bool = False

    @property
    def seconds(self) -> float:
        """How long to wait; 0 when the request may be made now."""
        return max(0, self.at - self.now) / SECOND


def ask(state: PaceState, now: int, pace: Pace, reserved: int | None = None) -> Turn:
    """Decide about one request of somebody who may hold a `reserved` turn."""
    if now < state.refused_until:
        return Turn(state=state, now=now, at=_look_again(state, now, pace), is_refused=True)
    if reserved is not None and state.opened_at is None and _still_holds(reserved, state, now, pace):
        return Turn(state=state, now=now, at=reserved, reserved=reserved if reserved > now else None)
    earliest = max(now, state.not_before or 0)
    next_turn, slot = _take(state.next_turn, earliest, rate(state, now, pace))
    taken = replace(state, next_turn=next_turn)
    if state.opened_at is not None:
        # The one who can ask at once is the one who tries; whoever has to wait for it holds nothing.
        tried = replace(taken, trial_until=now + LONGEST_TRIAL)
        return Turn(state=state if slot > now else tried, now=now, at=slot)
    if slot - now > RESERVED_AHEAD:
        return Turn(state=state, now=now, at=max(earliest, slot - RESERVED_AHEAD))
    return Turn(state=taken, now=now, at=slot, reserved=slot if slot > now else None)


def rate(state: PaceState, now: int, pace: Pace) -> Rate:
    """The distance between turns, as pyrate-limiter wants it told; its milliseconds are our microseconds."""
    per_minute = _per_minute(state, now, pace)
    window = pace.interval_seconds
    # The service counts whole requests: of 1.9 a window it lets one pass.
    allowed = int(per_minute * window / 60 + 1e-9)
    distance = window / allowed if allowed else 60 / per_minute
    return Rate(1, round(distance * (1 + SLACK) * SECOND), burst=1)


def learned(state: PaceState, now: int, advice: Advice) -> PaceState:
    """Remember an advice: a ban only grows, while the newest rate counts."""
    if advice.wait_seconds is not None:
        until = now + min(round(max(0.0, advice.wait_seconds) * SECOND), LONGEST_BAN)
        if until > max(now, state.not_before or 0):
            state = replace(state, not_before=until, told=advice.reason[:LONGEST_TEXT])
    if advice.requests_per_minute and advice.requests_per_minute > 0:
        state = replace(state, learned_per_minute=float(advice.requests_per_minute), learned_at=now)
    return state


def is_news(advice: Advice, state: PaceState, now: int, pace: Pace) -> bool:
    """Whether an advice says more than what was remembered at `now`."""
    if advice.wait_seconds is not None:
        return True
    if not advice.requests_per_minute or advice.requests_per_minute < 0:
        return False
    known = _per_minute(state, now, pace)
    is_same = abs(min(advice.requests_per_minute, pace.requests_per_minute) - known) <= known * ADVICE_IS_THE_SAME
    is_fresh = known == pace.requests_per_minute or now - (state.learned_at or 0) < ADVICE_IS_FRESH
    return not (is_same and is_fresh)


def failed(state: PaceState, now: int, pace: Pace, reason: str) -> PaceState:
    """Count a failure; the breaker opens, or opens anew after a trial that failed."""
    state = replace(state, failures=state.failures + 1)
    is_open = state.opened_at is not None
    if is_open and state.trial_until is None and now < (state.open_until or 0):
        return state  # under way since before it opened: this says nothing new
    state = replace(state, reason=reason[:LONGEST_TEXT], trial_until=None)
    if not is_open and state.failures < pace.breaker_failures:
        return state
    pause = round(pace.breaker_pause_seconds * SECOND)
    return replace(state, opened_at=state.opened_at if is_open else now, open_until=now + pause)


def succeeded(state: PaceState) -> PaceState:
    """Close the breaker and count from zero."""
    return replace(state, failures=0, reason="", opened_at=None, open_until=None, trial_until=None)


def _take(next_turn: int, earliest: int, allowed: Rate) -> tuple[int, int]:
    """Take the first turn from `earliest` on: the new theoretical arrival time, and when the turn is."""
    _, decision = ALGORITHM.step([allowed], (next_turn,), earliest, 1)
    slot = earliest + (decision.retry_after_ms or 0)
    (after,), _ = ALGORITHM.step([allowed], (next_turn,), slot, 1)
    return int(after), slot


def _still_holds(reserved: int, state: PaceState, now: int, pace: Pace) -> bool:
    is_too_late = now > reserved + pace.interval_seconds * LATE * SECOND
    return not is_too_late and reserved >= (state.not_before or 0)


def _look_again(state: PaceState, now: int, pace: Pace) -> int:
    """When somebody who is refused may ask again: a trial mostly ends long before its time is over."""
    if state.trial_until is None or now < (state.open_until or 0):
        return state.refused_until
    return min(state.refused_until, now + round(pace.breaker_pause_seconds * SECOND))


def _per_minute(state: PaceState, now: int, pace: Pace) -> float:
    is_known = state.learned_at is not None and now - state.learned_at < ADVICE_LASTS
    if state.learned_per_minute is None or not is_known:
        return float(pace.requests_per_minute)
    return min(float(pace.requests_per_minute), state.learned_per_minute)
