"""What a table really holds, for checking what was read from it.

Computed by going through every rank of every day: nothing of the paging, the conditions or the caches is used, so
that a mistake there cannot hide here.
"""

import json
from collections.abc import Iterable, Iterator
from hashlib import sha256

from backfill_assets.sandbox.dataset import as_text
from backfill_assets.sandbox.ids import RecordId
from backfill_assets.sandbox.table import Table


def line(record_id: RecordId, last_updated: str) -> str:
    """One record of the truth: `[17, "2024-01-07T00:00:00Z"]`."""
    return json.dumps([record_id, last_updated])


def digest(lines: Iterable[str]) -> str:
    """SHA-256 over the sorted lines, each ended by a newline."""
    state = sha256()
    for text in sorted(lines):
        state.update(text.encode() + b"\n")
    return state.hexdigest()


def true_lines(table: Table, start: float, end: float, *, with_gone: bool = True) -> Iterator[str]:
    """A line for every record whose moment lies in `[start, end)`: unchanged ones by time, then the changed ones."""
    for number, moment in _moments(table):
        if start <= moment < end and (with_gone or not table.is_gone(number)):
            yield line(table.id_format.written(number), as_text(moment))


def _moments(table: Table) -> Iterator[tuple[int, int]]:
    for rank, moment in table.timeline.every():
        if (number := table.timeline.record_id(rank)) not in table.changes:
            yield number, moment
    for number, change in table.changes.items():
        if change.record is not None:
            yield number, change.moment
