"""Reading the windows of one chunk whole: every record as a row or as a refusal, and counted against the source.

Here belongs what is asked of the source, and when a window counts as whole. What is done with the rows, and with a
chunk that cannot be read, belongs to `backfill.py`.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256

import pyarrow as pa
import pyarrow.compute as pc

from backfill_assets.adapters.lake.raw import RawTable
from backfill_assets.core.source import Identity, Record, RecordSource, TableSpec
from backfill_assets.core.windows import Chunk, Window, midnight, utc_text
from backfill_assets.errors import BackfillError, ConditionIgnored, IncompleteRead
from backfill_assets.tenant_history.isolation import read_around
from backfill_assets.tenant_history.pages import PageFitter, joined, rows_by_day
from backfill_assets.tenant_history.rows import SEPARATOR, RowFitter, as_json

READS_OF_A_SHORT_WINDOW = 3
SETTLING = timedelta(minutes=5)
"""How long after its end a window may still gain records: clocks differ, and a service may commit late."""


class TooLarge(Exception):
    """The chunk holds more rows than it should, and can be cut."""


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A record that became no row: what is known of it, and why; `payload` is JSON."""

    window: Window
    record_id: str
    version: str
    reason: str
    payload: str


@dataclass(kw_only=True)
class ChunkRead:
    """What was read of a chunk; `held` is what the source says it holds in each window."""

    pages: list[pa.Table] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    fetched: Counter[Window] = field(default_factory=Counter)
    held: Counter[Window] = field(default_factory=Counter)

    @property
    def rows(self) -> pa.Table:
        """All rows; a version that was read twice is there twice."""
        return joined(self.pages) if self.pages else pa.table({})

    def count_anew(self, windows: Sequence[Window]) -> None:
        """Begin to count these windows anew, which are read again.

        Their rows stay: a record that has changed since the first reading is in hand at its earlier version only.
        """
        for window in windows:
            self.fetched.pop(window, None)
        self.refused = [refused for refused in self.refused if refused.window not in windows]


