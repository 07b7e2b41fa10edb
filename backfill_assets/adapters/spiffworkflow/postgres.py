"""Values read and written by PostgreSQL itself, whole batches at once.

Here belongs its half of `InstanceWork`. Only what lies at the end of a path leaves the database, as JSON text: the
operator `->` with a text walks dictionaries only, just as the rules do. Where a document cannot be walked there (it
holds `\\u0000`, which JSON allows and PostgreSQL's texts do not), or many fields would have it parsed many times, the
documents are fetched instead.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from typing import Any, TypeVar

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    Row,
    Select,
    Subquery,
    Text,
    and_,
    bindparam,
    cast,
    func,
    select,
    text,
)
from sqlalchemy.exc import DataError

from backfill_assets.adapters.spiffworkflow.documents import read_documents
from backfill_assets.adapters.spiffworkflow.portable import count_documents
from backfill_assets.adapters.spiffworkflow.tables import DOCUMENT, INSTANCE, METADATA, chosen, source_tasks
from backfill_assets.core.extraction import EMPTY_HASH, NOT_THERE, segments, value_of_json
from backfill_assets.core.instances import Part, Reading, Standing, Texts
from backfill_assets.core.metadata import MetadataField

FIELDS_WALKED_THERE = 8
"""With more fields, parsing each document once here is cheaper than once a field there."""

Read = TypeVar("Read")
Reader = Callable[[Connection, Part, Sequence[MetadataField]], Read]


class PostgresWork:
    """An `InstanceWork` on PostgreSQL."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def read(self, part: Part, fields: Sequence[MetadataField]) -> Sequence[Reading]:
        """See `InstanceWork.read`."""
        return _there_or_here(self._connection, part, fields, there=_read_there, here=read_documents)

    def write(
        self, part: Part, rows: Mapping[str, Texts], *, at: datetime, rewrite_before: datetime | None
    ) -> Mapping[str, int]:
        """See `InstanceWork.write`."""
        now = round(at.timestamp())
        return {key: self._write(key, rows[key], now, rewrite_before) for key in sorted(rows)}

    def _write(self, key: str, texts: Texts, now: int, rewrite_before: datetime | None) -> int:
        if not texts:
            return 0
        columns = {"ids": [instance for instance, _ in texts], "texts": [value for _, value in texts]}
        given = {**columns, "key": key, "now": now}
        written = 0
        if rewrite_before is not None:
            given_moment = {**given, "before": int(rewrite_before.timestamp())}
            written += self._connection.execute(REWRITE, given_moment).rowcount
        return written + self._connection.execute(INSERT, given).rowcount


_COLUMNS = (bindparam("ids", type_=ARRAY(Integer)), bindparam("texts", type_=ARRAY(Text)))

# A row that is there is left out first, for an insert that it stands in the way of would use up an id of the product's.
INSERT = text("""
    INSERT INTO process_instance_metadata
        (process_instance_id, key, value, updated_at_in_seconds, created_at_in_seconds)
    SELECT found.id, :key, found.text, :now, :now
    FROM unnest(CAST(:ids AS int[]), CAST(:texts AS text[])) AS found (id, text)
    WHERE NOT EXISTS (
        SELECT FROM process_instance_metadata AS kept
        WHERE kept.process_instance_id = found.id AND kept.key = :key
    )
    ON CONFLICT (process_instance_id, key) DO NOTHING
""").bindparams(*_COLUMNS)

REWRITE = text("""
    UPDATE process_instance_metadata AS kept
    SET value = found.text, updated_at_in_seconds = :now
    FROM unnest(CAST(:ids AS int[]), CAST(:texts AS text[])) AS found (id, text)
    WHERE kept.process_instance_id = found.id AND kept.key = :key
        AND kept.updated_at_in_seconds < :before AND kept.value <> found.text
""").bindparams(*_COLUMNS)


def count_there(connection: Connection, part: Part, fields: Sequence[MetadataField]) -> Sequence[Standing]:
    """How each field stands, counted by the database."""
    return _there_or_here(connection, part, fields, there=_count_there, here=count_documents)


