"""Settings of table backfill: where a CDC platform keeps its queue, and how fast it is worked off.

Here belongs how their variables are read; they become a part of `settings`.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from backfill_assets.configuration.domains import TABLE_BACKFILL, names_domain
from backfill_assets.configuration.variables import MaybePostgres, whole_number

QUEUE_DATABASE = "BACKFILL_QUEUE_DATABASE_URL"


def contradictions(said: Mapping[str, str]) -> Iterator[str]:
    """A sentence where the domain is asked for without its queue."""
    if names_domain(said, TABLE_BACKFILL) and QUEUE_DATABASE not in said:
        yield f"BACKFILL_DOMAINS names {TABLE_BACKFILL}, but {QUEUE_DATABASE} is not set; it names the queue's database"


class TableBackfillSettings(BaseSettings):
    """The queue's database and how often and how much at once is read; the key decrypts the platform's passwords."""

    queue_database_url: MaybePostgres = Field(None, validation_alias=QUEUE_DATABASE)
    table_poll_seconds: Annotated[int, whole_number(1, 3600)] = Field(5, validation_alias="BACKFILL_TABLE_POLL_SECONDS")
    table_batch_size: Annotated[int, whole_number(1, 1_000_000)] = Field(
        10_000, validation_alias="BACKFILL_TABLE_BATCH_SIZE"
    )
    credential_encryption_key: SecretStr | None = Field(None, validation_alias="CREDENTIAL_ENCRYPTION_KEY")
