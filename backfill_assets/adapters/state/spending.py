"""What may be spent next: the decision, without a clock and without a database.

Here belong what is remembered of a budget, and how it changes with each reservation and settlement. Where it is
remembered, so that all processes see it, belongs to `budgets`.

A reservation is counted as spent when it is made, and corrected when it is settled: so whatever a process had reserved
when it died stays spent, with nobody to clean up after it. Money is whole billionths of a dollar, rounded up: sums of
them are exact, and one token of the cheapest model costs twenty. Every time is in whole microseconds since 1970.
"""

from dataclasses import dataclass, replace
from math import ceil

from backfill_assets.adapters.state.turns import SECOND, SLACK
from backfill_assets.core.enrichment import Limits, Reservation, Spent

NANO = 1_000_000_000
MINUTE = 60 * SECOND


@dataclass(frozen=True, kw_only=True)
class BudgetState:
    """What all processes remember of one budget: all that was spent, and when the next tokens are due."""

    requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    nanodollars: int = 0
    tokens_due: int = 0

    @property
    def spent(self) -> Spent:
        """What was spent, with what is reserved."""
        return Spent(
            requests=self.requests,
            tokens_in=self.tokens_in,
            tokens_out=self.tokens_out,
            dollars=self.nanodollars / NANO,
        )


@dataclass(frozen=True, kw_only=True)
class Grant:
    """The answer to a reservation: whether there is money for it, and after how many seconds its tokens are due.

    Where there is no money, `dollars` says how much of it was spent.
    """

    is_granted: bool
    seconds: float = 0.0
    dollars: float = 0.0


def reserve(state: BudgetState, now: int, limits: Limits, wanted: Reservation) -> tuple[BudgetState, Grant]:
    """Count the most that a call may cost as spent, unless that passes the cap.

    Tokens are due at even distances, as the turns of `turns` are: the distance to the next is what this one's take.
    """
    cost = nanodollars(wanted.at_most.dollars)
    if limits.dollars is not None and state.nanodollars + cost > int(limits.dollars * NANO):
        return state, Grant(is_granted=False, dollars=state.nanodollars / NANO)
    due = max(now, state.tokens_due)
    taken = replace(_counted(state, wanted.at_most, 1), tokens_due=due + _span(limits, wanted.expected_tokens))
    return taken, Grant(is_granted=True, seconds=(due - now) / SECOND if limits.tokens_per_minute else 0.0)


def settle(state: BudgetState, limits: Limits, reserved: Reservation, actual: Spent) -> BudgetState:
    """Count what a call cost instead of what it might have cost."""
    corrected = _counted(_counted(state, reserved.at_most, -1), actual, 1)
    given_back = _span(limits, reserved.expected_tokens) - _span(limits, actual.tokens)
    return replace(corrected, tokens_due=state.tokens_due - given_back)


def nanodollars(dollars: float) -> int:
    """Billionths of a dollar, rounded up, so that what is counted is never less than what is spent."""
    return ceil(round(dollars * NANO, 3))


def _counted(state: BudgetState, spent: Spent, sign: int) -> BudgetState:
    return replace(
        state,
        requests=state.requests + sign * spent.requests,
        tokens_in=state.tokens_in + sign * spent.tokens_in,
        tokens_out=state.tokens_out + sign * spent.tokens_out,
        nanodollars=state.nanodollars + sign * nanodollars(spent.dollars),
    )


def _span(limits: Limits, tokens: int) -> int:
    """How long these tokens take at the pace allowed; less than the whole allowance is used, as in `turns`."""
    if not limits.tokens_per_minute:
        return 0
    return round(tokens * MINUTE * (1 + SLACK) / limits.tokens_per_minute)