def _there_or_here(
    connection: Connection,
    part: Part,
    fields: Sequence[MetadataField],
    *,
    there: Reader[Read],
    here: Reader[Read],
) -> Read:
    if len(fields) > FIELDS_WALKED_THERE:
        return here(connection, part, fields)
    try:
        with connection.begin_nested():
            return there(connection, part, fields)
    except DataError:
        return here(connection, part, fields)


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The instances of a part, each with its source task and both documents of it."""

    task: Subquery
    json_data: FromClause
    python_env_data: FromClause
    joined: FromClause

    @classmethod
    def of(cls, part: Part, connection: Connection) -> "Sources":
        """Instances without such a task, and tasks without such a document, are among them."""
        task = source_tasks(part, connection.dialect)
        data, env = DOCUMENT.alias("json_data_of"), DOCUMENT.alias("python_env_data_of")
        joined = (
            INSTANCE.outerjoin(task, task.c.process_instance_id == INSTANCE.c.id)
            .outerjoin(data, _is_document(data, task.c.json_data_hash))
            .outerjoin(env, _is_document(env, task.c.python_env_data_hash))
        )
        return cls(task=task, json_data=data, python_env_data=env, joined=joined)

    @property
    def is_missing(self) -> ColumnElement[bool]:
        """Whether the task names a document that is not there."""
        missing = [
            and_(named.is_not(None), named != EMPTY_HASH, document.c.hash.is_(None))
            for named, document in (
                (self.task.c.json_data_hash, self.json_data),
                (self.task.c.python_env_data_hash, self.python_env_data),
            )
        ]
        return missing[0] | missing[1]

    def leaf(self, path: str) -> ColumnElement[Any]:
        """What lies at the end of the path; the first key decides which document is meant, also with a null."""
        first, *others = segments(path)
        top = func.coalesce(_step(self.json_data.c.data, first), _step(self.python_env_data.c.data, first))
        return reduce(_step, others, top)


def _is_document(document: FromClause, name: ColumnElement[str]) -> ColumnElement[bool]:
    return and_(document.c.hash == name, name != EMPTY_HASH)


def _step(walked: ColumnElement[Any], key: str) -> ColumnElement[Any]:
    return walked.op("->")(bindparam(None, key, Text))


def _read_there(connection: Connection, part: Part, fields: Sequence[MetadataField]) -> Sequence[Reading]:
    sources = Sources.of(part, connection)
    leaves = (cast(sources.leaf(field.path), Text) for field in fields)
    statement: Select[Any] = select(INSTANCE.c.id, sources.is_missing, *leaves)
    rows = connection.execute(statement.select_from(sources.joined).where(chosen(part)).order_by(INSTANCE.c.id))
    return [_reading(row) for row in rows]


def _reading(row: Row[Any]) -> Reading:
    instance_id, is_missing, *leaves = row
    if is_missing:
        return Reading(instance_id=instance_id, values=[None] * len(leaves), problem=NOT_THERE)
    return Reading(instance_id=instance_id, values=[value_of_json(leaf) for leaf in leaves])


def _count_there(connection: Connection, part: Part, fields: Sequence[MetadataField]) -> Sequence[Standing]:
    sources = Sources.of(part, connection)
    joined, counts = sources.joined, [func.count().filter(sources.is_missing)]
    for field in fields:
        row = METADATA.alias()
        joined = joined.outerjoin(row, and_(row.c.process_instance_id == INSTANCE.c.id, row.c.key == field.key))
        is_held = and_(cast(sources.leaf(field.path), Text) != "null", ~sources.is_missing)
        counts += [func.count().filter(is_held), func.count(row.c.id).filter(is_held)]
    unreadable, *found = connection.execute(select(*counts).select_from(joined).where(chosen(part))).one()
    return [
        Standing(held=held, rows=rows, unreadable=unreadable)
        for held, rows in zip(found[::2], found[1::2], strict=True)
    ]
