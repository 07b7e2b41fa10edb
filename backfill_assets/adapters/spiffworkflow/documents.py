"""Values found by fetching the documents of the source tasks and walking them here.

Here belongs reading that every database can do. It holds a few documents at once, and walks each once for all fields.
"""

from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import Connection, Row, Select, cast, select

from backfill_assets.adapters.spiffworkflow.tables import DOCUMENT, INSTANCE, chosen, source_tasks
from backfill_assets.core.extraction import (
    EMPTY_HASH,
    NOT_READABLE,
    NOT_THERE,
    NOTHING,
    Found,
    find_all,
    merged,
    segments,
)
from backfill_assets.core.instances import Part, Reading
from backfill_assets.core.metadata import MetadataField

DOCUMENTS_AT_ONCE = 100
"""They may be large, and a driver may fetch all of an answer before it gives the first row."""

Walked = Mapping[str, Sequence[Found] | None]
"""What each document holds at the paths, by hash; None where it cannot be decoded."""


def read_documents(connection: Connection, part: Part, fields: Sequence[MetadataField]) -> Sequence[Reading]:
    """What each instance of the part holds, in the order of their ids."""
    sources = connection.execute(_sources(part, connection)).all()
    hashes = {name for row in sources for name in row[1:] if name is not None and name != EMPTY_HASH}
    walked = _walked(connection, sorted(hashes), [segments(field.path) for field in fields])
    walked[EMPTY_HASH] = [NOTHING] * len(fields)
    return [_reading(row, walked, len(fields)) for row in sources]


def _sources(part: Part, connection: Connection) -> Select[tuple[int, str | None, str | None]]:
    task = source_tasks(part, connection.dialect)
    joined = INSTANCE.outerjoin(task, task.c.process_instance_id == INSTANCE.c.id)
    columns = select(INSTANCE.c.id, task.c.json_data_hash, task.c.python_env_data_hash)
    return columns.select_from(joined).where(chosen(part)).order_by(INSTANCE.c.id)


def _walked(
    connection: Connection, hashes: Sequence[str], paths: Sequence[Sequence[str]]
) -> dict[str, Sequence[Found] | None]:
    return {name: find_all(text, paths) for name, text in _documents(connection, hashes)}


def _documents(connection: Connection, hashes: Sequence[str]) -> Iterator[tuple[str, str]]:
    # MySQL gives text anyway, and would cut a cast to its own idea of how long a text may be.
    data = DOCUMENT.c.data if connection.dialect.name == "mysql" else cast(DOCUMENT.c.data, DOCUMENT.c.data.type)
    for start in range(0, len(hashes), DOCUMENTS_AT_ONCE):
        wanted = DOCUMENT.c.hash.in_(hashes[start : start + DOCUMENTS_AT_ONCE])
        yield from ((row[0], row[1]) for row in connection.execute(select(DOCUMENT.c.hash, data).where(wanted)))


def _reading(row: Row[tuple[int, str | None, str | None]], walked: Walked, fields: int) -> Reading:
    instance_id, *hashes = row
    if hashes[0] is None:
        return Reading(instance_id=instance_id, values=[None] * fields)
    if any(name not in walked for name in hashes):
        return Reading(instance_id=instance_id, values=[None] * fields, problem=NOT_THERE)
    json_data, python_env_data = (walked[str(name)] for name in hashes)
    if json_data is None or python_env_data is None:
        return Reading(instance_id=instance_id, values=[None] * fields, problem=NOT_READABLE)
    return Reading(instance_id=instance_id, values=list(map(merged, json_data, python_env_data)))
