"""What of a tenant's table is in the lake, told from its certificates: pure, and the same for everyone who asks.

Here belongs which windows are missing, until when there is no gap, and from when on a table has to be read again. Where
certificates come from belongs to `backfill.py`, what follows from a missing window to who asks.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from backfill_assets.core.certificates import Certificate
from backfill_assets.core.handoff import Handoff, watermark
from backfill_assets.core.source import ServiceSpec
from backfill_assets.core.windows import Calendar, Window, midnight
from backfill_assets.tenant_history.reading import SETTLING

SHOWN_WINDOWS = 3
A_MOMENT = timedelta(microseconds=1)


def expected_windows(handoff: Handoff, calendar: Calendar, certified: Collection[str] = ()) -> list[Window]:
    """Every window from the beginning of the history to the newest that was read, oldest first.

    `certified` are keys of windows. One that is newer than the newest reading without a gap tells that those between
    were asked for too.
    """
    until = max(handoff.first_request_at or handoff.history_from, handoff.history_from)
    newest = max(certified, default="")
    if newest > until.date().isoformat():
        until = midnight(date.fromisoformat(newest))
    return calendar.windows(handoff.history_from, until + A_MOMENT)


def missing_windows(handoff: Handoff, calendar: Calendar, certified: Collection[str]) -> list[Window]:
    """The expected windows that were never read whole, oldest first; `certified` are keys of windows."""
    return [window for window in expected_windows(handoff, calendar, certified) if window.key not in certified]


def gap_free_until(handoff: Handoff, calendar: Calendar, certificates: Iterable[Certificate]) -> datetime:
    """The end of the newest completed window that has no gap before it, or the start of the history."""
    completed = {c.window for c in certificates if c.is_settled and not c.is_short}
    until = handoff.history_from
    for window in expected_windows(handoff, calendar):
        if window.key not in completed:
            break
        until = window.end
    return until


def watermark_of(
    handoff: Handoff, spec: ServiceSpec, calendar: Calendar, certs: Iterable[Certificate]
) -> datetime | None:
    """Before which every version that the source ever showed us is in the lake; None where nothing was read."""
    return watermark(handoff, gap_free_until(handoff, calendar, certs), overlap_of(spec))


def overlap_of(spec: ServiceSpec) -> timedelta:
    """By how much a reading goes back behind the first request of the one before.

    At least until a window counts as settled: else its last reading might begin before that.
    """
    return max(timedelta(minutes=spec.overlap_minutes), SETTLING)


def reads_again_from(handoff: Handoff, spec: ServiceSpec) -> datetime | None:
    """From when on the table has to be read again; None where it has not been read yet."""
    return None if handoff.first_request_at is None else handoff.first_request_at - overlap_of(spec)


def covered_from(done: Iterable[Window], began: datetime) -> datetime | None:
    """Where the windows begin that lie without a gap before `began`, the one that holds it included.

    None where that one was not read: nothing is known of the newest records then.
    """
    edge: datetime | None = None
    for window in sorted(done, reverse=True):
        if (edge is None and window.start <= began < window.end) or window.end == edge:
            edge = window.reads_from
        elif edge is not None:
            break
    return edge


@dataclass(frozen=True, kw_only=True)
class Shortfall:
    """What one tenant's table lacks: windows never read whole, rows missing in others, and rows that were rejected."""

    windows: int
    rows: int
    rejected: int
    sentence: str


def shortfalls(
    handoffs: Iterable[Handoff],
    calendar: Calendar,
    certified: Iterable[tuple[str, str]],
    incomplete: Iterable[Certificate],
) -> list[Shortfall]:
    """One for each tenant of a table that lacks something; `certified` are (tenant, window)."""
    known: dict[str, set[str]] = {}
    for tenant, window in certified:
        known.setdefault(tenant, set()).add(window)
    wanting: dict[str, list[Certificate]] = {}
    for certificate in incomplete:
        wanting.setdefault(certificate.tenant, []).append(certificate)
    found = (
        _shortfall(h.tenant, missing_windows(h, calendar, known.get(h.tenant, ())), wanting.get(h.tenant, ()))
        for h in handoffs
    )
    return [shortfall for shortfall in found if shortfall is not None]


def _shortfall(tenant: str, missing: Sequence[Window], wanting: Sequence[Certificate]) -> Shortfall | None:
    short = [c for c in wanting if c.is_short]
    rows = sum(c.source_rows - c.stored_ids - c.rows_rejected for c in short)
    rejected = sum(c.rows_rejected for c in wanting)
    parts = [
        f"has not been read in {told(missing)}" if missing else "",
        f"lacks {rows} rows in {_few([c.window for c in short])}" if short else "",
        f"has {rejected} rows among the dead letters" if rejected else "",
    ]
    if not any(parts):
        return None
    sentence = f"{tenant} {', '.join(filter(None, parts))}"
    return Shortfall(windows=len(missing), rows=rows, rejected=rejected, sentence=sentence)


def told(windows: Sequence[Window]) -> str:
    """Windows in words: the first few by their keys, the others by their number."""
    return _few([window.key for window in windows])


def _few(keys: Sequence[str]) -> str:
    shown = ", ".join(keys[:SHOWN_WINDOWS])
    more = len(keys) - SHOWN_WINDOWS
    return f"{shown} and {more} more" if more > 0 else shown
