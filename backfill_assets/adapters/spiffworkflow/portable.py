"""Values read and written in SQL that MySQL and SQLite understand.

Here belongs their half of `InstanceWork`: documents are walked here, and what is there already is looked up first, for
an insert that a row stands in the way of would use up an id of the product's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Insert, Select, Update, bindparam, select, update
from sqlalchemy.dialects import mysql, sqlite

from backfill_assets.adapters.spiffworkflow.documents import read_documents
from backfill_assets.adapters.spiffworkflow.tables import INSTANCE, METADATA, chosen
from backfill_assets.core.instances import Part, Reading, Standing, Texts
from backfill_assets.core.metadata import MetadataField

ROW = METADATA.c


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A row that is there."""

    text: str
    updated_at: int


class PortableWork:
    """An `InstanceWork` on MySQL or SQLite."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def read(self, part: Part, fields: Sequence[MetadataField]) -> Sequence[Reading]:
        """See `InstanceWork.read`."""
        return read_documents(self._connection, part, fields)

    def write(
        self, part: Part, rows: Mapping[str, Texts], *, at: datetime, rewrite_before: datetime | None
    ) -> Mapping[str, int]:
        """See `InstanceWork.write`."""
        return {
            key: self._write(part, key, rows[key], now=round(at.timestamp()), rewrite_before=rewrite_before)
            for key in sorted(rows)
        }

    def _write(self, part: Part, key: str, texts: Texts, *, now: int, rewrite_before: datetime | None) -> int:
        kept = {row[0]: Kept(text=row[1], updated_at=row[2]) for row in self._connection.execute(_rows(part, key))}
        absent = [(instance, text) for instance, text in texts if instance not in kept]
        written = self._insert(key, absent, now)
        if rewrite_before is None:
            return written
        before = int(rewrite_before.timestamp())
        old = [
            (instance, text)
            for instance, text in texts
            if (row := kept.get(instance)) and row.updated_at < before and row.text != text
        ]
        return written + self._rewrite(key, old, now, before)

    def _insert(self, key: str, texts: Texts, now: int) -> int:
        if not texts:
            return 0
        fixed = {"key": key, "updated_at_in_seconds": now, "created_at_in_seconds": now}
        values = [{"process_instance_id": instance, "value": text, **fixed} for instance, text in texts]
        return self._connection.execute(_insert_if_absent(self._connection), values).rowcount

    def _rewrite(self, key: str, texts: Texts, now: int, before: int) -> int:
        if not texts:
            return 0
        fixed = {"of_key": key, "now": now, "before": before}
        values = [{"of_instance": instance, "text": text, **fixed} for instance, text in texts]
        return self._connection.execute(REWRITE, values).rowcount


def count_documents(connection: Connection, part: Part, fields: Sequence[MetadataField]) -> Sequence[Standing]:
    """How each field stands, by walking the documents again."""
    readings = read_documents(connection, part, fields)
    return [
        _standing(readings, number, {row[0] for row in connection.execute(_rows(part, field.key))})
        for number, field in enumerate(fields)
    ]


def _standing(readings: Sequence[Reading], number: int, kept: set[int]) -> Standing:
    without = [reading for reading in readings if reading.instance_id not in kept]
    rows = len(readings) - len(without)
    return Standing(
        held=rows + sum(reading.values[number] is not None for reading in without),
        rows=rows,
        unreadable=sum(bool(reading.problem) for reading in without),
    )


def _rows(part: Part, key: str) -> Select[tuple[int, str, int]]:
    of_instances = ROW.process_instance_id.in_(select(INSTANCE.c.id).where(chosen(part)))
    return select(ROW.process_instance_id, ROW.value, ROW.updated_at_in_seconds).where(ROW.key == key, of_instances)


def _insert_if_absent(connection: Connection) -> Insert:
    """Not MySQL's `INSERT IGNORE`, which would hide every other error too."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(METADATA).on_conflict_do_nothing()
    return mysql.insert(METADATA).on_duplicate_key_update(id=ROW.id)


REWRITE: Update = (
    update(METADATA)
    .where(
        ROW.process_instance_id == bindparam("of_instance"),
        ROW.key == bindparam("of_key"),
        ROW.updated_at_in_seconds < bindparam("before"),
    )
    .values(value=bindparam("text"), updated_at_in_seconds=bindparam("now"))
)
"""The moment is asked for again: the product may have written since the row was looked at."""
