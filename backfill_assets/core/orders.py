"""Work orders: where they come from, where they are kept, and how far each month has come.

Here belong the values and the interface of the source. Snowflake belongs to `adapters/snowflake`, what is kept to
`enriched.py`, what becomes of a record to the domain. Records travel as Arrow tables, since a Python object a
record would cost more than the rest of the way.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import md5, sha256
from typing import TYPE_CHECKING, Protocol

from backfill_assets.core.windows import BEGINNING, Window

if TYPE_CHECKING:
    import pyarrow as pa

ID, DATE, TEXT = "notification_id", "notification_date", "notification_text"
DATES = (DATE, "notification_assigned_date", "notification_closed_date")
TEXTS = (
    "noti_category_id",
    "sys_eq_id",
    "noti_country_id",
    "sys_fl_id",
    "sys_mat_id",
    "sys_serial_id",
    "notification_trendcode_l1",
    "notification_trendcode_l2",
    "notification_trendcode_l3",
    "notification_medium_text",
)
COLUMNS = (ID, *DATES, *TEXTS, TEXT)
"""The columns of a record, by the names of the existing schema; a source need not have all of them."""
REQUIRED = (ID, DATE, TEXT)

DIGEST_DIGITS = 10


@dataclass(frozen=True, kw_only=True, order=True)
class Position:
    """A record's place in the order in which records are read: by date, then by id.

    A record without a date comes first, at the beginning of time; one without an id comes first of its moment.
    """

    at: datetime
    id: str


@dataclass(frozen=True, kw_only=True, order=True)
class Span:
    """Records of one month that are dated in `[start, end)`; the first month of all holds what is older or undated."""

    month: Window
    start: datetime
    end: datetime

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the month."""
        return (self.start, self.end) == (self.month.start, self.month.end)

    @property
    def holds_undated(self) -> bool:
        """Whether records without a date, and those before all history, belong to it."""
        return self.month.is_first and self.start == self.month.start

    @property
    def reads_from(self) -> datetime:
        """Where reading begins."""
        return BEGINNING if self.holds_undated else self.start

    @property
    def key(self) -> str:
        """The month's key, or both ends where it is a part of it."""
        return self.month.key if self.is_whole else f"{self.start:%Y-%m-%d}..{self.end:%Y-%m-%d}"


def whole(month: Window) -> Span:
    """All of a month."""
    return Span(month=month, start=month.start, end=month.end)


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How many records there are, and a digest of their ids that does not depend on their order."""

    records: int = 0
    digest: int = 0

    def __add__(self, other: "Standing") -> "Standing":
        return Standing(records=self.records + other.records, digest=self.digest + other.digest)


def standing_of(ids: Iterator[str]) -> Standing:
    """The standing of records with these ids; an id counts as often as it comes."""
    return sum((Standing(records=1, digest=id_digest(one)) for one in ids), Standing())


def id_digest(record_id: str) -> int:
    """The number that a record adds to a digest: the first 40 bits of its id's MD5, which every database can say."""
    return int(md5(record_id.encode(), usedforsecurity=False).hexdigest()[:DIGEST_DIGITS], 16)


def text_hash(text: str) -> str:
    """The hash by which the same text is known again."""
    return sha256(text.encode()).hexdigest()


def position_of(records: "pa.Table", row: int) -> Position:
    """The position of one record of a table."""
    return Position(at=records[DATE][row].as_py() or BEGINNING, id=records[ID][row].as_py() or "")


class OrderSource(Protocol):
    """The system that holds the work orders; every method raises `TransientError` where trying again may help."""

    def check(self) -> str:
        """Say where the records are; raises what reading them would meet."""
        ...

    def standing(self, span: Span) -> Standing:
        """How many records it holds, counted by the source, those without an id as those with an empty one."""
        ...

    def duplicates(self) -> Mapping[str, datetime | None]:
        """Ids that it holds more than once, in whichever month, each with the date of its newest record."""
        ...

    def pages(self, span: Span, after: Position | None, limit: int) -> "Iterator[pa.Table]":
        """The records beyond a position, in their order, as tables of about so many (`order_schema`).

        Records with the same position are never in two tables.
        """
        ...

    def fetch(self, ids: Sequence[str]) -> "pa.Table":
        """The records with these ids as they are now, in their order."""
        ...

    def close(self) -> None:
        """Give the connection back."""
        ...


@dataclass(frozen=True, kw_only=True)
class Order:
    """What an enrichment needs of a stored record."""

    position: Position
    text: str
    text_hash: str

    @property
    def id(self) -> str:
        """The record's id."""
        return self.position.id


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A row of `etl_metadata`: how far a span has come; without a cursor it has not been begun, or is done."""

    name: str
    cursor: Position | None = None
    is_open: bool = False
    records: int = 0
    seconds: float = 0.0
    succeeded_at: datetime | None = None
    error: str | None = None


def order_schema() -> "pa.Schema":
    """The schema of every table of records, whatever the source has."""
    # Deferred: whoever only names these interfaces need not load Arrow.
    import pyarrow as pa

    moment = pa.timestamp("us", tz="UTC")
    return pa.schema([(name, moment if name in DATES else pa.string()) for name in COLUMNS])
