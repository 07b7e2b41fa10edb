"""One batch of instances: read, written and counted in one transaction.

Here belongs what becomes of each instance of a batch. Which batches there are belongs to `backfill.py`, what becomes
of those that failed to `letters.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime

from backfill_assets.core.instances import InstanceDatabase, Part, Reading, Texts
from backfill_assets.core.metadata import MetadataField
from backfill_assets.errors import RejectedRecord


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What became of the instances of one field.

    Each one processed was updated (its row was written), unchanged (a row was there), missing (no value) or failed;
    `truncated` are the values that were cut, whether written now or there already.
    """

    processed: int = 0
    updated: int = 0
    unchanged: int = 0
    missing: int = 0
    truncated: int = 0
    failed: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})


@dataclass(frozen=True, kw_only=True)
class Refused:
    """An instance of which a field could not be done, and why."""

    instance_id: int
    field: MetadataField
    reason: str


@dataclass(frozen=True, kw_only=True)
class BatchDone:
    """A batch that is committed: counts by field, in their order, and what was refused."""

    instances: int
    counts: Sequence[Counts]
    refused: Sequence[Refused] = ()


@dataclass(frozen=True, kw_only=True)
class Batches:
    """Fills fields of one model, batch by batch."""

    database: InstanceDatabase
    fields: Sequence[MetadataField]
    rewrite_before: datetime | None

    def fill(self, part: Part, now: datetime) -> BatchDone:
        """Do a batch; a row that the database does not take costs its own instance only."""
        try:
            return self._fill(part, now)
        except RejectedRecord:
            return self._fill_one_by_one(part, now)

    def _fill(self, part: Part, now: datetime) -> BatchDone:
        with self.database.begin() as work:
            readings = work.read(part, self.fields)
            texts = {field.key: _texts(readings, number) for number, field in enumerate(self.fields)}
            written = work.write(part, texts, at=now, rewrite_before=self.rewrite_before)
        return BatchDone(
            instances=len(readings),
            counts=[self._counts(readings, number, texts, written) for number in range(len(self.fields))],
            refused=list(self._refused(readings)),
        )

    def _fill_one_by_one(self, part: Part, now: datetime) -> BatchDone:
        with self.database.begin() as work:
            ids = [reading.instance_id for reading in work.read(part, self.fields)]
        alone = [Part(model=part.model, month=part.month, after=number - 1, upto=number) for number in ids]
        done = [self._fill_one(one, now) for one in alone]
        return BatchDone(
            instances=sum(one.instances for one in done),
            counts=[sum(column, Counts()) for column in zip(*(one.counts for one in done), strict=True)],
            refused=[refused for one in done for refused in one.refused],
        )

    def _fill_one(self, one: Part, now: datetime) -> BatchDone:
        by_field = [self._fill_one_field(one, field, now) for field in self.fields]
        return BatchDone(
            instances=max(done.instances for done in by_field),
            counts=[done.counts[0] for done in by_field],
            refused=[refused for done in by_field for refused in done.refused],
        )

    def _fill_one_field(self, one: Part, field: MetadataField, now: datetime) -> BatchDone:
        alone = Batches(database=self.database, fields=[field], rewrite_before=self.rewrite_before)
        try:
            return alone._fill(one, now)
        except RejectedRecord as error:
            refused = Refused(instance_id=one.upto, field=field, reason=str(error))
            return BatchDone(instances=1, counts=[Counts(processed=1, failed=1)], refused=[refused])

    def _counts(
        self, readings: Sequence[Reading], number: int, texts: Mapping[str, Texts], written: Mapping[str, int]
    ) -> Counts:
        key = self.fields[number].key
        failed = sum(bool(_problem(reading, number)) for reading in readings)
        values = [value for reading in readings if (value := reading.values[number]) is not None]
        return Counts(
            processed=len(readings),
            updated=written[key],
            unchanged=len(texts[key]) - written[key],
            missing=len(readings) - failed - len(texts[key]),
            truncated=sum(value.truncated for value in values),
            failed=failed,
        )

    def _refused(self, readings: Sequence[Reading]) -> Iterator[Refused]:
        for reading in readings:
            for number, asked in enumerate(self.fields):
                if reason := _problem(reading, number):
                    yield Refused(instance_id=reading.instance_id, field=asked, reason=reason)


def _problem(reading: Reading, number: int) -> str:
    value = reading.values[number]
    return reading.problem or (value.problem if value else "")


def _texts(readings: Sequence[Reading], number: int) -> Texts:
    """The rows that one field asks for."""
    return [
        (reading.instance_id, value.text)
        for reading in readings
        if (value := reading.values[number]) is not None and not value.problem
    ]
