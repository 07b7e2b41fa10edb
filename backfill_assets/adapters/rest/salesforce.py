"""The Salesforce client: which way a table is read, and when it is at its end.

Here belongs the order of reading. Signing in and the frame of answers belong to `salesforce_session`, error codes and
limits to `salesforce_manners`, the texts of queries to `salesforce_soql`, bulk jobs to `salesforce_bulk`.

A table is read in the order of (SystemModstamp, Id), deleted records included, going on after the greatest pair seen.
An answer that says it is not `done` holds the beginning, and an address for the rest. What comes from there is what
the query found, but a record may have changed since, and then its place in the order has too: such a page is put
aside, and reading goes on by a new query. The end is an answer that is `done` and holds less than the limit.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from urllib.parse import quote_plus

from backfill_assets.adapters.rest.http import REAL_WIRE, Wire
from backfill_assets.adapters.rest.paging import TimeKeyset, Unordered, identities, require_range, rounded_up
from backfill_assets.adapters.rest.salesforce_bulk import RECORDS_AT_ONCE, BulkQueries
from backfill_assets.adapters.rest.salesforce_manners import ExpiredCursor
from backfill_assets.adapters.rest.salesforce_session import Answer, SalesforceSession
from backfill_assets.adapters.rest.salesforce_soql import select_count, select_ids, select_range, select_unordered
from backfill_assets.adapters.rest.salesforce_tables import SALESFORCE
from backfill_assets.adapters.rest.salesforce_values import Columns, as_record
from backfill_assets.core.source import Identity, Record, RecordId, TableSpec
from backfill_assets.errors import ConfigurationError, UnexpectedResponse

LARGEST_PAGE = SALESFORCE.max_page_size
LONGEST_QUERY = 12_000
"""Characters of a query in an address, of which Salesforce takes about 16,000: the widest tables go by bulk job."""


class SalesforceSource:
    """One tenant's Salesforce org; see `RecordSource`.

    `credential` is by field (`SALESFORCE.credential_fields`), `credential_names` are the settings that hold it, for
    messages; without `username` and `password` it signs in with the client's credentials. A `base_url` that is empty
    is the credential's `instance_url`. A range of more than `bulk_above_rows` is read by a bulk job; None: none is.
    """

    def __init__(
        self,
        *,
        tenant: str,
        base_url: str,
        credential: Mapping[str, str],
        credential_names: Sequence[str] = (),
        page_size: int = SALESFORCE.page_size,
        bulk_above_rows: int | None = SALESFORCE.bulk_above_rows,
        bulk_records_at_once: int = RECORDS_AT_ONCE,
        wire: Wire = REAL_WIRE,
    ) -> None:
        if not 1 <= page_size <= LARGEST_PAGE:
            raise ConfigurationError(f"page_size of salesforce must be from 1 to {LARGEST_PAGE}, not {page_size}.")
        self._page_size, self._bulk_above_rows = page_size, bulk_above_rows
        self._bulk_records_at_once, self._sleep = bulk_records_at_once, wire.sleep
        self._session = SalesforceSession(
            tenant=tenant, base_url=base_url, credential=credential, credential_names=credential_names, wire=wire
        )

    def check(self) -> str:
        """See `RecordSource.check`."""
        session = self._session
        if not isinstance(session.http.get(f"{session.address}/"), dict):
            raise UnexpectedResponse(f"{session.name} did not list its resources. Check the base URL.")
        return f"Salesforce v{session.version} at {session.http.host}"

    def records(self, table: TableSpec, start: datetime, end: datetime) -> Iterator[Sequence[Record]]:
        """See `RecordSource.records`; what a bulk job finds comes in no order."""
        require_range(start, end)
        return self._records(table, _ceil(start), _ceil(end))

    def identities(self, table: TableSpec, start: datetime, end: datetime) -> Iterator[Sequence[Identity]]:
        """See `RecordSource.identities`."""
        require_range(start, end)
        columns = {table.id_field: "id", table.version_field: "datetime"}
        return identities(self._pages(table, columns, _ceil(start), _ceil(end)), table)

    def fetch(self, table: TableSpec, ids: Sequence[RecordId]) -> Sequence[Record]:
        """See `RecordSource.fetch`."""
        columns, left, found = self._session.columns(table), sorted(map(str, ids)), list[Record]()
        while left:
            query = select_ids(table, columns, left)
            if _is_too_long(query):
                return [*found, *(record for page in self._bulk().pages(query, columns) for record in page)]
            answer = self._session.query(table, query)
            found += [as_record(record, columns) for record in answer.records]
            # What an answer did not hold is asked for anew: a record that changed meanwhile is to come as it is now.
            last = found[-1][table.id_field] if answer.rest and answer.records else left[-1]
            left = [key for key in left if key > last]
        return found

    def count(self, table: TableSpec, start: datetime, end: datetime) -> int:
        """See `RecordSource.count`."""
        require_range(start, end)
        return self._session.query(table, select_count(table, _ceil(start), _ceil(end))).held

    def close(self) -> None:
        """See `RecordSource.close`."""
        self._session.close()

    def _records(self, table: TableSpec, start: datetime, end: datetime) -> Iterator[Sequence[Record]]:
        if start == end:
            return
        columns, above = self._session.columns(table), self._bulk_above_rows
        query = select_unordered(table, columns, start, end)
        if _is_too_long(query) or (above is not None and self.count(table, start, end) > above):
            seen = Unordered(table=table, start=start, end=end, where=self._session.where(table))
            yield from map(seen.accept, self._bulk().pages(query, columns))
        else:
            yield from self._pages(table, columns, start, end)

    def _pages(self, table: TableSpec, columns: Columns, start: datetime, end: datetime) -> Iterator[Sequence[Record]]:
        where = self._session.where(table)
        keyset = TimeKeyset(table=table, start=start, end=end, where=where)
        is_whole = start == end
        while not is_whole:
            query = select_range(table, columns, start, end, keyset.last)
            answer = self._session.query(table, f"{query} LIMIT {self._page_size}")
            is_whole = not answer.rest and len(answer.records) == answer.held < self._page_size
            if answer.records:
                yield keyset.accept([as_record(record, columns) for record in answer.records])
                yield from self._rest(answer, columns, keyset)
            elif not is_whole:
                raise UnexpectedResponse(f"{where} says that it holds records, but sent none of them.")

    def _rest(self, first: Answer, columns: Columns, keyset: TimeKeyset) -> Iterator[Sequence[Record]]:
        """What the address of the rest yields, for as long as that lives and nothing in it has changed."""
        answer = first
        while answer.rest:
            try:
                answer = self._session.rest_of(answer)
            except ExpiredCursor:
                return
            page = [as_record(record, columns) for record in answer.records]
            accepted = keyset.accept_snapshot(page, taken_at=first.given_at) if page else None
            if accepted is None:
                return
            yield accepted

    def _bulk(self) -> BulkQueries:
        session = self._session
        return BulkQueries(
            http=session.http,
            jobs=f"{session.address}/jobs/query",
            where=session.name,
            redact=session.account.redact,
            sleep=self._sleep,
            records_at_once=self._bulk_records_at_once,
        )


def _is_too_long(query: str) -> bool:
    return len(quote_plus(query)) > LONGEST_QUERY


def _ceil(moment: datetime) -> datetime:
    return rounded_up(moment, timedelta(milliseconds=1))  # versions have no finer parts
