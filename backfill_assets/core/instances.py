"""Process instances of the product's database: what is asked of it, and what is written back.

Here belong the values and the interface. The databases, and their twin in memory, belong to `adapters/spiffworkflow`.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from backfill_assets.core.extraction import Value
from backfill_assets.core.metadata import MetadataField
from backfill_assets.core.windows import Window


@dataclass(frozen=True, kw_only=True)
class Part:
    """Instances of one model with `after < id <= upto`, of those created in `month`, or of all where that is None."""

    model: str
    month: Window | None
    after: int
    upto: int


@dataclass(frozen=True, kw_only=True)
class Span:
    """A part, and how many instances it held when they were counted."""

    part: Part
    instances: int


class Reading(NamedTuple):
    """What one instance holds: a value or none for each field asked for, or why it cannot be read."""

    instance_id: int
    values: Sequence[Value | None]
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a field stands.

    `held` are instances whose source task holds a value, an instance with a row counting as such; `rows` are those
    that have a row, `unreadable` those that have none and whose source cannot be read.
    """

    held: int = 0
    rows: int = 0
    unreadable: int = 0

    def __add__(self, other: "Standing") -> "Standing":
        return Standing(
            held=self.held + other.held,
            rows=self.rows + other.rows,
            unreadable=self.unreadable + other.unreadable,
        )


Texts = Sequence[tuple[int, str]]
"""Instance ids, each with the text to be kept for it, in the order of the ids."""


class InstanceWork(Protocol):
    """One transaction on the product's database."""

    def read(self, part: Part, fields: Sequence[MetadataField]) -> Sequence[Reading]:
        """What each instance of the part holds, in the order of their ids."""
        ...

    def write(
        self, part: Part, rows: Mapping[str, Texts], *, at: datetime, rewrite_before: datetime | None
    ) -> Mapping[str, int]:
        """Write rows by key, all of instances of the part; return how many were written for each key.

        A row that is there stays as it is; with `rewrite_before` it takes the new text where that differs and the row
        was last updated before this moment.
        """
        ...


class InstanceDatabase(Protocol):
    """The product's database; every method raises `TransientError` where trying again may help."""

    def spans(self, model: str, months: Sequence[Window]) -> Sequence[Span]:
        """The instances of each of these months."""
        ...

    @property
    def batches_at_once(self) -> int:
        """How many transactions it takes at once."""
        ...

    def cut(self, part: Part, limit: int) -> Span | None:
        """The first so many instances of the part; None where there is none."""
        ...

    def begin(self) -> AbstractContextManager[InstanceWork]:
        """A transaction, committed at the end; `RejectedRecord` where some row of it cannot be stored."""
        ...

    def standings(self, part: Part, fields: Sequence[MetadataField]) -> Sequence[Standing]:
        """How each field stands among the instances of the part, counted anew."""
        ...

    def check(self) -> None:
        """Ask for nothing; raises what an answer would have met."""
        ...

    def close(self) -> None:
        """Give the connections back."""
        ...
