"""Queues to test with: in memory, and in a database as existing installations hold it.

Here belongs what a queue starts from: a source, two pipelines and where they write.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from sqlalchemy import create_engine, text

from backfill_assets.adapters.queue.connecting import initialise
from backfill_assets.adapters.queue.memory import MemoryQueue, Pipeline
from backfill_assets.adapters.queue.passwords import Passwords
from backfill_assets.adapters.queue.sql import SqlQueue
from backfill_assets.core.jobs import Job, JobQueue, JobStatus, Options, Route, SourceServer

SERVER = SourceServer(id=1, name="shop", host="db", port=5432, database="shop", user="me", password="hidden")
LAKE = Route(id=1, name="lake", kind="POSTGRES", config={"host": "a", "password": "p"}, table="orders")
MART = Route(id=2, name="mart", kind="SNOWFLAKE", config={"account": "b"}, table="ORDERS_2", filter_sql="region = 'eu'")
CUSTOM = Route(id=2, name="mart", kind="SNOWFLAKE", config={"account": "b"}, table="views", custom_sql="SELECT 1")
PIPELINES: Mapping[int, Pipeline] = {
    1: Pipeline(name="first", source=SERVER, destinations=2, routes={"orders": [LAKE, MART], "views": [CUSTOM]}),
    2: Pipeline(
        name="second", source=SERVER, destinations=1, routes={"orders": [LAKE], "other": [replace(LAKE, table="other")]}
    ),
    3: Pipeline(name="bare", source=SERVER),
}

OLDEST = """
CREATE TABLE queue_backfill_data(
    id SERIAL PRIMARY KEY, pipeline_id INTEGER NOT NULL, source_id INTEGER NOT NULL, table_name VARCHAR(255) NOT NULL,
    filter_sql TEXT NULL, status VARCHAR(20) NOT NULL DEFAULT 'PENDING', count_record BIGINT NOT NULL DEFAULT 0,
    created_at TIMESTAMPTZ DEFAULT NOW(), updated_at TIMESTAMPTZ DEFAULT NOW())
"""
"""The queue as its first installations have it."""


class Installation(Protocol):
    """A queue, and how other programs write to it."""

    @property
    def queue(self) -> JobQueue:
        """The queue."""
        ...

    def put(self, job: Job, options: Options | None = None) -> None:
        """Keep a row as another program would write it."""
        ...


@dataclass(frozen=True, kw_only=True)
class InMemory:
    """The twin."""

    queue: MemoryQueue = field(default_factory=lambda: MemoryQueue(PIPELINES))

    def put(self, job: Job, options: Options | None = None) -> None:
        """See `Installation.put`."""
        self.queue.put(job, options)


@dataclass(frozen=True, kw_only=True)
class InSql:
    """A platform's database."""

    queue: SqlQueue
    url: str

    def put(self, job: Job, options: Options | None = None) -> None:
        """See `Installation.put`."""
        row = (job.id, job.pipeline_id, job.source_id or 1, job.table_name, job.filter_sql, str(job.status))
        names = ("id", "pipeline_id", "source_id", "table_name", "filter_sql", "status")
        marks = ", ".join(f":{name}" for name in names)
        sql = f"INSERT INTO queue_backfill_data ({', '.join(names)}, count_record) VALUES ({marks}, 0)"
        execute(self.url, [(sql, dict(zip(names, row, strict=True)))])
        if options is not None:
            sql = "INSERT INTO backfill_job_options VALUES (:id, :how, :version, :make)"
            values = {"id": job.id, "how": str(options.on_conflict), "version": options.version_column}
            execute(self.url, [(sql, {**values, "make": options.create_table})])


def execute(url: str, statements: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """Run statements as another program does."""
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement, values in statements:
            connection.execute(text(statement), values)
    engine.dispose()


def rows_of(url: str, query: str) -> list[tuple[Any, ...]]:
    """What a query finds."""
    engine = create_engine(url)
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.execute(text(query))]
    engine.dispose()
    return found


@contextmanager
def in_sql(url: str, *, oldest: bool = False) -> Iterator[InSql]:
    """An installation in this empty database; the oldest has the fewest columns."""
    if oldest:
        execute(url, [(OLDEST, {})])
    initialise(url)
    fill(url, PIPELINES)
    queue = SqlQueue(url, Passwords(None))
    try:
        yield InSql(queue=queue, url=url)
    finally:
        queue.close()


def fill(url: str, pipelines: Mapping[int, Pipeline]) -> None:
    """Write the pipelines with their source and destinations into the platform's tables."""
    statements: list[tuple[str, Mapping[str, Any]]] = []
    servers = {one.source.id: one.source for one in pipelines.values() if one.source}
    for server in servers.values():
        values = {
            name: getattr(server, name) for name in ("id", "name", "host", "port", "database", "user", "password")
        }
        sql = (
            "INSERT INTO sources (id, name, pg_host, pg_port, pg_database, pg_username, pg_password, publication_name, "
            "replication_name) VALUES (:id, :name, :host, :port, :database, :user, :password, 'p', 'r')"
        )
        statements.append((sql, values))
    routes = {route.id: route for one in pipelines.values() for routes in one.routes.values() for route in routes}
    for route in routes.values():
        values = {"id": route.id, "name": route.name, "type": route.kind, "config": json.dumps(dict(route.config))}
        sql = "INSERT INTO destinations (id, name, type, config) VALUES (:id, :name, :type, CAST(:config AS jsonb))"
        statements.append((sql, values))
    for number, one in pipelines.items():
        source = one.source.id if one.source else None
        sql = "INSERT INTO pipelines (id, name, source_id) VALUES (:id, :name, :source)"
        statements.append((sql, {"id": number, "name": one.name, "source": source}))
        for destination in sorted({route.id for routes in one.routes.values() for route in routes}):
            link = {"id": number * 100 + destination, "pipeline": number, "destination": destination}
            names = "id, pipeline_id, destination_id"
            sql = f"INSERT INTO pipelines_destination ({names}) VALUES (:id, :pipeline, :destination)"
            statements.append((sql, link))
        for table, routed in one.routes.items():
            for route in routed:
                mapped = {
                    "link": number * 100 + route.id,
                    "table": table,
                    "target": None if route.table == table else route.table,
                    "filter": route.filter_sql,
                    "custom": route.custom_sql,
                }
                sql = (
                    "INSERT INTO pipelines_destination_table_sync (pipeline_destination_id, table_name, "
                    "table_name_target, filter_sql, custom_sql) VALUES (:link, :table, :target, :filter, :custom)"
                )
                statements.append((sql, mapped))
    execute(url, statements)


def a_job(job_id: int = 7, **values: Any) -> Job:
    """A job that waits."""
    return replace(Job(id=job_id, pipeline_id=1, source_id=1, table_name="orders", status=JobStatus.PENDING), **values)
