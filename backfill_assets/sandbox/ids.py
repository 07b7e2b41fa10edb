"""How a service writes the ids that the sandbox counts: as numbers, or as texts in the same order.

Here belongs what is the same for every service; the texts belong to the services.
"""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

RecordId = int | str


class Ids(Protocol):
    """The ids of one table; greater numbers give greater texts."""

    def written(self, number: int) -> RecordId:
        """The id as the service writes it."""
        ...

    def number(self, written: str) -> int | None:
        """The number behind an id, or None where it is none of this table's."""
        ...


class Numbers:
    """Ids that are numbers for the service too."""

    def written(self, number: int) -> int:
        """See `Ids.written`."""
        return number

    def number(self, written: str) -> int | None:
        """See `Ids.number`."""
        return int(written) if written.isascii() and written.isdigit() and len(written) < 19 else None


@dataclass(frozen=True, kw_only=True)
class Texts:
    """Ids that are texts; `write` makes one of a number below `limit`, in the same order."""

    write: Callable[[int], str]
    limit: int

    def written(self, number: int) -> str:
        """See `Ids.written`."""
        return self.write(number)

    def number(self, written: str) -> int | None:
        """See `Ids.number`."""
        found = self.first_from(written)
        return found if found < self.limit and self.write(found) == written else None

    def first_from(self, text: str) -> int:
        """The first number whose text is not less than this one, which need not be an id."""
        return bisect_left(range(self.limit), text, key=self.write)
