"""Reading around the records that a source cannot send: whatever asks for one of them fails, whatever does not is well.

Here belongs finding them: the ids and versions of a range, then the records by id, in halves where an answer fails,
down to the single record. What becomes of it belongs to `reading.py` and `letters.py`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from backfill_assets.core.source import FETCHED_AT_ONCE, Identity, Record, RecordId, RecordSource, TableSpec
from backfill_assets.errors import (
    BackfillError,
    CircuitOpen,
    ConditionIgnored,
    NoSuchTable,
    RateLimited,
    SourceUnreachable,
    TransientError,
    UnexpectedResponse,
)

MOST_UNREADABLE = 25
"""More in one range are no bad records but a source that does not work."""

_ABOUT_THE_SOURCE = (CircuitOpen, RateLimited, SourceUnreachable, NoSuchTable, ConditionIgnored)


@dataclass(frozen=True, kw_only=True)
class Unreadable:
    """A record that the source holds and cannot send."""

    record_id: RecordId
    error: BackfillError


def read_around(
    source: RecordSource, table: TableSpec, start: datetime, end: datetime
) -> Iterator[Sequence[Record] | tuple[Identity, BackfillError]]:
    """The records of `[start, end)` in parts, and in between those that the source cannot send, with its error.

    A record may be newer than its range, when it was changed meanwhile. Raises the source's error where it says more
    about the source than about a few records.
    """
    versions = dict(identity for page in source.identities(table, start, end) for identity in page)
    unreadable = 0
    for part in fetch_around(source, table, list(versions)):
        if not isinstance(part, Unreadable):
            yield part
            continue
        unreadable += 1
        if unreadable > MOST_UNREADABLE:
            raise part.error
        yield (part.record_id, versions[part.record_id]), part.error


def fetch_around(
    source: RecordSource, table: TableSpec, ids: Sequence[RecordId]
) -> Iterator[Sequence[Record] | Unreadable]:
    """The records with these ids in parts, and in between those that the source cannot send."""
    for first in range(0, len(ids), FETCHED_AT_ONCE):
        yield from _fetch(source, table, ids[first : first + FETCHED_AT_ONCE])


def _fetch(source: RecordSource, table: TableSpec, ids: Sequence[RecordId]) -> Iterator[Sequence[Record] | Unreadable]:
    try:
        yield source.fetch(table, ids)
        return
    except _ABOUT_THE_SOURCE:
        raise
    except (TransientError, UnexpectedResponse) as failure:
        error = failure
    # Raises where it is not these records' fault; else the breaker, which counts failures in a row, hears of a success.
    source.check()
    if len(ids) == 1:
        yield Unreadable(record_id=ids[0], error=error)
        return
    middle = len(ids) // 2
    yield from _fetch(source, table, ids[:middle])
    yield from _fetch(source, table, ids[middle:])