@dataclass(frozen=True, kw_only=True)
class TableReader:
    """Reads one tenant's table; a chunk of several windows with more than `most_rows` is given up as `TooLarge`."""

    tenant: str
    service: str
    table: TableSpec
    source: RecordSource
    most_rows: int

    def read(self, chunk: Chunk, now: datetime, *, around: bool = False) -> ChunkRead:
        """Read a chunk until it is whole; `around` the records that the source cannot send.

        Raises `IncompleteRead` for a past window that the source says holds more, however often it is read.
        """
        read = ChunkRead()
        self._read(chunk, read, around)
        read.held = self._count_until_whole(chunk, read, now, around)
        return read

    def fit(self, records: Sequence[Record], chunk: Chunk, read: ChunkRead, fitter: PageFitter | None = None) -> None:
        """Make rows of records, and refusals of those that fit none."""
        page = (fitter or self._fitter()).fit(records)
        for day, rows in rows_by_day(page.rows, self._raw.version_column).items():
            try:
                read.fetched[chunk.window_of(midnight(day))] += rows
            except LookupError:
                raise self._out_of_range(page.rows, chunk) from None
        for record, reason in page.rejected:
            refused = self._refused(chunk, record, reason)
            read.fetched[refused.window] += 1
            read.refused.append(refused)
        if len(page.rows):
            read.pages.append(page.rows)

    def _read(self, chunk: Chunk, read: ChunkRead, around: bool) -> None:
        fitter = self._fitter()
        for part in self._parts(chunk, around):
            if isinstance(part, tuple):
                read.refused.append(self._unreadable(chunk, *part))
                read.fetched[read.refused[-1].window] += 1
            else:
                self.fit(part, chunk, read, fitter)
            if read.fetched.total() > self.most_rows and len(chunk.windows) > 1:
                raise TooLarge

    def _parts(self, chunk: Chunk, around: bool) -> Iterator[list[Record] | tuple[Identity, BackfillError]]:
        if not around:
            yield from map(list, self.source.records(self.table, chunk.start, chunk.end))
            return
        for part in read_around(self.source, self.table, chunk.start, chunk.end):
            # One that was changed meanwhile is read in its new window.
            yield part if isinstance(part, tuple) else [r for r in part if self._is_within(chunk, r)]

    def _is_within(self, chunk: Chunk, record: Record) -> bool:
        version = RowFitter(self.table).identity(record)[1]
        try:
            return chunk.start <= datetime.fromisoformat(version) < chunk.end
        except (ValueError, TypeError):
            return True

    def _fitter(self) -> PageFitter:
        return PageFitter(RowFitter(self.table), self._raw)

    @property
    def _raw(self) -> RawTable:
        return raw_table(self.tenant, self.service, self.table)

    def _out_of_range(self, rows: pa.Table, chunk: Chunk) -> ConditionIgnored:
        versions = rows[self._raw.version_column]
        outside = pc.or_(pc.less(versions, pa.scalar(chunk.start)), pc.greater_equal(versions, pa.scalar(chunk.end)))
        [row, *_] = rows.filter(outside).select([self._raw.id_column, self._raw.version_column]).to_pylist()
        record_id, version = row.values()
        return ConditionIgnored(
            f"{self.service} returned record {record_id} of {self.table.name} for {self.tenant} with the time "
            f"{utc_text(version)}, outside of the range {utc_text(chunk.start)} to "
            f"{utc_text(chunk.end)} that was asked for; check the table's incremental_field"
        )

    def _refused(self, chunk: Chunk, record: Record, reason: str) -> Refused:
        record_id, version = RowFitter(self.table).identity(record)
        payload = as_json(record)
        return Refused(
            window=_window_of(chunk, version),
            # Two records without an id are two letters, as long as they differ.
            record_id=record_id or f"sha256:{sha256(payload.encode(errors='surrogatepass')).hexdigest()}",
            version=version,
            reason=reason,
            payload=payload,
        )

    def _unreadable(self, chunk: Chunk, identity: Identity, error: BackfillError) -> Refused:
        record_id, version = identity
        return Refused(
            window=chunk.window_of(version),
            record_id=str(record_id),
            version=utc_text(version),
            reason=unreadable_reason(error),
            payload=as_json({self.table.id_field: record_id, self.table.version_field: utc_text(version)}),
        )

    def _count_until_whole(self, chunk: Chunk, read: ChunkRead, now: datetime, around: bool) -> Counter[Window]:
        """What the source says it holds in each window, after reading again the windows that came out short.

        What was read are records of the source, each once. So when their number is the source's own count of the
        chunk it is so for every window, and one request does for all of them.
        """
        if self.source.count(self.table, chunk.start, chunk.end) == read.fetched.total():
            return read.fetched
        for _ in range(READS_OF_A_SHORT_WINDOW - 1):
            held = self._counts(chunk)
            short = [w for w in chunk.windows if read.fetched[w] < held[w]]
            if not short:
                return held
            read.count_anew(short)
            for window in short:
                self._read(Chunk(windows=(window,)), read, around)
        held = self._counts(chunk)
        # The window that holds now may go on growing while it is read; a past one may not be short.
        for window in (w for w in chunk.windows if read.fetched[w] < held[w] and is_past(w, now)):
            raise IncompleteRead(
                f"{self.service} holds {held[window]} records of {self.table.name} for {self.tenant} in the window "
                f"{window.key}, but let only {read.fetched[window]} be read, {READS_OF_A_SHORT_WINDOW} times in a row; "
                "check that the account may see every record of that table, then rerun this partition"
            )
        return held

    def _counts(self, chunk: Chunk) -> Counter[Window]:
        return Counter({w: self.source.count(self.table, w.reads_from, w.end) for w in chunk.windows})


def unreadable_reason(error: BackfillError) -> str:
    """Why a record that could not be sent is in the dead letters."""
    return f"the source holds it and cannot send it: {error}"


def _window_of(chunk: Chunk, version: str) -> Window:
    # A record without a usable time came from somewhere in the chunk; its first window answers for it.
    try:
        return chunk.window_of(datetime.fromisoformat(version))
    except (ValueError, TypeError, LookupError):
        return chunk.windows[0]


def is_past(window: Window, now: datetime) -> bool:
    """Whether no record can be added to this window any more."""
    return window.end + SETTLING <= now


def raw_table(tenant: str, service: str, table: TableSpec) -> RawTable:
    """Where the rows of a tenant's table lie in the lake."""
    return RawTable(
        tenant=tenant,
        service=service,
        table=table.slug,
        id_column=table.id_field.replace("/", SEPARATOR),
        version_column=table.version_field.replace("/", SEPARATOR),
        types=RowFitter(table).types,
    )
