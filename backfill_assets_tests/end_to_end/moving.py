"""A platform beside the running stack: its queue, a source, two destinations, and what a test asks of them.

Here belongs what is made, asked and waited for; what must hold belongs to the tests.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from sqlalchemy import NullPool, create_engine, text

from backfill_assets.sandbox.postgres import EmbeddedPostgres
from backfill_assets.sandbox.tables.platform import make_platform, postgres_target
from backfill_assets.sandbox.tables.source import make_source
from backfill_assets_tests.end_to_end.running import Running, until

QUEUE_DATABASE = "BACKFILL_QUEUE_DATABASE_URL"
ROWS = 3000
BATCH = 500
PLATFORM, SOURCE, LAKE, MART = "platform", "shop", "lake", "mart"
PIPELINE = 1


def table_databases(postgres: EmbeddedPostgres) -> Mapping[str, str]:
    """Make the four databases; the second destination has another name for the table, and takes only Europe."""
    for name in (PLATFORM, SOURCE, LAKE, MART):
        postgres.create_database(name)
    make_source(postgres.url(SOURCE), rows=ROWS)
    targets = [
        postgres_target(LAKE, postgres.url(LAKE)),
        postgres_target(MART, postgres.url(MART), names={"orders": "eu_orders"}, filters={"orders": "region = 'eu'"}),
    ]
    pipeline = make_platform(postgres.url(PLATFORM), source=postgres.url(SOURCE), targets=targets, tables=["orders"])
    assert pipeline == PIPELINE
    return {QUEUE_DATABASE: postgres.url(PLATFORM), "BACKFILL_TABLE_BATCH_SIZE": str(BATCH)}


@dataclass(frozen=True, kw_only=True)
class Platform:
    """The platform as its API and its UI see it."""

    running: Running

    def sql(self, database: str, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        """Run a statement in one of the databases."""
        engine = create_engine(self.running.stack.postgres.url(database), poolclass=NullPool)
        with engine.begin() as connection:
            result = connection.execute(text(statement), values)
            found = [tuple(row) for row in result] if result.returns_rows else []
        engine.dispose()
        return found

    def queue(self, filter_sql: str | None = None, *, create_table: bool = True, table: str = "orders") -> int:
        """Add a row, as the platform's API does; the table is made where it lacks, unless said otherwise."""
        [(job_id,)] = self.sql(
            PLATFORM,
            "INSERT INTO queue_backfill_data (pipeline_id, source_id, table_name, filter_sql, status, count_record) "
            "VALUES (:pipeline, 1, :table, :filter, 'PENDING', 0) RETURNING id",
            pipeline=PIPELINE,
            table=table,
            filter=filter_sql,
        )
        options = "INSERT INTO backfill_job_options (job_id, create_table) VALUES (:id, :make)"
        self.sql(PLATFORM, options, id=job_id, make=create_table)
        return int(job_id)

    def row(self, job_id: int) -> dict[str, Any]:
        """A row of the queue."""
        names = ("status", "count_record", "total_record", "is_error", "error_message", "resume_attempts")
        found = self.sql(PLATFORM, f"SELECT {', '.join(names)} FROM queue_backfill_data WHERE id = :id", id=job_id)
        return dict(zip(names, found[0], strict=True)) if found else {}

    def ended(self, job_id: int, *, timeout: float = 120.0) -> dict[str, Any]:
        """Wait for the end of a job."""

        def found() -> dict[str, Any] | None:
            row = self.row(job_id)
            return row if row["status"] not in ("PENDING", "EXECUTING") else None

        return until(f"the end of job {job_id}", found, timeout=timeout)

    def rows(self, database: str, table: str = "orders", where: str = "true") -> list[tuple[Any, ...]]:
        """Every row of a table, as PostgreSQL writes it."""
        return self.sql(database, f"SELECT t::text FROM {table} t WHERE {where} ORDER BY id")

    def graphql(self, query: str, **variables: Any) -> dict[str, Any]:
        """Ask the webserver."""
        answer = httpx.post(
            f"{self.running.stack.url}/graphql", json={"query": query, "variables": variables}, timeout=60
        )
        told = answer.raise_for_status().json()
        assert "errors" not in told, told
        data: dict[str, Any] = told["data"]
        return data
