"""The product's tables, as far as we read and write them, and the statements that every database understands.

Here belongs what is asked for. How values are read and written belongs to `postgres.py` and `portable.py`; nothing
here makes or changes a table.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    Case,
    Column,
    ColumnElement,
    Dialect,
    FromClause,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    Select,
    String,
    Subquery,
    Table,
    Text,
    and_,
    case,
    cast,
    collate,
    func,
    or_,
    select,
)

from backfill_assets.core.instances import Part
from backfill_assets.core.windows import Window

_TABLES = MetaData()

INSTANCE = Table(
    "process_instance",
    _TABLES,
    Column("id", Integer, primary_key=True),
    Column("process_model_identifier", String(255)),
    Column("created_at_in_seconds", Integer),
)
TASK = Table(
    "task",
    _TABLES,
    Column("guid", String(36), primary_key=True),
    Column("process_instance_id", Integer),
    Column("state", String(10)),
    Column("json_data_hash", String(255)),
    Column("python_env_data_hash", String(255)),
    Column("end_in_seconds", Numeric(17, 6)),
)
DOCUMENT = Table(
    "json_data",
    _TABLES,
    Column("hash", String(255), primary_key=True),
    # JSON in truth, which is wanted as text.
    Column("data", Text),
)
METADATA = Table(
    "process_instance_metadata",
    _TABLES,
    Column("id", Integer, primary_key=True),
    Column("process_instance_id", Integer),
    Column("key", String(255)),
    Column("value", String(255)),
    Column("updated_at_in_seconds", Integer),
    Column("created_at_in_seconds", Integer),
)

COMPLETED = "COMPLETED"


def created_in(month: Window) -> ColumnElement[bool]:
    """Whether an instance was created in this month; the first one holds all that is older or has no such moment."""
    created = INSTANCE.c.created_at_in_seconds
    before = created < int(month.end.timestamp())
    if month.is_first:
        return or_(before, created.is_(None))
    return and_(created >= int(month.start.timestamp()), before)


def chosen(part: Part) -> ColumnElement[bool]:
    """Whether an instance belongs to the part."""
    row = INSTANCE.c
    conditions = [row.process_model_identifier == part.model, row.id > part.after, row.id <= part.upto]
    return and_(*conditions, *([created_in(part.month)] if part.month else []))


def spans(model: str, months: Sequence[Window]) -> Select[Any]:
    """Number of the month, instances in it, first and last id: one look at the model's instances for all months."""
    number: Case[Any] = case(*((created_in(month), number) for number, month in enumerate(months)), else_=None)
    months_of = select(number.label("month"), INSTANCE.c.id).where(INSTANCE.c.process_model_identifier == model)
    found = months_of.subquery()
    counted = select(found.c.month, func.count(), func.min(found.c.id), func.max(found.c.id))
    return counted.where(found.c.month.is_not(None)).group_by(found.c.month)


def last_of_the_first(part: Part, limit: int) -> Select[Any]:
    """The id of the last of the first so many instances of the part, and how many these are."""
    first = select(INSTANCE.c.id).where(chosen(part)).order_by(INSTANCE.c.id).limit(limit).subquery()
    return select(func.max(first.c.id), func.count())


def source_tasks(part: Part, dialect: Dialect) -> Subquery:
    """The task that each instance of the part takes its values from, by `process_instance_id`.

    It is the completed one that ended last; those without an end come after all that have one, and of two that ended
    together the one with the smaller guid is taken.
    """
    place = func.row_number().over(partition_by=TASK.c.process_instance_id, order_by=_last_first(dialect.name))
    of_part = TASK.c.process_instance_id.in_(select(INSTANCE.c.id).where(chosen(part)))
    ranked = _completed().add_columns(place.label("place")).where(of_part).subquery()
    kept = (ranked.c.process_instance_id, ranked.c.json_data_hash, ranked.c.python_env_data_hash)
    return select(*kept).where(ranked.c.place == 1).subquery()


def source_task_of(instances: FromClause, wanted: ColumnElement[bool] | None) -> FromClause:
    """The same for PostgreSQL: one look into the index for each instance, whatever the planner thinks of the tasks."""
    of_instance = _completed().where(TASK.c.process_instance_id == instances.c.id)
    asked = of_instance if wanted is None else of_instance.where(wanted)
    return asked.order_by(*_last_first("postgresql")).limit(1).correlate(instances).lateral()


def _completed() -> Select[Any]:
    columns = (TASK.c.process_instance_id, TASK.c.json_data_hash, TASK.c.python_env_data_hash)
    return select(*columns).where(TASK.c.state == COMPLETED)


def _last_first(dialect: str) -> Sequence[ColumnElement[Any]]:
    """The order of tasks; that of their guids depends on no collation."""
    end, guid = TASK.c.end_in_seconds, TASK.c.guid
    match dialect:
        case "postgresql":
            return (end.desc().nulls_last(), collate(guid, "C"))
        case "sqlite":
            return (end.is_(None), end.desc(), guid)
        case _:
            return (end.is_(None), end.desc(), cast(guid, LargeBinary))
