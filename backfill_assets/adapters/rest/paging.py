"""Guards for whoever reads a table page by page in the order of its ids: nothing twice, nothing from outside.

Shared by every client and by the in-memory twin, whether they page by id or by (version, id). Pure: how a page is asked
for belongs to the clients, and what happens to a single bad record to the domains.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from backfill_assets.core.source import Identity, Record, RecordId, TableSpec
from backfill_assets.errors import ConditionIgnored, UnexpectedResponse


def require_range(start: datetime, end: datetime) -> None:
    """Refuse bounds that are naive or the wrong way round with a ValueError."""
    if start.utcoffset() is None or end.utcoffset() is None:
        raise ValueError(f"a range needs aware datetimes, not {start!r} to {end!r}")
    if end < start:
        raise ValueError(f"a range must not end before it starts: {start} to {end}")


def rounded_up(moment: datetime, unit: timedelta) -> datetime:
    """The moment in UTC, rounded up to a whole `unit` of a second or less.

    Versions that have no finer parts are in the same range after both of its bounds were rounded up.
    """
    utc = moment.astimezone(UTC)
    return utc + timedelta(microseconds=-utc.microsecond % (unit // timedelta(microseconds=1)))


def field_at(record: Record, path: str) -> Any:
    """The value at a path such as `_info/lastUpdated`; None where any level of it is missing."""
    value: Any = record
    for name in path.split("/"):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def version_of(record: Record, table: TableSpec) -> datetime | None:
    """When the record was last updated, or None where it does not say so legibly; without a zone it is UTC."""
    text = field_at(record, table.version_field)
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return moment if moment.utcoffset() is not None else moment.replace(tzinfo=UTC)


def identities(pages: Iterable[Sequence[Record]], table: TableSpec) -> Iterator[Sequence[Identity]]:
    """Ids and versions of the records that have both."""
    for page in pages:
        found = ((field_at(record, table.id_field), version_of(record, table)) for record in page)
        yield [(key, version) for key, version in found if key not in (None, "") and version is not None]


class Keyset:
    """Walks one table's `[start, end)` in the order of ids, which are of the type `ids`.

    `last` is the greatest id so far, None at the beginning. Records that lack an id or a legible version pass: the
    caller quarantines them one by one. What fails here would otherwise lose or repeat records silently.
    """

    def __init__(
        self, *, table: TableSpec, start: datetime, end: datetime, where: str, ids: type[RecordId] = int
    ) -> None:
        self.last: Any = None
        self._table, self._start, self._end, self._where, self._ids = table, start, end, where, ids

    def accept(self, page: Sequence[Any]) -> Sequence[Record]:
        """The page, checked, with `last` moved on; raises `UnexpectedResponse`."""
        for record in page:
            self._require_object(record)
            self._require_in_range(record)
        self._advance([key for record in page if (key := self._key(record)) is not None])
        return page

    def _key(self, record: Record) -> Any:
        """What the record is ordered by; None where it does not say."""
        key = field_at(record, self._table.id_field)
        if key in (None, ""):
            return None
        if type(key) is not self._ids:
            kind = "integer" if self._ids is int else "text"
            raise UnexpectedResponse(
                f"{self._where} sent the id {key!r}, which is no {kind}. Check the table's id field."
            )
        return key

    @property
    def _order(self) -> str:
        return self._table.id_field

    def _require_object(self, record: Any) -> None:
        if not isinstance(record, dict):
            raise UnexpectedResponse(f"{self._where} holds {type(record).__name__} values where records should be.")

    def _require_in_range(self, record: Record) -> None:
        version = version_of(record, self._table)
        if version is None or self._start <= version < self._end:
            return
        raise ConditionIgnored(
            f"{self._where} ignored the condition on {self._table.incremental_field}: record "
            f"{field_at(record, self._table.id_field)!r} was updated at {version.isoformat()}, which is not in "
            f"[{self._start.isoformat()}, {self._end.isoformat()}). Check the table's incremental and version fields."
        )

    def _advance(self, keys: Sequence[Any]) -> None:
        if not keys:
            raise UnexpectedResponse(
                f"{self._where} sent a whole page without a usable {self._order}, so there is no going on "
                "from it. Check the table's id field."
            )
        before = keys if self.last is None else [self.last, *keys]
        if any(right <= left for left, right in pairwise(before)):
            raise ConditionIgnored(
                f"{self._where} ignored the order by {self._order} or the condition on it: after "
                f"{self.last} came {keys[:5]}. Reading on could lose or repeat records."
            )
        self.last = keys[-1]


class TimeKeyset(Keyset):
    """Walks in the order of (version, id): `last` is the greatest such pair so far, ids being texts."""

    def __init__(self, *, table: TableSpec, start: datetime, end: datetime, where: str) -> None:
        super().__init__(table=table, start=start, end=end, where=where, ids=str)

    def _key(self, record: Record) -> Any:
        key, version = super()._key(record), version_of(record, self._table)
        return None if key is None or version is None else (version, key)

    def accept_snapshot(self, page: Sequence[Any], *, taken_at: datetime) -> Sequence[Record] | None:
        """A later page of an answer that was given at `taken_at`; None where one of its records changed since.

        Such a record stands where it was and not where it is, so that nothing can be said of what lies between.
        """
        versions = [version_of(record, self._table) for record in page if isinstance(record, dict)]
        if any(version is not None and version >= taken_at for version in versions):
            return None
        try:
            return self.accept(page)
        except UnexpectedResponse:
            return None

    @property
    def _order(self) -> str:
        return f"{self._table.incremental_field} and {self._table.id_field}"


class Unordered(Keyset):
    """Checks pages that come in no order: nothing twice, nothing from outside; ids are texts."""

    def __init__(self, *, table: TableSpec, start: datetime, end: datetime, where: str) -> None:
        super().__init__(table=table, start=start, end=end, where=where, ids=str)
        self._seen: set[Any] = set()

    def _advance(self, keys: Sequence[Any]) -> None:
        for key in keys:
            if key in self._seen:
                raise UnexpectedResponse(f"{self._where} sent the record {key!r} twice.")
            self._seen.add(key)
