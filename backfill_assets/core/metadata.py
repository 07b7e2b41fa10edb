"""Metadata fields of process models: what is asked for, and what has been seen before.

Here belong the values, the interface of the ledger that remembers fields, and its in-memory twin. The table in the
state database belongs to `adapters/state`, which fields are new to the domain.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True, order=True)
class MetadataField:
    """One key of a process model's metadata, and the path (`customer.id`) at which its value is found."""

    model: str
    key: str
    path: str

    @property
    def name(self) -> str:
        """`<model>:<key>`, by which people and partitions name it."""
        return f"{self.model}:{self.key}"


Paths = Mapping[str, str]
"""Paths by key, of one process model."""


class FieldLedger(Protocol):
    """Remembers the fields of each process model, so that what is new can be told from what was there."""

    def known(self) -> Mapping[str, Paths | None]:
        """Paths by model; a model seen without any field has none, one that could not be read when it was first seen
        has None: whatever it holds when it can be read was there before.
        """
        ...

    def remember(self, seen: Mapping[str, Paths | None]) -> None:
        """From now on these are the fields of these models, and no other; all of them, or none."""
        ...

    def forget(self, models: Iterable[str]) -> None:
        """These models have never been seen."""
        ...


class MemoryFields:
    """The ledger's in-memory twin, for tests and dry runs."""

    def __init__(self) -> None:
        self._known: dict[str, Paths | None] = {}

    def known(self) -> Mapping[str, Paths | None]:
        """See `FieldLedger.known`."""
        return {model: _copy(paths) for model, paths in self._known.items()}

    def remember(self, seen: Mapping[str, Paths | None]) -> None:
        """See `FieldLedger.remember`."""
        self._known.update({model: _copy(paths) for model, paths in seen.items()})

    def forget(self, models: Iterable[str]) -> None:
        """See `FieldLedger.forget`."""
        for model in models:
            self._known.pop(model, None)


def _copy(paths: Paths | None) -> Paths | None:
    return None if paths is None else dict(paths)
