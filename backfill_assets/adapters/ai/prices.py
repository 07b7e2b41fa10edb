"""What models cost, and what a call costs or may cost.

Here belong the prices that were public when this was written, and the arithmetic. Settings replace or add prices.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from backfill_assets.core.enrichment import Spent
from backfill_assets.errors import ConfigurationError

MILLION = 1_000_000
_DATED = re.compile(r"-20\d\d-\d\d-\d\d$")


@dataclass(frozen=True, kw_only=True)
class Price:
    """US dollars for a million tokens sent, and for a million received."""

    sent: float
    received: float = 0.0

    def __post_init__(self) -> None:
        for dollars in (self.sent, self.received):
            if isinstance(dollars, bool) or not isinstance(dollars, int | float) or not 0 <= dollars < inf:
                raise ValueError(f"{dollars!r} is no price")

    def of(self, *, tokens_in: int, tokens_out: int) -> Spent:
        """What one request with so many tokens costs."""
        dollars = (tokens_in * self.sent + tokens_out * self.received) / MILLION
        return Spent(requests=1, tokens_in=tokens_in, tokens_out=tokens_out, dollars=dollars)


PRICES: Mapping[str, Price] = {
    "gpt-4o": Price(sent=2.50, received=10.00),
    "gpt-4o-mini": Price(sent=0.15, received=0.60),
    "gpt-4.1": Price(sent=2.00, received=8.00),
    "gpt-4.1-mini": Price(sent=0.40, received=1.60),
    "gpt-4.1-nano": Price(sent=0.10, received=0.40),
    "text-embedding-3-small": Price(sent=0.02),
    "text-embedding-3-large": Price(sent=0.13),
    "text-embedding-ada-002": Price(sent=0.10),
}


def price_of(model: str, others: Mapping[str, Price]) -> Price:
    """The price of a model, `others` first; one that nobody knows is refused, since it would break the cap unseen."""
    for name in (model, _DATED.sub("", model)):
        if price := others.get(name) or PRICES.get(name):
            return price
    raise ConfigurationError(
        f"Nobody knows what the model {model} costs, so no budget can be kept; set BACKFILL_AI_PRICES to "
        f'{{"{model}": {{"sent": 2.5, "received": 10}}}}, dollars for a million tokens (0 for a server of your own).'
    )
