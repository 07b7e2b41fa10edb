"""What is known to be in the lake: one certificate for each window of a tenant's table.

Here belong the value, the interface and its in-memory twin. What is compared before a certificate is given belongs to
the domain, the table in the state database to `adapters/state`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What a window's reading came to, and what the lake held of the window right after it.

    `window` is the window's key. `source_rows` is what the source said it holds, `rows_rejected` of these went to the
    dead letters. `stored_rows` are the versions and `stored_ids` the ids in the window's files; `identity_digest` is a
    digest of every (id, version) in them, `content_digest` of every value. Reading began at `began_at`; `is_settled`
    says that no record could be added to the window by then. `code_version` is that of the program.
    """

    tenant: str
    service: str
    table: str
    window: str
    source_rows: int
    rows_rejected: int
    stored_rows: int
    stored_ids: int
    identity_digest: str
    content_digest: str
    began_at: datetime
    taken_at: datetime
    is_settled: bool
    code_version: str

    @property
    def is_short(self) -> bool:
        """Whether the source holds more than lake and dead letters, in a window that cannot grow any more."""
        return self.is_settled and self.source_rows > self.stored_ids + self.rows_rejected

    @property
    def is_incomplete(self) -> bool:
        """Whether it is short, or something of it lies in the dead letters."""
        return self.is_short or self.rows_rejected > 0


class CertificateLedger(Protocol):
    """Keeps the newest certificate of each window."""

    def put(self, certificates: Iterable[Certificate]) -> None:
        """Add these; each replaces the one of the same window."""
        ...

    def certificates(self, *, tenant: str, service: str, table: str) -> Sequence[Certificate]:
        """All of one tenant's table, oldest window first."""
        ...

    def windows(self, *, service: str, table: str) -> Sequence[tuple[str, str]]:
        """The (tenant, window) of every certificate of this table, in order."""
        ...

    def incomplete(self, *, service: str, table: str) -> Sequence[Certificate]:
        """Those of all tenants that say that something is short or was rejected, by tenant and window."""
        ...


class MemoryCertificates:
    """The ledger's in-memory twin, for tests and dry runs."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str, str, str], Certificate] = {}

    def put(self, certificates: Iterable[Certificate]) -> None:
        """See `CertificateLedger.put`."""
        self._held.update({(c.service, c.table, c.tenant, c.window): c for c in certificates})

    def certificates(self, *, tenant: str, service: str, table: str) -> Sequence[Certificate]:
        """See `CertificateLedger.certificates`."""
        return [c for c in self._of(service, table) if c.tenant == tenant]

    def windows(self, *, service: str, table: str) -> Sequence[tuple[str, str]]:
        """See `CertificateLedger.windows`."""
        return [(c.tenant, c.window) for c in self._of(service, table)]

    def incomplete(self, *, service: str, table: str) -> Sequence[Certificate]:
        """See `CertificateLedger.incomplete`."""
        return [c for c in self._of(service, table) if c.is_incomplete]

    def _of(self, service: str, table: str) -> Sequence[Certificate]:
        return [c for key, c in sorted(self._held.items()) if key[:2] == (service, table)]
