"""The use case: fill the lake with the windows of one tenant's table, chunk by chunk.

Here belongs what is done, in which order, and what is said of each window afterwards. It knows neither Dagster nor
HTTP: what is outside comes in through the interfaces.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from hashlib import sha256
from time import perf_counter
from typing import Any

import pyarrow as pa

from backfill_assets.adapters.lake.raw import RawLake, RawTable
from backfill_assets.core.dead_letters import DeadLetter, DeadLetterLedger
from backfill_assets.core.keys import encode_key
from backfill_assets.core.source import Record, RecordSource, TableSpec
from backfill_assets.core.windows import Chunk, Clock, Window, utc_text
from backfill_assets.errors import (
    BackfillError,
    CredentialRefused,
    IncompleteRead,
    NoSuchTable,
    PermanentError,
    RateLimited,
    RejectedRecord,
    SourceUnreachable,
    TransientError,
    UnexpectedResponse,
)
from backfill_assets.tenant_history.rows import SEPARATOR, Row, RowFitter, as_json

DOMAIN = "tenant_history"
READS_OF_A_SHORT_WINDOW = 3
SETTLING = timedelta(minutes=5)
"""How long after its end a window may still gain records: clocks differ, and a service may commit late."""

HOPELESS = (CredentialRefused, NoSuchTable, RateLimited, SourceUnreachable)
"""What every other request of the table would meet as well."""


@dataclass(frozen=True, kw_only=True)
class WindowDone:
    """A window whose records are in the lake.

    `rows` were read and stored now, `rows_rejected` went to the dead letters, `source_rows` is what the source says
    it holds; `complete` means that all of these are in the lake and that no more can come.
    """

    window: Window
    rows: int
    rows_rejected: int
    bytes: int
    seconds: float
    source_rows: int
    complete: bool
    chunk_days: int


@dataclass(frozen=True, kw_only=True)
class WindowFailed:
    """A window that could not be finished, and why."""

    window: Window
    reason: str


Outcome = WindowDone | WindowFailed


@dataclass(kw_only=True)
class _Read:
    """What was read of a chunk so far."""

    days: dict[date, list[Row]] = field(default_factory=lambda: defaultdict(list))
    rejected: list[tuple[Window, Record, str]] = field(default_factory=list)
    fetched: Counter[Window] = field(default_factory=Counter)

    def count_anew(self, windows: Sequence[Window]) -> None:
        """Begin to count these windows anew, which are read again.

        Their rows stay: a record that has changed since the first reading is in hand at its earlier version only.
        """
        for window in windows:
            self.fetched.pop(window, None)
        self.rejected = [entry for entry in self.rejected if entry[0] not in windows]


@dataclass(frozen=True, kw_only=True)
class TableBackfill:
    """Fills one tenant's table; `job_id` names the backfill in the rows, `run_id` the run in the dead letters."""

    tenant: str
    service: str
    table: TableSpec
    source: RecordSource
    lake: RawLake
    dead_letters: DeadLetterLedger
    job_id: str
    run_id: str
    clock: Clock

    def fill(self, chunks: Sequence[Chunk]) -> Iterator[Outcome]:
        """Read and commit each chunk, and tell of its windows as soon as it is committed.

        A chunk that fails is cut in halves down to single windows, so that one bad window costs no other. What
        would meet every other chunk as well ends it at once: what is left is told as failed, for the same reason.
        """
        waiting = list(reversed(chunks))
        while waiting:
            chunk = waiting.pop()
            try:
                yield from self._fill_chunk(chunk)
            except HOPELESS as error:
                yield from _all_failed((chunk, *reversed(waiting)), error)
                return
            except (TransientError, PermanentError) as error:
                if isinstance(error, TransientError) and not self._source_works():
                    yield from _all_failed((chunk, *reversed(waiting)), error)
                    return
                if len(chunk.windows) == 1:
                    yield from _all_failed((chunk,), error)
                else:
                    waiting.extend(reversed(chunk.halves()))

    def _source_works(self) -> bool:
        """Whether the source is well but for what failed: if not, the windows that are left need not be tried."""
        try:
            self.source.check()
        except BackfillError:
            return False
        return True

    def _fill_chunk(self, chunk: Chunk) -> list[WindowDone]:
        began, now = perf_counter(), self.clock()
        read = _Read()
        self._read(chunk, read)
        held = self._count_until_whole(chunk, read, now)
        sizes = self._commit(chunk, read, now)
        seconds = (perf_counter() - began) / len(chunk.windows)
        bad = Counter(window for window, _, _ in read.rejected)
        return [
            WindowDone(
                window=window,
                rows=read.fetched[window] - bad[window],
                rows_rejected=bad[window],
                bytes=sizes[window],
                seconds=seconds,
                source_rows=held[window],
                complete=_is_past(window, now) and not bad[window],
                chunk_days=chunk.days,
            )
            for window in chunk.windows
        ]

    def _read(self, chunk: Chunk, read: _Read) -> None:
        fitter = RowFitter(self.table)
        for page in self.source.records(self.table, chunk.start, chunk.end):
            for record in page:
                try:
                    row = fitter.fit(record)
                except RejectedRecord as error:
                    window = self._window_of(chunk, fitter.identity(record)[1])
                    read.rejected.append((window, record, str(error)))
                else:
                    window = self._window_of_row(chunk, row)
                    read.days[row.version.date()].append(row)
                read.fetched[window] += 1

    def _window_of_row(self, chunk: Chunk, row: Row) -> Window:
        try:
            return chunk.window_of(row.version)
        except LookupError:
            raise UnexpectedResponse(
                f"{self.service} returned record {row.record_id} of {self.table.name} for {self.tenant} with the time "
                f"{utc_text(row.version)}, outside of the range {utc_text(chunk.start)} to "
                f"{utc_text(chunk.end)} that was asked for; check the table's incremental_field"
            ) from None

    def _window_of(self, chunk: Chunk, version: str) -> Window:
        # A record without a usable time came from somewhere in the chunk; its first window answers for it.
        try:
            return chunk.window_of(datetime.fromisoformat(version))
        except (ValueError, TypeError, LookupError):
            return chunk.windows[0]

    def _count_until_whole(self, chunk: Chunk, read: _Read, now: datetime) -> Counter[Window]:
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
                self._read(Chunk(windows=(window,)), read)
        held = self._counts(chunk)
        # The window that holds now may go on growing while it is read; a past one may not be short.
        for window in (w for w in chunk.windows if read.fetched[w] < held[w] and _is_past(w, now)):
            raise IncompleteRead(
                f"{self.service} holds {held[window]} records of {self.table.name} for {self.tenant} in the window "
                f"{window.key}, but let only {read.fetched[window]} be read, {READS_OF_A_SHORT_WINDOW} times in a row; "
                "check that the account may see every record of that table, then rerun this partition"
            )
        return held

    def _counts(self, chunk: Chunk) -> Counter[Window]:
        return Counter({w: self.source.count(self.table, w.reads_from, w.end) for w in chunk.windows})

    def _commit(self, chunk: Chunk, read: _Read, now: datetime) -> Counter[Window]:
        """Merge every day into its file, then settle the dead letters; return the bytes of each window's files."""
        ours = {
            "_backfill_job_id": self.job_id,
            "_backfill_chunk_start": utc_text(chunk.start),
            "_backfill_chunk_end": utc_text(chunk.end),
            "_backfill_processed_at": utc_text(now),
        }
        sizes: Counter[Window] = Counter()
        days = {day: self._arrow([{**row.columns, **ours} for row in rows]) for day, rows in read.days.items()}
        for day, merged in self.lake.merge(self._raw_table, days).items():
            sizes[chunk.window_of(read.days[day][0].version)] += merged.bytes
        self._settle_dead_letters(read, now)
        return sizes

    def _arrow(self, rows: list[dict[str, Any]]) -> pa.Table:
        names = {name for row in rows for name in row}
        return pa.Table.from_pylist(rows, schema=self._raw_table.schema(names))

    def _settle_dead_letters(self, read: _Read, now: datetime) -> None:
        """Keep what was rejected now, and let go of letters whose record fits by now."""
        target = (DOMAIN, self.tenant, self.service, self.table.name)
        stored = {(str(row.record_id), utc_text(row.version)) for rows in read.days.values() for row in rows}
        self.dead_letters.resolve(*target, stored)
        if read.rejected:
            self.dead_letters.put([self._letter(*rejected, now) for rejected in read.rejected])

    def _letter(self, window: Window, record: Record, reason: str, now: datetime) -> DeadLetter:
        record_id, version = RowFitter(self.table).identity(record)
        payload = as_json(record)
        return DeadLetter(
            domain=DOMAIN,
            tenant=self.tenant,
            service=self.service,
            table=self.table.name,
            partition=f"{encode_key(self.tenant)}|{window.key}",
            # Two records without an id are two letters, as long as they differ.
            record_id=record_id or f"sha256:{sha256(payload.encode(errors='surrogatepass')).hexdigest()}",
            version=version,
            reason=reason,
            payload=payload,
            run_id=self.run_id,
            seen_at=now,
        )

    @property
    def _raw_table(self) -> RawTable:
        return raw_table(self.tenant, self.service, self.table)


def _is_past(window: Window, now: datetime) -> bool:
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


def _all_failed(chunks: Iterable[Chunk], error: BackfillError) -> Iterator[WindowFailed]:
    for chunk in chunks:
        for window in chunk.windows:
            yield WindowFailed(window=window, reason=str(error))
