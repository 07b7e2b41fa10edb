"""Values read and written by PostgreSQL itself, whole batches at once.

Here belongs its half of `InstanceWork`. Only what lies at the end of a path leaves the database, as JSON text: the
operator `->` with a text walks dictionaries only, just as the rules do. Where a document cannot be walked there (it
holds `\\u0000`, which JSON allows and PostgreSQL's texts do not), or many fields would have it parsed many times, the
documents are fetched instead.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Row,
    Select,
    Text,
    TextClause,
    and_,
    bindparam,
    cast,
    func,
    not_,
    select,
    text,
    true,
)
from sqlalchemy.exc import DataError

from backfill_assets.adapters.spiffworkflow.documents import read_documents
from backfill_assets.adapters.spiffworkflow.portable import count_documents
from backfill_assets.adapters.spiffworkflow.tables import DOCUMENT, INSTANCE, METADATA, chosen, source_task_of
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
        insert = INSERT_BESIDE if self._has_rows(part, rows) else INSERT
        return {key: self._write(key, rows[key], now, rewrite_before, insert) for key in sorted(rows)}

    def _has_rows(self, part: Part, keys: Iterable[str]) -> bool:
        """Whether some row of these keys is there already."""
        given = {"after": part.after, "upto": part.upto, "keys": list(keys)}
        return self._connection.execute(SOME_ROW, given).first() is not None

    def _write(self, key: str, texts: Texts, now: int, rewrite_before: datetime | None, insert: TextClause) -> int:
        if not texts:
            return 0
        columns = {"ids": _array(str(instance) for instance, _ in texts), "texts": _array(text for _, text in texts)}
        given = {**columns, "key": key, "now": now}
        written = 0
        if rewrite_before is not None:
            given_moment = {**given, "before": int(rewrite_before.timestamp())}
            written += self._connection.execute(REWRITE, given_moment).rowcount
        return written + self._connection.execute(insert, given).rowcount


def _array(values: Iterable[str]) -> str:
    """An array as PostgreSQL writes it: one constant, where the driver would send an expression of a thousand."""
    quoted = (value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return '{"' + '","'.join(quoted) + '"}'


# Written so that the index by instance and key is used: planned by the key alone, it would read all rows of the key.
SOME_ROW = text("""
    SELECT process_instance_id FROM process_instance_metadata
    WHERE process_instance_id > :after AND process_instance_id <= :upto AND key || '' = ANY(:keys) LIMIT 1
""")

_INSERT = """
    INSERT INTO process_instance_metadata
        (process_instance_id, key, value, updated_at_in_seconds, created_at_in_seconds)
    SELECT found.id, :key, found.text, :now, :now
    FROM unnest(CAST(:ids AS int[]), CAST(:texts AS text[])) AS found (id, text)
    {where}
    ON CONFLICT (process_instance_id, key) DO NOTHING
"""
INSERT = text(_INSERT.format(where=""))

# A row that is there is left out first, for an insert that it stands in the way of would use up an id of the product's.
# It is asked for in a way that is a look into the index for each instance, whatever the planner thinks of the table.
INSERT_BESIDE = text(
    _INSERT.format(
        where="""WHERE (
            SELECT kept.id FROM process_instance_metadata AS kept
            WHERE kept.process_instance_id = found.id AND kept.key = :key
        ) IS NULL"""
    )
)

REWRITE = text("""
    UPDATE process_instance_metadata AS kept
    SET value = found.text, updated_at_in_seconds = :now
    FROM unnest(CAST(:ids AS int[]), CAST(:texts AS text[])) AS found (id, text)
    WHERE kept.process_instance_id = found.id AND kept.key = :key
        AND kept.updated_at_in_seconds < :before AND kept.value <> found.text
""")


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

    task: FromClause
    json_data: FromClause
    python_env_data: FromClause
    joined: FromClause

    @classmethod
    def of(cls, instances: FromClause, *, wanted: ColumnElement[bool] | None = None) -> "Sources":
        """Instances without such a task, and tasks without such a document, are among them.

        Where not `wanted`, an instance is there without its task.
        """
        task = source_task_of(instances, wanted)
        data, env = DOCUMENT.alias("json_data_of"), DOCUMENT.alias("python_env_data_of")
        joined = (
            instances.outerjoin(task, true())
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
    # A hash that is null is not looked up at all, and most tasks have no python_env_data.
    return document.c.hash == func.nullif(name, EMPTY_HASH)


def _step(walked: ColumnElement[Any], key: str) -> ColumnElement[Any]:
    return walked.op("->")(bindparam(None, key, Text))


def _read_there(connection: Connection, part: Part, fields: Sequence[MetadataField]) -> Sequence[Reading]:
    instances = select(INSTANCE.c.id).where(chosen(part)).subquery()
    sources = Sources.of(instances)
    leaves = (cast(sources.leaf(field.path), Text) for field in fields)
    statement: Select[Any] = select(instances.c.id, sources.is_missing, *leaves)
    rows = connection.execute(statement.select_from(sources.joined).order_by(instances.c.id))
    return [_reading(row) for row in rows]


def _reading(row: Row[Any]) -> Reading:
    instance_id, is_missing, *leaves = row
    if is_missing:
        return Reading(instance_id=instance_id, values=[None] * len(leaves), problem=NOT_THERE)
    return Reading(instance_id=instance_id, values=[value_of_json(leaf) for leaf in leaves])


def _count_there(connection: Connection, part: Part, fields: Sequence[MetadataField]) -> Sequence[Standing]:
    """Look at the rows first, and into the documents only of instances that lack one."""
    rows = [_has_row(field).label(f"row_{number}") for number, field in enumerate(fields)]
    # The offset keeps the planner from looking twice.
    instances = select(INSTANCE.c.id, *rows).where(chosen(part)).offset(0).subquery()
    has_row = list(instances.c)[1:]
    sources = Sources.of(instances, wanted=not_(and_(*has_row)))
    held = [cast(sources.leaf(field.path), Text) != "null" for field in fields]
    counts = [
        func.count().filter(counted)
        for row, value in zip(has_row, held, strict=True)
        for counted in (row, and_(~row, value, ~sources.is_missing), and_(~row, sources.is_missing))
    ]
    found = list(connection.execute(select(*counts).select_from(sources.joined)).one())
    return [
        Standing(held=with_row + without, rows=with_row, unreadable=unreadable)
        for with_row, without, unreadable in zip(found[::3], found[1::3], found[2::3], strict=True)
    ]


def _has_row(field: MetadataField) -> ColumnElement[bool]:
    # Asked like this it is a look into the index for each instance; for an EXISTS all rows of the key may be read.
    of_instance = and_(METADATA.c.process_instance_id == INSTANCE.c.id, METADATA.c.key == field.key)
    return select(METADATA.c.id).where(of_instance).correlate(INSTANCE).scalar_subquery().is_not(None)
