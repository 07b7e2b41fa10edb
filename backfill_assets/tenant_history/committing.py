"""Committing what was read of a tenant's table: the rows into the lake, a certificate of it, then the dead letters.

Here belongs in which order that is kept, and what a certificate is given for. What was read, and whether it is whole,
belongs to `reading.py`.

The files are read back before anything else is said of them, under the same lock under which they were written: a
certificate tells of what is stored, not of what should be.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import cache
from importlib.metadata import version

import pyarrow as pa

from backfill_assets.adapters.lake.digests import Holding, count_distinct
from backfill_assets.adapters.lake.raw import OURS, RawLake, RawTable
from backfill_assets.core.certificates import Certificate, CertificateLedger
from backfill_assets.core.dead_letters import DeadLetter, DeadLetterLedger
from backfill_assets.core.keys import encode_key
from backfill_assets.core.source import TableSpec
from backfill_assets.core.windows import Chunk, Clock, Window, midnight, utc_text
from backfill_assets.errors import PermanentError
from backfill_assets.tenant_history.pages import by_day
from backfill_assets.tenant_history.reading import ChunkRead, Refused, is_past, raw_table

DOMAIN = "tenant_history"

Days = Mapping[date, pa.Table]


@dataclass(frozen=True, kw_only=True)
class TableCommits:
    """Keeps what is read of one tenant's table; `job_id` and `run_id` as in `TableBackfill`."""

    tenant: str
    service: str
    table: TableSpec
    lake: RawLake
    dead_letters: DeadLetterLedger
    certificates: CertificateLedger
    job_id: str
    run_id: str
    clock: Clock

    @property
    def raw(self) -> RawTable:
        """Where the rows lie in the lake."""
        return raw_table(self.tenant, self.service, self.table)

    def commit(self, chunk: Chunk, read: ChunkRead, began: datetime) -> Counter[Window]:
        """Keep a chunk that was read whole from `began` on, and certify each of its windows.

        Returns the bytes of the files that it touched, by window. Raises `PermanentError` where the files hold less
        than what was read.
        """
        return self._commit(chunk, read, began, {w: self._certificate(w, read, began) for w in chunk.windows})

    def add(self, chunk: Chunk, read: ChunkRead, began: datetime) -> Counter[Window]:
        """Keep single records; windows that have a certificate get it anew, as to what is stored.

        A window that does not hold what its certificate says keeps the old one: damage is not certified over.
        """
        known = {certificate.window: certificate for certificate in self._known()}
        return self._commit(chunk, read, began, {w: known[w.key] for w in chunk.windows if w.key in known})

    def recount(self, window: Window, *, source_rows: int, rows_rejected: int) -> None:
        """Note what the source holds by now and how many dead letters are left, in the certificate of a window.

        One without a certificate gets none: it was never read whole.
        """
        with self.lake.writing(self.raw):
            known = next((certificate for certificate in self._known() if certificate.window == window.key), None)
            if known is not None:
                self.certificates.put([replace(known, source_rows=source_rows, rows_rejected=rows_rejected)])

    def _known(self) -> Sequence[Certificate]:
        return self.certificates.certificates(tenant=self.tenant, service=self.service, table=self.table.name)

    def _commit(
        self, chunk: Chunk, read: ChunkRead, began: datetime, certificates: Mapping[Window, Certificate]
    ) -> Counter[Window]:
        days, sizes = self._days(chunk, read, began), Counter[Window]()
        # Stock is taken and the certificate stored under one lock: else an older one could replace a newer one.
        with self.lake.writing(self.raw) as merge:
            valid = {w: known for w, known in certificates.items() if not known.content_digest or self._holds(w, known)}
            for day, merged in merge(days).items():
                sizes[chunk.window_of(midnight(day))] += merged.bytes
            held = self._held(chunk)
            self._require_stored(chunk, days, held)
            self.certificates.put([self._anew(known, held[window]) for window, known in valid.items()])
        self._settle_dead_letters(read, days, began)
        return sizes

    def _holds(self, window: Window, certificate: Certificate) -> bool:
        return self.holding(window).content_digest == certificate.content_digest

    def holding(self, window: Window) -> Holding:
        """What all files of a window hold now."""
        return self.lake.holding(self.raw, self.lake.days(self.raw, window.reads_from, window.end))

    def _held(self, chunk: Chunk) -> Mapping[Window, Holding]:
        stored = self.lake.days(self.raw, chunk.start, chunk.end)
        days: dict[Window, list[date]] = {window: [] for window in chunk.windows}
        for day in stored:
            days[chunk.window_of(midnight(day))].append(day)
        return self.lake.holdings(self.raw, days)

    def _days(self, chunk: Chunk, read: ChunkRead, began: datetime) -> Days:
        ours = {
            f"{OURS}job_id": self.job_id,
            f"{OURS}chunk_start": utc_text(chunk.start),
            f"{OURS}chunk_end": utc_text(chunk.end),
            f"{OURS}processed_at": utc_text(began),
        }
        return {day: _with_constants(rows, ours) for day, rows in by_day(read.rows, self.raw.version_column)}

    def _require_stored(self, chunk: Chunk, days: Days, held: Mapping[Window, Holding]) -> None:
        ids: dict[Window, list[pa.ChunkedArray]] = {}
        for day, rows in days.items():
            ids.setdefault(chunk.window_of(midnight(day)), []).append(rows[self.raw.id_column])
        for window, read in ids.items():
            expected = count_distinct(read)
            if held[window].ids < expected:
                raise PermanentError(
                    f"{expected} records of {self.table.name} of {self.service} for {self.tenant} were read in the "
                    f"window {window.key}, but its files in the lake hold only {held[window].ids} right after they "
                    "were written; check the storage of the lake, then rerun this partition"
                )

    def _certificate(self, window: Window, read: ChunkRead, began: datetime) -> Certificate:
        return Certificate(
            tenant=self.tenant,
            service=self.service,
            table=self.table.name,
            window=window.key,
            source_rows=read.held[window],
            rows_rejected=sum(refused.window == window for refused in read.refused),
            stored_rows=0,
            stored_ids=0,
            identity_digest="",
            content_digest="",
            began_at=began,
            taken_at=began,
            is_settled=is_past(window, began),
            code_version=_code_version(),
        )

    def _anew(self, known: Certificate, held: Holding) -> Certificate:
        return replace(
            known,
            stored_rows=held.rows,
            stored_ids=held.ids,
            identity_digest=held.identity_digest,
            content_digest=held.content_digest,
            taken_at=self.clock(),
        )

    def _settle_dead_letters(self, read: ChunkRead, days: Days, now: datetime) -> None:
        """Keep what was refused now, and let go of letters whose record fits by now."""
        tenant, service, table = self.tenant, self.service, self.table.name
        if self.dead_letters.letters(domain=DOMAIN, tenant=tenant, service=service, table=table):
            stored = {identity for rows in days.values() for identity in _identities(rows, self.raw.key)}
            self.dead_letters.resolve(DOMAIN, tenant, service, table, stored)
        if read.refused:
            self.dead_letters.put([self._letter(refused, now) for refused in read.refused])

    def _letter(self, refused: Refused, now: datetime) -> DeadLetter:
        return DeadLetter(
            domain=DOMAIN,
            tenant=self.tenant,
            service=self.service,
            table=self.table.name,
            partition=f"{encode_key(self.tenant)}|{refused.window.key}",
            record_id=refused.record_id,
            version=refused.version,
            reason=refused.reason,
            payload=refused.payload,
            run_id=self.run_id,
            seen_at=now,
        )


@cache
def _code_version() -> str:
    return version("backfill_assets")


def _with_constants(rows: pa.Table, constants: Mapping[str, str]) -> pa.Table:
    for name, value in constants.items():
        rows = rows.append_column(name, pa.repeat(pa.scalar(value), len(rows)))
    return rows


def _identities(rows: pa.Table, key: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Ids and versions as dead letters hold them."""
    ids, versions = (rows[name].to_pylist() for name in key)
    return zip(map(str, ids), map(utc_text, versions), strict=True)
