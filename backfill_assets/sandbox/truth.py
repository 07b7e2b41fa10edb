"""What a table really holds, for checking what was read from it.

Computed by going through every rank of every day: nothing of the paging, the conditions or the caches is used, so
that a mistake there cannot hide here.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256

from backfill_assets.sandbox.dataset import Timeline, as_text
from backfill_assets.sandbox.table import Change


def line(record_id: int, last_updated: str) -> str:
    """One record of the truth: `[17, "2024-01-07T00:00:00Z"]`."""
    return json.dumps([record_id, last_updated])


def digest(lines: Iterable[str]) -> str:
    """SHA-256 over the sorted lines, each ended by a newline."""
    state = sha256()
    for text in sorted(lines):
        state.update(text.encode() + b"\n")
    return state.hexdigest()


def true_lines(timeline: Timeline, changes: Mapping[int, Change], start: float, end: float) -> Iterator[str]:
    """A line for every record whose moment lies in `[start, end)`: unchanged ones by time, then the changed ones."""
    for rank, moment in timeline.every():
        if start <= moment < end and (record_id := timeline.record_id(rank)) not in changes:
            yield line(record_id, as_text(moment))
    for record_id, change in changes.items():
        if change.record is not None and start <= change.moment < end:
            yield line(record_id, as_text(change.moment))
