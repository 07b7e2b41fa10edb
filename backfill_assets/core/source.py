"""What a source of history is: services, their tables, and the interface through which their records are read.

Here belong the values that describe a service and the protocol that every client speaks. How one service is
spoken to belongs to `adapters/rest`, what is done with its records to the domains.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Protocol

from backfill_assets.core.opening import Hours

Record = Mapping[str, Any]
"""One record as the service sent it: decoded JSON, nested, not yet flattened."""

RecordId = int | str
Identity = tuple[RecordId, datetime]
"""A record's id and its version, an aware datetime."""

FETCHED_AT_ONCE = 100
"""The most ids that `RecordSource.fetch` is asked for at once: more would not fit into an address."""


class ColumnType(StrEnum):
    """Types that a declared column can have; a column that is not declared is a string."""

    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    TIMESTAMP = "timestamp"
    DATE = "date"
    STRING = "string"


class Grain(StrEnum):
    """Length of one window, the unit of time whose state Dagster shows."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


@dataclass(frozen=True, kw_only=True)
class TableSpec:
    """One table of a service.

    `name` is the service's own name (`service/tickets`); `id_field` and `version_field` are paths into the
    record with `/` between the levels (`_info/lastUpdated`); `incremental_field` is what the service calls the
    version field in a filter; `columns` declares types by flattened name (`_info__lastUpdated`). Tables with a
    higher `priority` are read first. `deleted_field` is where the service marks a record that is gone, if it does.
    """

    name: str
    id_field: str = "id"
    version_field: str
    incremental_field: str
    deleted_field: str | None = None
    columns: Mapping[str, ColumnType] = field(default_factory=dict)
    priority: int = 0

    @property
    def slug(self) -> str:
        """The table's name in asset keys and file paths: lower case, `/` as `_`."""
        return self.name.lower().replace("/", "_")


@dataclass(frozen=True, kw_only=True)
class ServiceSpec:
    """One kind of service, with the defaults that a tenant may override.

    `max_page_size` is the service's own bound, which no setting can move. Chunks start at `chunk_size_days` and shrink
    past `chunk_target_rows` or `chunk_target_seconds`. After `breaker_failures` failures in a row nobody asks the
    service for `breaker_pause_seconds`. A read of more than `bulk_above_rows` goes through the service's bulk
    interface, where it has one. Incremental sync runs at every `sync_frequency` (`15min`, `hourly`, `daily` or a cron
    expression) and reads again what the one before may have seen too early, by `overlap_minutes`. History is read in
    the `backfill_hours` of the tenant's time zone only, where there are any, and a backfill of it stops after
    `timeout_hours`. `address_field` is the credential field that holds no secret but the service's address. The
    credential fields in `optional_together` may be absent, but only all of them.
    """

    name: str
    tables: tuple[TableSpec, ...]
    credential_fields: tuple[str, ...]
    optional_credential_fields: tuple[str, ...] = ()
    optional_together: tuple[str, ...] = ()
    address_field: str = "api_base_url"
    lookback_days: int
    chunk_size_days: int
    chunks_per_run: int = 6
    requests_per_minute: int
    chunk_target_rows: int = 50_000
    chunk_target_seconds: int = 300
    breaker_failures: int = 5
    breaker_pause_seconds: int = 30
    bulk_above_rows: int | None = None
    sync_frequency: str = "hourly"
    overlap_minutes: int = 15
    backfill_hours: Hours | None = None
    timeout_hours: int = 24
    page_size: int = 1000
    max_page_size: int = 1000
    grain: Grain = Grain.WEEKLY
    history_start: date = date(2023, 1, 1)

    def table(self, name: str) -> TableSpec | None:
        """The table with this name or slug, or None."""
        return next((t for t in self.tables if name in (t.name, t.slug)), None)


class RecordSource(Protocol):
    """One tenant's account at one service, for reading.

    Every method raises `TransientError` after its retries, `CredentialRefused` at once on 401 and 403, and
    `UnexpectedResponse` for an answer that the service's interface does not allow.
    """

    def check(self) -> str:
        """Make one cheap authenticated request; return what answered, in words for a person."""
        ...

    def records(self, table: TableSpec, start: datetime, end: datetime) -> Iterator[Sequence[Record]]:
        """Stream the records whose version lies in `[start, end)`, page by page, each version once.

        Pages by keyset (greater than the last one seen), so that a record which changes meanwhile cannot shift the
        others. `start` and `end` are aware datetimes.
        """
        ...

    def identities(self, table: TableSpec, start: datetime, end: datetime) -> Iterator[Sequence[Identity]]:
        """Like `records`, but only ids and versions: what can still be asked where one record spoils the answer."""
        ...

    def fetch(self, table: TableSpec, ids: Sequence[RecordId]) -> Sequence[Record]:
        """The records with these ids (at most `FETCHED_AT_ONCE`) as they are now; one that is gone is left out."""
        ...

    def count(self, table: TableSpec, start: datetime, end: datetime) -> int:
        """How many records the service says it holds in `[start, end)`."""
        ...

    def close(self) -> None:
        """Give the connections back."""
        ...
