"""The in-memory twin of every client: serves records from lists, and fails where it is told to.

For tests and dry runs. It speaks `RecordSource` with the guards and the paging of the real ones; it holds no network.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from backfill_assets.adapters.rest.paging import Keyset, field_at, identities, require_range, version_of
from backfill_assets.core.source import Identity, Record, RecordId, TableSpec
from backfill_assets.errors import NoSuchTable


@dataclass(frozen=True, kw_only=True)
class MemoryRequest:
    """One request that the twin was sent: `kind` is the method's name, `after` the id that a page follows."""

    kind: str
    table: str
    start: datetime
    end: datetime
    after: int | None = None


@dataclass(frozen=True, kw_only=True)
class _Fault:
    table: str
    start: datetime
    end: datetime
    error: Exception

    def hits(self, request: MemoryRequest) -> bool:
        return self.table == request.table and self.start < request.end and request.start < self.end


class MemorySource:
    """An account whose tables are lists; change `tables` at any time, also between two pages.

    A record without a legible version belongs to every range, for nothing says that it does not; one without an id
    is on the first page. `requests` and `fetched` are the log of what was asked.
    """

    def __init__(self, tables: Mapping[str, Sequence[Record]], *, page_size: int = 1000) -> None:
        self.tables = tables
        self.requests: list[MemoryRequest] = []
        self.fetched: list[tuple[RecordId, ...]] = []
        self.closed = False
        self._page_size = page_size
        self._faults: list[_Fault] = []
        self._poisoned: dict[tuple[str, RecordId], Exception] = {}

    def fail(self, table: str, start: datetime, end: datetime, error: Exception) -> None:
        """Poison `[start, end)` of a table: every request that overlaps it raises `error`."""
        self._faults.append(_Fault(table=table, start=start, end=end, error=error))

    def poison(self, table: str, record_id: RecordId, error: Exception) -> None:
        """Every answer that would hold this record raises `error` instead; ids, versions and counts can be had."""
        self._poisoned[table, record_id] = error

    def heal(self) -> None:
        """Take all poison away."""
        self._faults.clear()
        self._poisoned.clear()

    def check(self) -> str:
        """See `RecordSource.check`."""
        return f"the in-memory source with {len(self.tables)} tables"

    def records(self, table: TableSpec, start: datetime, end: datetime) -> Iterator[Sequence[Record]]:
        """See `RecordSource.records`."""
        require_range(start, end)
        return self._pages(table, start, end)

    def count(self, table: TableSpec, start: datetime, end: datetime) -> int:
        """See `RecordSource.count`."""
        require_range(start, end)
        return len(self._serve(table, MemoryRequest(kind="count", table=table.name, start=start, end=end)))

    def identities(self, table: TableSpec, start: datetime, end: datetime) -> Iterator[Sequence[Identity]]:
        """See `RecordSource.identities`."""
        require_range(start, end)
        return identities(self._pages(table, start, end, kind="identities"), table)

    def fetch(self, table: TableSpec, ids: Sequence[RecordId]) -> Sequence[Record]:
        """See `RecordSource.fetch`."""
        self.fetched.append(tuple(ids))
        wanted = set(ids)
        found = [record for record in self.tables[table.name] if field_at(record, table.id_field) in wanted]
        return self._unspoilt(table, found)

    def close(self) -> None:
        """See `RecordSource.close`."""
        self.closed = True

    def _pages(
        self, table: TableSpec, start: datetime, end: datetime, *, kind: str = "records"
    ) -> Iterator[Sequence[Record]]:
        keyset = Keyset(table=table, start=start, end=end, where=f"the in-memory table {table.name}")
        while page := self._page(table, start, end, keyset.last, kind):
            yield keyset.accept(page)

    def _page(self, table: TableSpec, start: datetime, end: datetime, after: int | None, kind: str) -> Sequence[Record]:
        if start == end:
            return []
        request = MemoryRequest(kind=kind, table=table.name, start=start, end=end, after=after)
        page = sorted(self._serve(table, request), key=_by_id(table))[: self._page_size]
        return self._unspoilt(table, page) if kind == "records" else page

    def _unspoilt(self, table: TableSpec, page: Sequence[Record]) -> Sequence[Record]:
        for record in page:
            if error := self._poisoned.get((table.name, field_at(record, table.id_field))):
                raise error
        return page

    def _serve(self, table: TableSpec, request: MemoryRequest) -> list[Record]:
        self.requests.append(request)
        for fault in self._faults:
            if fault.hits(request):
                raise fault.error
        if table.name not in self.tables:
            raise NoSuchTable(f"The in-memory source has no table {table.name}.")
        return [record for record in self.tables[table.name] if _matches(record, table, request)]


def _by_id(table: TableSpec) -> Callable[[Record], int]:
    def key(record: Record) -> int:
        found = field_at(record, table.id_field)
        return found if isinstance(found, int) else -1

    return key


def _matches(record: Record, table: TableSpec, request: MemoryRequest) -> bool:
    version, key = version_of(record, table), field_at(record, table.id_field)
    if version is not None and not request.start <= version < request.end:
        return False
    return request.after is None or (isinstance(key, int) and key > request.after)
