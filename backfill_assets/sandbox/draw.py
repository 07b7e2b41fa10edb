"""Draws that look random and are always the same for the same record: what records of every service are made of.

Here belongs drawing. What is drawn belongs to each service's records, the words to `names.py`.
"""

from hashlib import blake2b
from typing import Any


class Draw:
    """Bytes that look random and depend on key and rank only; each position is one draw."""

    __slots__ = ("_bytes",)

    def __init__(self, key: bytes, rank: int) -> None:
        self._bytes = blake2b(rank.to_bytes(8), key=key, digest_size=32).digest()

    def below(self, limit: int, position: int) -> int:
        """A number below `limit`, at most 65536."""
        return (self._bytes[position] << 8 | self._bytes[position + 1]) % limit

    def chance(self, percent: int, position: int) -> bool:
        """True in so many of a hundred cases."""
        return self._bytes[position] * 100 < percent * 256

    def of(self, values: Any, position: int) -> Any:
        """One of the values."""
        return values[self._bytes[position] % len(values)]


def key_of(name: str) -> bytes:
    """The key of a table's draws."""
    return blake2b(name.encode(), digest_size=32).digest()
