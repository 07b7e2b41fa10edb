"""Reading around the records that a source cannot send: whatever asks for one of them fails, whatever does not is well.

Here belongs finding them: the ids and versions of a range, then the records by id, in halves where an answer fails,
down to the single record. What becomes of it belongs to `reading.py`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from backfill_assets.core.source import FETCHED_AT_ONCE, Identity, Record, RecordSource, TableSpec
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

    identity: Identity
    reason: str


def read_around(
    source: RecordSource, table: TableSpec, start: datetime, end: datetime
) -> Iterator[Sequence[Record] | Unreadable]:
    """The records of `[start, end)` in parts, and in between those that the source cannot send.

    A record may be newer than its range, when it was changed meanwhile. Raises the source's error where it says more
    about the source than about a few records.
    """
    found = [identity for page in source.identities(table, start, end) for identity in page]
    unreadable = 0
    for first in range(0, len(found), FETCHED_AT_ONCE):
        for part in _fetch(source, table, found[first : first + FETCHED_AT_ONCE]):
            if isinstance(part, _Failed):
                unreadable += 1
                if unreadable > MOST_UNREADABLE:
                    raise part.error
                yield Unreadable(identity=part.identity, reason=str(part.error))
            else:
                yield part


@dataclass(frozen=True, kw_only=True)
class _Failed:
    identity: Identity
    error: BackfillError


def _fetch(source: RecordSource, table: TableSpec, wanted: Sequence[Identity]) -> Iterator[Sequence[Record] | _Failed]:
    try:
        yield source.fetch(table, [record_id for record_id, _ in wanted])
        return
    except _ABOUT_THE_SOURCE:
        raise
    except (TransientError, UnexpectedResponse) as failure:
        error = failure
    # Raises where it is not these records' fault; else the breaker, which counts failures in a row, hears of a success.
    source.check()
    if len(wanted) == 1:
        yield _Failed(identity=wanted[0], error=error)
        return
    middle = len(wanted) // 2
    yield from _fetch(source, table, wanted[:middle])
    yield from _fetch(source, table, wanted[middle:])
