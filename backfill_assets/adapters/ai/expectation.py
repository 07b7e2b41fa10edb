"""How many tokens a request will take: what is sure, and what experience says.

A token is a byte at least, so that bytes are the most that a text can be. That is four times of what English takes, too
much to pace by; so what came of earlier requests is kept as a moving mean.
"""

from dataclasses import dataclass

FIRST_TOKENS_PER_BYTE = 0.35
WEIGHT = 0.05
"""How much each request counts in the mean."""


@dataclass
class Expectation:
    """Learns tokens sent for each byte, and tokens received; for requests that are alike."""

    received: float
    per_byte: float = FIRST_TOKENS_PER_BYTE

    def tokens(self, size: int) -> int:
        """What a request of so many bytes will probably take, both ways."""
        return round(size * self.per_byte + self.received)

    def learn(self, size: int, *, tokens_in: int, tokens_out: int) -> None:
        """A request of this size took so many."""
        self.per_byte += WEIGHT * (tokens_in / max(size, 1) - self.per_byte)
        self.received += WEIGHT * (tokens_out - self.received)


def whole(number: object) -> int | None:
    """The number where it is a count of tokens; None where an answer says nonsense, which is no reason to fail."""
    is_count = isinstance(number, int) and not isinstance(number, bool) and number >= 0
    return number if is_count and isinstance(number, int) else None
