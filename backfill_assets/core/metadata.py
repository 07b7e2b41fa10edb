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


class FieldLedger(Protocol):
    """Remembers the fields of each process model, so that what is new can be told from what was there."""

    def known(self) -> Mapping[str, Mapping[str, str]]:
        """Paths by key, by model; a model that was seen without any field has none."""
        ...

    def remember(self, model: str, paths: Mapping[str, str]) -> None:
        """From now on these are the fields of the model, and no other."""
        ...

    def forget(self, models: Iterable[str]) -> None:
        """These models have never been seen."""
        ...


class MemoryFields:
    """The ledger's in-memory twin, for tests and dry runs."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, str]] = {}

    def known(self) -> Mapping[str, Mapping[str, str]]:
        """See `FieldLedger.known`."""
        return {model: dict(paths) for model, paths in self._known.items()}

    def remember(self, model: str, paths: Mapping[str, str]) -> None:
        """See `FieldLedger.remember`."""
        self._known[model] = dict(paths)

    def forget(self, models: Iterable[str]) -> None:
        """See `FieldLedger.forget`."""
        for model in models:
            self._known.pop(model, None)
