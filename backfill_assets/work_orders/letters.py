"""Dead letters of work orders: what they say of records that were refused.

Here belongs what becomes of a record that a stage could not do. A letter names the record and the reason, and never
holds a text of the source: texts are private.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from backfill_assets.core.dead_letters import DeadLetter, DeadLetterLedger
from backfill_assets.core.enriched import Version
from backfill_assets.core.orders import (
    Order,
    Position,
    Span,
    Standing,
    standing_of,
)
from backfill_assets.core.windows import BEGINNING

DOMAIN = "work_orders"
TENANT = ""
SOURCE = "snowflake"


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A record that was not done, and why; `version` tells it from others of its id, `kind` is the reason in short."""

    position: Position
    version: str
    kind: str
    reason: str


def undone(order: Order, version: Version, *, kind: str, reason: str) -> Refused:
    """A stored record for which there is no result of this version; a new version, or another text, is another try."""
    return Refused(position=order.position, version=f"{order.text_hash[:16]} {version.key}", kind=kind, reason=reason)


@dataclass(frozen=True, kw_only=True)
class Letters:
    """The letters of one stage; `table` is the stage's asset."""

    ledger: DeadLetterLedger
    table: str
    run_id: str

    def of(self, span: Span) -> Sequence[DeadLetter]:
        """The letters of a span."""
        found = self.ledger.letters(domain=DOMAIN, tenant=TENANT, service=SOURCE, table=self.table)
        return [letter for letter in found if letter.partition == span.month.key and _is_in(letter, span)]

    def standing(self, span: Span) -> Standing:
        """How many records of a span were refused."""
        return standing_of(letter.record_id for letter in self.of(span))

    def put(self, span: Span, refused: Iterable[Refused], now: datetime) -> None:
        """Add a letter for each of these."""
        letters = [self._letter(span, one, now) for one in refused]
        if letters:
            self.ledger.put(letters)

    def resolve(self, letters: Iterable[DeadLetter]) -> None:
        """Remove these."""
        records = [(letter.record_id, letter.version) for letter in letters]
        if records:
            self.ledger.resolve(DOMAIN, TENANT, SOURCE, self.table, records)

    def _letter(self, span: Span, refused: Refused, now: datetime) -> DeadLetter:
        at = refused.position.at
        return DeadLetter(
            domain=DOMAIN,
            tenant=TENANT,
            service=SOURCE,
            table=self.table,
            partition=span.month.key,
            record_id=refused.position.id,
            version=refused.version,
            reason=refused.reason,
            payload=json.dumps({"dated": None if at == BEGINNING else at.isoformat(), "kind": refused.kind}),
            run_id=self.run_id,
            seen_at=now,
        )


def kinds(letters: Iterable[DeadLetter]) -> Mapping[str, int]:
    """How many letters there are of each kind, most first."""
    counted: dict[str, int] = {}
    for letter in letters:
        kind = str(json.loads(letter.payload)["kind"])
        counted[kind] = counted.get(kind, 0) + 1
    return dict(sorted(counted.items(), key=lambda one: (-one[1], one[0])))


def dated(letter: DeadLetter) -> datetime | None:
    """The date of the record."""
    at = json.loads(letter.payload)["dated"]
    return None if at is None else datetime.fromisoformat(at).astimezone(UTC)


def _is_in(letter: DeadLetter, span: Span) -> bool:
    at = dated(letter) or BEGINNING
    return span.reads_from <= at < span.end
