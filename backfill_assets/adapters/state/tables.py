"""The tables of the state database, as the current revision has them.

Here belong tables, their column types and the revision that this code needs. How a database gets there belongs to
`migrations`, what is read and written to the ledger of each table.
"""

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    Identity,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)

SCHEMA = "backfill"
"""PostgreSQL schema of all our tables; SQLite has none and leaves it out."""

SCHEMA_REVISION = "0005"
"""The revision this code works with: the newest one in `migrations`."""

VERSION_TABLE = "alembic_version"
METADATA = MetaData(schema=SCHEMA)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime, in UTC on the way out; SQLite keeps it without its zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a naive datetime: nobody could say later what it meant."""
        if value is None:
            return None
        if value.utcoffset() is None:
            raise ValueError(f"{value!r} has no time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give it back in UTC."""
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


class AnyText(TypeDecorator[str]):
    """Text exactly as a source sent it, which may hold what a database cannot: NUL and lone surrogates.

    Such a text is kept as JSON behind a prefix, and so is one that begins with the prefix.
    """

    impl = Text
    cache_ok = True
    PREFIX = "json:"

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Keep it as it is whenever a database can."""
        if value is None or not (value.startswith(self.PREFIX) or _is_unstorable(value)):
            return value
        return self.PREFIX + json.dumps(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """Give back what was put in."""
        if value is None or not value.startswith(self.PREFIX):
            return value
        return str(json.loads(value.removeprefix(self.PREFIX)))


def _is_unstorable(value: str) -> bool:
    return "\0" in value or any("\ud800" <= character <= "\udfff" for character in value)


def _text(name: str, **options: Any) -> Column[str]:
    return Column(name, AnyText, nullable=False, **options)


DEAD_LETTERS = Table(
    "dead_letters",
    METADATA,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), Identity(), primary_key=True),
    # A digest, because the six texts that make up the identity may be longer than an index entry can be.
    Column("identity", String(64), nullable=False),
    _text("domain"),
    _text("tenant"),
    _text("service"),
    _text("table_name"),
    _text("partition_key"),
    _text("record_id"),
    _text("version"),
    _text("reason"),
    _text("payload"),
    _text("run_id"),
    Column("first_seen_at", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
    Index("dead_letters_identity", "identity", unique=True),
    Index("dead_letters_place", "domain", "tenant", "service", "table_name"),
)

SERVICE_SWITCHES = Table(
    "service_switches",
    METADATA,
    _text("tenant", primary_key=True),
    _text("service", primary_key=True),
    Column("enabled", Boolean, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
)

PACES = Table(
    "paces",
    METADATA,
    _text("service", primary_key=True),
    _text("tenant", primary_key=True),
    Column("next_turn", BigInteger, nullable=False),
    Column("not_before", UtcDateTime),
    _text("told"),
    Column("learned_per_minute", Float(53)),
    Column("learned_at", UtcDateTime),
    Column("failures", Integer, nullable=False),
    _text("reason"),
    Column("opened_at", UtcDateTime),
    Column("open_until", UtcDateTime),
    Column("trial_until", UtcDateTime),
)

CERTIFICATES = Table(
    "certificates",
    METADATA,
    _text("tenant", primary_key=True),
    _text("service", primary_key=True),
    _text("table_name", primary_key=True),
    _text("window_key", primary_key=True),
    Column("source_rows", BigInteger, nullable=False),
    Column("rows_rejected", BigInteger, nullable=False),
    Column("stored_rows", BigInteger, nullable=False),
    Column("stored_ids", BigInteger, nullable=False),
    Column("identity_digest", String(64), nullable=False),
    Column("content_digest", String(64), nullable=False),
    Column("began_at", UtcDateTime, nullable=False),
    Column("taken_at", UtcDateTime, nullable=False),
    Column("is_settled", Boolean, nullable=False),
    _text("code_version"),
    Index("certificates_table", "service", "table_name"),
)

HANDOFFS = Table(
    "handoffs",
    METADATA,
    _text("tenant", primary_key=True),
    _text("service", primary_key=True),
    _text("table_name", primary_key=True),
    Column("history_from", UtcDateTime, nullable=False),
    Column("first_request_at", UtcDateTime),
)

PROCESS_MODELS = Table(
    "process_models",
    METADATA,
    _text("model", primary_key=True),
    Column("was_read", Boolean, nullable=False),
)

METADATA_FIELDS = Table(
    "metadata_fields",
    METADATA,
    _text("model", primary_key=True),
    _text("field_key", primary_key=True),
    _text("path"),
)

BUDGETS = Table(
    "budgets",
    METADATA,
    _text("name", primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("tokens_in", BigInteger, nullable=False),
    Column("tokens_out", BigInteger, nullable=False),
    Column("nanodollars", BigInteger, nullable=False),
    Column("tokens_due", BigInteger, nullable=False),
)
