"""The platform's tables, as far as we read and write them, and the two that are ours.

Here belong their columns and how they are made for a new installation. Nothing here changes a table that is there:
those of older installations lack some columns, and those of newer ones have more.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB

PLATFORM = MetaData()
OURS = MetaData()


def _moments() -> tuple[Column[Any], Column[Any]]:
    return (
        Column("created_at", DateTime(timezone=True), server_default=func.now()),
        Column("updated_at", DateTime(timezone=True), server_default=func.now()),
    )


SOURCES = Table(
    "sources",
    PLATFORM,
    Column("id", Integer, primary_key=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("pg_host", String(255), nullable=False),
    Column("pg_port", Integer, nullable=False, server_default="5432"),
    Column("pg_database", String(255), nullable=False),
    Column("pg_username", String(255), nullable=False),
    Column("pg_password", Text),
    Column("publication_name", String(255), nullable=False),
    Column("replication_name", String(255), nullable=False),
    Column("is_publication_enabled", Boolean, nullable=False, server_default="false"),
    Column("is_replication_enabled", Boolean, nullable=False, server_default="false"),
    Column("last_check_replication_publication", DateTime(timezone=True)),
    Column("total_tables", Integer, nullable=False, server_default="0"),
    *_moments(),
)
DESTINATIONS = Table(
    "destinations",
    PLATFORM,
    Column("id", Integer, primary_key=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("type", String(50), nullable=False, server_default="SNOWFLAKE"),
    Column("config", JSONB, nullable=False, server_default="{}"),
    *_moments(),
)
PIPELINES = Table(
    "pipelines",
    PLATFORM,
    Column("id", Integer, primary_key=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("source_id", Integer, ForeignKey("sources.id", ondelete="CASCADE"), nullable=False),
    Column("status", String(20), nullable=False, server_default="PAUSE"),
    Column("ready_refresh", Boolean, nullable=False, server_default="false"),
    Column("last_refresh_at", DateTime(timezone=True)),
    *_moments(),
)
PIPELINES_DESTINATION = Table(
    "pipelines_destination",
    PLATFORM,
    Column("id", Integer, primary_key=True),
    Column("pipeline_id", Integer, ForeignKey("pipelines.id", ondelete="CASCADE"), nullable=False),
    Column("destination_id", Integer, ForeignKey("destinations.id", ondelete="CASCADE"), nullable=False),
    Column("is_error", Boolean, nullable=False, server_default="false"),
    Column("error_message", Text),
    Column("last_error_at", DateTime(timezone=True)),
    *_moments(),
)
TABLE_SYNC = Table(
    "pipelines_destination_table_sync",
    PLATFORM,
    Column("id", Integer, primary_key=True),
    Column(
        "pipeline_destination_id", Integer, ForeignKey("pipelines_destination.id", ondelete="CASCADE"), nullable=False
    ),
    Column("table_name", String(255), nullable=False),
    Column("table_name_target", String(255)),
    Column("custom_sql", Text),
    Column("filter_sql", Text),
    Column("is_exists_table_landing", Boolean, nullable=False, server_default="false"),
    Column("is_exists_stream", Boolean, nullable=False, server_default="false"),
    Column("is_exists_task", Boolean, nullable=False, server_default="false"),
    Column("is_exists_table_destination", Boolean, nullable=False, server_default="false"),
    Column("is_error", Boolean, nullable=False, server_default="false"),
    Column("error_message", Text),
    *_moments(),
)
TABLE_METADATA = Table(
    "table_metadata_list",
    PLATFORM,
    Column("id", Integer, primary_key=True),
    Column("source_id", Integer, ForeignKey("sources.id", ondelete="CASCADE"), nullable=False),
    Column("table_name", String(255), nullable=False),
    Column("schema_table", JSONB),
    *_moments(),
    UniqueConstraint("source_id", "table_name"),
)
QUEUE = Table(
    "queue_backfill_data",
    PLATFORM,
    Column("id", Integer, primary_key=True),
    Column("pipeline_id", Integer, ForeignKey("pipelines.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("source_id", Integer, ForeignKey("sources.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("table_name", String(255), nullable=False),
    Column("filter_sql", Text),
    Column("status", String(20), nullable=False, server_default="PENDING", index=True),
    Column("count_record", BigInteger, nullable=False, server_default="0"),
    Column("total_record", BigInteger, nullable=False, server_default="0"),
    Column("is_error", Boolean, nullable=False, server_default="false"),
    Column("error_message", Text),
    Column("resume_attempts", Integer, nullable=False, server_default="0"),
    Column("last_pk_value", Text),
    Column("pk_column", Text),
    Column("created_at", DateTime(timezone=True), server_default=func.now(), index=True),
    Column("updated_at", DateTime(timezone=True), server_default=func.now(), index=True),
)

OPTIONS = Table(
    "backfill_job_options",
    OURS,
    # No foreign key: it would change the platform's own table.
    Column("job_id", BigInteger, primary_key=True, autoincrement=False),
    Column("on_conflict", String(20), nullable=False, server_default="overwrite"),
    Column("version_column", String(255)),
    Column("create_table", Boolean, nullable=False, server_default="false"),
)
CLAIMS = Table(
    "backfill_job_claims",
    OURS,
    Column("job_id", BigInteger, primary_key=True, autoincrement=False),
    Column("engine", String(255), nullable=False),
    Column("run_id", String(255), nullable=False),
    # How often a run of it died since a person last asked for it.
    Column("deaths", Integer, nullable=False, server_default="0"),
    Column("claimed_at", DateTime(timezone=True), server_default=func.now()),
)
