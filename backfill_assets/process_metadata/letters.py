"""Dead letters of process metadata: what they say, and trying them again.

Here belongs what becomes of an instance that failed. A letter names the instance, the key and the path, never a value.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from backfill_assets.core.dead_letters import Answered, DeadLetter, DeadLetterLedger, Fate
from backfill_assets.core.instances import InstanceDatabase, Part
from backfill_assets.core.keys import encode_key
from backfill_assets.core.metadata import MetadataField
from backfill_assets.core.windows import Window
from backfill_assets.process_metadata.batches import BatchDone, Batches, Refused

DOMAIN = "process_metadata"
TENANT = ""


@dataclass(frozen=True, kw_only=True)
class Letters:
    """The letters of one model."""

    ledger: DeadLetterLedger
    model: str
    run_id: str

    def known(self) -> frozenset[tuple[str, int]]:
        """Key and instance of each letter that there is."""
        found = self.ledger.letters(domain=DOMAIN, tenant=TENANT, service=self.model)
        return frozenset((letter.table, int(letter.record_id)) for letter in found)

    def put(self, month: Window, refused: Iterable[Refused], now: datetime, rewrite_before: datetime | None) -> None:
        """Add a letter for each of these."""
        letters = [self._letter(month, one, now, rewrite_before) for one in refused]
        if letters:
            self.ledger.put(letters)

    def resolve(self, known: frozenset[tuple[str, int]], part: Part, done: BatchDone, keys: Iterable[str]) -> None:
        """Remove those of the known letters that this batch has answered."""
        failed = {(one.field.key, one.instance_id) for one in done.refused}
        over = [letter for letter in known - failed if part.after < letter[1] <= part.upto]
        for key in keys:
            if records := [(str(instance), "") for of, instance in over if of == key]:
                self.ledger.resolve(DOMAIN, TENANT, self.model, key, records)

    def _letter(self, month: Window, refused: Refused, now: datetime, rewrite_before: datetime | None) -> DeadLetter:
        again = {
            "process_instance_id": refused.instance_id,
            "key": refused.field.key,
            "path": refused.field.path,
            "rewrite_before": rewrite_before.isoformat() if rewrite_before else None,
        }
        return DeadLetter(
            domain=DOMAIN,
            tenant=TENANT,
            service=self.model,
            table=refused.field.key,
            partition=f"{month.key}|{encode_key(refused.field.name)}",
            record_id=str(refused.instance_id),
            version="",
            reason=refused.reason,
            payload=json.dumps(again),
            run_id=self.run_id,
            seen_at=now,
        )


@dataclass(frozen=True, kw_only=True)
class LetterRetry:
    """Tries instances again, one by one: they are few."""

    database: InstanceDatabase
    ledger: DeadLetterLedger

    def retry(self, letters: Sequence[DeadLetter], now: datetime) -> Iterator[Answered]:
        """Tell of each letter as soon as its instance is committed; raises what the database itself meets."""
        for letter in letters:
            answered = self._answer(letter, now)
            if answered.fate is Fate.KEPT:
                self.ledger.put([replace(letter, reason=answered.reason, seen_at=now)])
            else:
                self.ledger.resolve(DOMAIN, TENANT, letter.service, letter.table, [(letter.record_id, "")])
            yield answered

    def _answer(self, letter: DeadLetter, now: datetime) -> Answered:
        again = json.loads(letter.payload)
        field = MetadataField(model=letter.service, key=letter.table, path=again["path"])
        before = datetime.fromisoformat(again["rewrite_before"]).astimezone(UTC) if again["rewrite_before"] else None
        instance = int(letter.record_id)
        batches = Batches(database=self.database, fields=[field], rewrite_before=before)
        done = batches.fill(Part(model=letter.service, month=None, after=instance - 1, upto=instance), now)
        if done.refused:
            return Answered(letter=letter, fate=Fate.KEPT, reason=done.refused[0].reason)
        if not done.instances:
            return Answered(letter=letter, fate=Fate.GONE, reason="the product holds the instance no more")
        reason = "its task holds no value by now" if done.counts[0].missing else "it has its row now"
        return Answered(letter=letter, fate=Fate.STORED, reason=reason)
