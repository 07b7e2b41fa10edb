"""The hand-off from history to incremental sync: from when on a table has to be read again.

Here belong the value, its arithmetic, the interface and its in-memory twin. Which windows follow from it belongs to the
domain, the table in the state database to `adapters/state`.

A source shows a record only at its newest version, and a record may change while it is being read. So what counts is
not when a reading ended but when it *began*: whatever changes later is read again by the next one, which begins at the
first request of the one before, less an overlap for what becomes visible late.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Handoff:
    """How far one tenant's table has been handed over.

    `history_from` is the start of the first window that was asked for. `first_request_at` is the moment before the
    first request of the newest reading that left no gap before it; None until there was a request.
    """

    tenant: str
    service: str
    table: str
    history_from: datetime
    first_request_at: datetime | None = None

    @property
    def place(self) -> tuple[str, str, str]:
        """Whose it is."""
        return self.tenant, self.service, self.table


class HandoffLedger(Protocol):
    """Keeps one hand-off for each tenant's table; all changes may be made by many processes at once."""

    def handoffs(self, *, service: str | None = None, tenant: str | None = None) -> Sequence[Handoff]:
        """All, or those of a service and tenant, in order."""
        ...

    def plan(self, tenant: str, service: str, table: str, *, start: datetime) -> None:
        """Note that windows from `start` on were asked for: history begins there, unless it began earlier."""
        ...

    def begin(self, tenant: str, service: str, table: str, at: datetime) -> None:
        """Note the first request of all, just before it is made; later ones change nothing."""
        ...

    def advance(self, tenant: str, service: str, table: str, *, covered_from: datetime, began: datetime) -> bool:
        """Move the first request to `began`, when a reading that began then covered all from `covered_from` on.

        Nothing moves, and False is returned, where the one before lies before `covered_from` or after `began`.
        """
        ...


class MemoryHandoffs:
    """The ledger's in-memory twin, for tests and dry runs."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str, str], Handoff] = {}

    def handoffs(self, *, service: str | None = None, tenant: str | None = None) -> Sequence[Handoff]:
        """See `HandoffLedger.handoffs`."""
        found = (handoff for _, handoff in sorted(self._held.items()))
        return [h for h in found if service in (None, h.service) and tenant in (None, h.tenant)]

    def plan(self, tenant: str, service: str, table: str, *, start: datetime) -> None:
        """See `HandoffLedger.plan`."""
        place = (tenant, service, table)
        known = self._held.get(place)
        if known is None:
            self._held[place] = Handoff(tenant=tenant, service=service, table=table, history_from=start)
        elif start < known.history_from:
            self._held[place] = replace(known, history_from=start)

    def begin(self, tenant: str, service: str, table: str, at: datetime) -> None:
        """See `HandoffLedger.begin`."""
        known = self._held[tenant, service, table]
        if known.first_request_at is None:
            self._held[known.place] = replace(known, first_request_at=at)

    def advance(self, tenant: str, service: str, table: str, *, covered_from: datetime, began: datetime) -> bool:
        """See `HandoffLedger.advance`."""
        known = self._held[tenant, service, table]
        if known.first_request_at is None or not covered_from <= known.first_request_at < began:
            return False
        self._held[known.place] = replace(known, first_request_at=began)
        return True


def watermark(handoff: Handoff, gap_free_until: datetime, overlap: timedelta) -> datetime | None:
    """Before which every version is in the lake; None where nothing has been read.

    It is the earlier of the end of the newest completed window without a gap before it, and of the first request, less
    the overlap.
    """
    if handoff.first_request_at is None:
        return None
    return min(gap_free_until, handoff.first_request_at - overlap)
