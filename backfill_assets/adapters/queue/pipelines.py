"""What a pipeline reads and where it writes, from the platform's tables.

Here belong the questions about pipelines, sources and destinations; jobs belong to `sql.py`.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, and_, func, select

from backfill_assets.adapters.queue.passwords import Passwords
from backfill_assets.adapters.queue.rows import no_pipeline, no_route, no_source
from backfill_assets.adapters.queue.tables import DESTINATIONS, PIPELINES, PIPELINES_DESTINATION, SOURCES, TABLE_SYNC
from backfill_assets.core.jobs import Job, Route, SourceServer
from backfill_assets.errors import PermanentError, UsageError

POSTGRES = "POSTGRES"


def require(connection: Connection, pipeline_id: int) -> int:
    """The id of the pipeline's source; raises `UsageError` where there is no such pipeline."""
    found = connection.scalar(select(PIPELINES.c.source_id).where(PIPELINES.c.id == pipeline_id))
    if found is None:
        raise UsageError(str(no_pipeline(pipeline_id)))
    return int(found)


def source(connection: Connection, passwords: Passwords, pipeline_id: int | None) -> SourceServer:
    """The database that a pipeline reads."""
    columns = (
        SOURCES.c.id,
        SOURCES.c.name,
        SOURCES.c.pg_host,
        SOURCES.c.pg_port,
        SOURCES.c.pg_database,
        SOURCES.c.pg_username,
        SOURCES.c.pg_password,
    )
    both = PIPELINES.outerjoin(SOURCES, SOURCES.c.id == PIPELINES.c.source_id)
    wanted = select(*columns, PIPELINES.c.name.label("pipeline")).select_from(both)
    row = connection.execute(wanted.where(PIPELINES.c.id == pipeline_id)).mappings().first()
    if row is None:
        raise no_pipeline(pipeline_id)
    if row["id"] is None:
        raise no_source(row["pipeline"])
    return SourceServer(
        id=row["id"],
        name=row["name"],
        host=row["pg_host"],
        port=row["pg_port"],
        database=row["pg_database"],
        user=row["pg_username"],
        password=passwords.plain(row["pg_password"] or ""),
    )


def routes(connection: Connection, passwords: Passwords, job: Job) -> Sequence[Route]:
    """How the job's table is brought to each destination that takes it."""
    pipeline = connection.scalar(select(PIPELINES.c.name).where(PIPELINES.c.id == job.pipeline_id))
    if pipeline is None:
        raise no_pipeline(job.pipeline_id)
    link, sync = PIPELINES_DESTINATION, TABLE_SYNC
    both = link.join(DESTINATIONS, DESTINATIONS.c.id == link.c.destination_id)
    taken = both.join(sync, and_(sync.c.pipeline_destination_id == link.c.id, sync.c.table_name == job.table_name))
    columns = (DESTINATIONS.c.id, DESTINATIONS.c.name, DESTINATIONS.c.type, DESTINATIONS.c.config)
    mapped = (sync.c.table_name_target, sync.c.filter_sql, sync.c.custom_sql)
    wanted = select(*columns, *mapped).select_from(taken).where(link.c.pipeline_id == job.pipeline_id)
    rows = connection.execute(wanted.order_by(link.c.id, sync.c.id)).mappings().all()
    if not rows:
        count = select(func.count()).select_from(link).where(link.c.pipeline_id == job.pipeline_id)
        raise no_route(job.table_name, pipeline, destinations=connection.scalar(count) or 0)
    return [
        Route(
            id=row["id"],
            name=row["name"],
            kind=_kind(row["type"]),
            config=passwords.plain_config(_config(row["config"], row["name"])),
            table=row["table_name_target"] or job.table_name,
            filter_sql=(row["filter_sql"] or "").strip() or None,
            custom_sql=(row["custom_sql"] or "").strip() or None,
        )
        for row in rows
    ]


def tables(connection: Connection, pipeline_id: int) -> Sequence[str]:
    """The tables that at least one destination takes, by name."""
    joined = TABLE_SYNC.join(PIPELINES_DESTINATION, PIPELINES_DESTINATION.c.id == TABLE_SYNC.c.pipeline_destination_id)
    wanted = select(TABLE_SYNC.c.table_name).select_from(joined).distinct()
    chosen = wanted.where(PIPELINES_DESTINATION.c.pipeline_id == pipeline_id)
    return sorted(connection.scalars(chosen))


def _kind(text: str) -> str:
    kind = text.strip().upper()
    return POSTGRES if kind == "POSTGRESQL" else kind


def _config(config: object, name: str) -> dict[str, object]:
    if not isinstance(config, dict):
        raise PermanentError(f"The config of destination '{name}' is no JSON object; correct it in the platform")
    return config
