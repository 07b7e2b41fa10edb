"""What a benchmark found."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One number beside what was asked of it, both in words, and whether it holds."""

    what: str
    asked: str
    told: str
    holds: bool
