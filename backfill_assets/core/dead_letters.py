"""Records that were quarantined: what a dead letter is, and the ledger that keeps them.

Here belong the value, the interface and its in-memory twin. The table in the state database belongs to
`adapters/state`.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """One record that could not be stored, where it came from, and why.

    `record_id` and `version` identify it at the source (texts; empty where the record has none); `payload` is the
    record as JSON text; `partition` is the Dagster partition key whose reading met it.
    """

    domain: str
    tenant: str
    service: str
    table: str
    partition: str
    record_id: str
    version: str
    reason: str
    payload: str
    run_id: str
    seen_at: datetime

    @property
    def identity(self) -> tuple[str, str, str, str, str, str]:
        """What makes two letters the same letter."""
        return (self.domain, self.tenant, self.service, self.table, self.record_id, self.version)

    @property
    def id(self) -> str:
        """Twelve hex digits by which a person names the letter."""
        return digest(self.identity)[:12]


class Fate(StrEnum):
    """What became of a letter that was tried again; superseded: a newer version was stored."""

    STORED = "stored"
    SUPERSEDED = "superseded"
    GONE = "gone"
    KEPT = "kept"


@dataclass(frozen=True, kw_only=True)
class Answered:
    """A letter and what became of it."""

    letter: DeadLetter
    fate: Fate
    reason: str


def digest(identity: tuple[str, ...]) -> str:
    """An identity as 64 hex digits."""
    return sha256(json.dumps(identity).encode()).hexdigest()


class DeadLetterLedger(Protocol):
    """Keeps dead letters; the same record met again replaces its letter, so that nothing is counted twice."""

    def put(self, letters: Iterable[DeadLetter]) -> None:
        """Add these letters; one with a known identity replaces the older one."""
        ...

    def resolve(self, domain: str, tenant: str, service: str, table: str, records: Iterable[tuple[str, str]]) -> int:
        """Remove the letters of these (record id, version) pairs, which fit now; return how many there were."""
        ...

    def letters(
        self,
        *,
        domain: str | None = None,
        tenant: str | None = None,
        service: str | None = None,
        table: str | None = None,
    ) -> Sequence[DeadLetter]:
        """The letters that match, ordered by identity."""
        ...


class MemoryDeadLetters:
    """The ledger's in-memory twin, for tests and dry runs."""

    def __init__(self) -> None:
        self._letters: dict[tuple[str, ...], DeadLetter] = {}

    def put(self, letters: Iterable[DeadLetter]) -> None:
        """See `DeadLetterLedger.put`."""
        self._letters.update({letter.identity: letter for letter in letters})

    def resolve(self, domain: str, tenant: str, service: str, table: str, records: Iterable[tuple[str, str]]) -> int:
        """See `DeadLetterLedger.resolve`."""
        keys = [(domain, tenant, service, table, *record) for record in records]
        return sum(self._letters.pop(key, None) is not None for key in keys)

    def letters(
        self,
        *,
        domain: str | None = None,
        tenant: str | None = None,
        service: str | None = None,
        table: str | None = None,
    ) -> Sequence[DeadLetter]:
        """See `DeadLetterLedger.letters`."""
        wanted = {"domain": domain, "tenant": tenant, "service": service, "table": table}
        return sorted(
            (x for x in self._letters.values() if all(v is None or getattr(x, k) == v for k, v in wanted.items())),
            key=lambda letter: letter.identity,
        )
