"""Reading the lake back, to see whether it still holds what its certificates say.

Here belongs how a window that has changed is found, and which of its files differ from the source by now. What is done
after it belongs to `reconcile.py`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import pyarrow as pa

from backfill_assets.core.certificates import Certificate
from backfill_assets.core.windows import Calendar, Chunk, Window
from backfill_assets.errors import PermanentError
from backfill_assets.tenant_history.backfill import TableBackfill, WindowFailed
from backfill_assets.tenant_history.pages import by_day
from backfill_assets.tenant_history.single_records import ONE_WINDOW


@dataclass(frozen=True, kw_only=True)
class Changed:
    """A window whose files do not hold what its certificate says.

    `has_other_ids` says that versions came or went, and not only values of theirs. `files` differ from the source;
    `missing` are ids that the source holds in this window and they do not. `unverified` are ids in them at a version
    that the source does not show any more: these cannot be compared.
    """

    window: Window
    certificate: Certificate
    has_other_ids: bool = False
    reason: str = ""
    files: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unverified: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Rehash:
    """Takes stock of one tenant's table again, window by window."""

    backfill: TableBackfill
    calendar: Calendar

    def certified(self, start: datetime, end: datetime) -> dict[Window, Certificate]:
        """The certificates of the windows that overlap `[start, end)`, of those that windows are still cut to."""
        found = {}
        for certificate in self.certificates():
            try:
                window = self.calendar.window_from_key(certificate.window)
            except ValueError:
                continue
            if window.reads_from < end and start < window.end:
                found[window] = certificate
        return found

    def certificates(self) -> Sequence[Certificate]:
        """All certificates of the table."""
        backfill = self.backfill
        return backfill.certificates.certificates(
            tenant=backfill.tenant, service=backfill.service, table=backfill.table.name
        )

    def changed(self, start: datetime, end: datetime) -> Iterator[Changed]:
        """The windows whose files have changed since they were certified; nothing is asked of the source."""
        for window, certificate in self.certified(start, end).items():
            # Others go on writing: only under their lock do a certificate and its files belong together.
            if self._difference(window, certificate) and (changed := self._looked_at_again(window)):
                yield changed

    def _looked_at_again(self, window: Window) -> Changed | None:
        with self.backfill.lake.writing(self.backfill.raw):
            return self._difference(window, self.certified_now(window))

    def _difference(self, window: Window, certificate: Certificate) -> Changed | None:
        try:
            held = self.backfill.commits.holding(window)
        except PermanentError as error:
            return Changed(window=window, certificate=certificate, reason=str(error))
        if held.content_digest == certificate.content_digest and held.identity_digest == certificate.identity_digest:
            return None
        has_other_ids = held.identity_digest != certificate.identity_digest
        return Changed(window=window, certificate=certificate, has_other_ids=has_other_ids)

    def located(self, changed: Changed) -> Changed:
        """The same window, compared with the source: which files differ, what is missing, what cannot be compared."""
        backfill, raw = self.backfill, self.backfill.raw
        read = backfill.reader(ONE_WINDOW).read(Chunk(windows=(changed.window,)), backfill.clock())
        days = dict(by_day(read.rows, raw.version_column))
        try:
            differing = backfill.lake.differing(raw, days)
            stored = self._keys(changed.window)
        except PermanentError as error:
            return replace(changed, reason=str(error))
        shown = {key for rows in days.values() for key in _keys(rows, raw.key)}
        return replace(
            changed,
            files=tuple(backfill.lake.place(raw, day) for day in differing),
            missing=tuple(sorted({record_id for record_id, _ in shown - stored})),
            unverified=tuple(sorted({record_id for record_id, _ in stored - shown})),
        )

    def _keys(self, window: Window) -> set[tuple[str, datetime]]:
        lake, raw = self.backfill.lake, self.backfill.raw
        days = lake.days(raw, window.reads_from, window.end)
        return {key for rows in lake.rows(raw, days) for key in _keys(rows, raw.key)}

    def refill(self, changed: Changed) -> None:
        """Read the whole window again; values that differ are replaced, and the window is certified anew.

        Where the window then holds neither what the old certificate says, nor only what the source shows, the old one
        stays in force: what cannot be verified is not to be certified.
        """
        windows = (changed.window,)
        if any(isinstance(outcome, WindowFailed) for outcome in self.backfill.fill(windows, ONE_WINDOW)):
            return
        old = changed.certificate
        if changed.unverified and self.certified_now(changed.window).content_digest != old.content_digest:
            self.backfill.certificates.put([old])

    def certified_now(self, window: Window) -> Certificate:
        """The window's newest certificate."""
        return next(c for c in self.certificates() if c.window == window.key)


def _keys(rows: pa.Table, key: Sequence[str]) -> Iterator[tuple[str, datetime]]:
    ids, versions = (rows[name].to_pylist() for name in key)
    return zip(map(str, ids), versions, strict=True)
