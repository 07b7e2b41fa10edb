"""A CDC platform's database: its tables, a source, and a pipeline with destinations.

Here belongs what the platform's own API and UI would have written. What is in the source belongs to `source.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import NullPool, create_engine, insert, make_url

from backfill_assets.adapters.queue.connecting import initialise
from backfill_assets.adapters.queue.tables import (
    DESTINATIONS,
    PIPELINES,
    PIPELINES_DESTINATION,
    SOURCES,
    TABLE_SYNC,
)


@dataclass(frozen=True, kw_only=True)
class Target:
    """A destination of the pipeline: its kind and config, and the names that tables have there, if others."""

    name: str
    kind: str
    config: Mapping[str, Any] = field(repr=False)
    names: Mapping[str, str] = field(default_factory=dict)
    filters: Mapping[str, str] = field(default_factory=dict)


def postgres_target(name: str, url: str, **more: Any) -> Target:
    """A destination that is this PostgreSQL database."""
    parsed = make_url(url)
    config = {
        "host": parsed.host,
        "port": parsed.port,
        "database": parsed.database,
        "user": parsed.username,
        "password": parsed.password,
    }
    return Target(name=name, kind="POSTGRES", config=config, **more)


def make_platform(url: str, *, source: str, targets: Sequence[Target], tables: Sequence[str]) -> int:
    """Make the platform's tables where they lack, and in them a pipeline that brings these tables to these targets.

    `url` is the platform's database, `source` the one that is read; returns the id of the pipeline.
    """
    initialise(url)
    parsed = make_url(source)
    engine = create_engine(url, poolclass=NullPool, hide_parameters=True)
    with engine.begin() as connection:

        def added(table: Any, **values: Any) -> int:
            return int(connection.execute(insert(table).values(**values).returning(table.c.id)).scalar_one())

        server = added(
            SOURCES,
            name=f"source {parsed.database}",
            pg_host=parsed.host,
            pg_port=parsed.port or 5432,
            pg_database=parsed.database,
            pg_username=parsed.username,
            pg_password=parsed.password,
            publication_name="publication",
            replication_name="replication",
        )
        pipeline = added(PIPELINES, name=f"pipeline {parsed.database}", source_id=server, status="START")
        for target in targets:
            destination = added(DESTINATIONS, name=target.name, type=target.kind, config=dict(target.config))
            link = added(PIPELINES_DESTINATION, pipeline_id=pipeline, destination_id=destination)
            for table in tables:
                added(
                    TABLE_SYNC,
                    pipeline_destination_id=link,
                    table_name=table,
                    table_name_target=target.names.get(table),
                    filter_sql=target.filters.get(table),
                )
    return pipeline
