"""One table of the sandbox: the computed records, and over them the ones changed since the start.

Here belongs finding, ordering and counting records. How a query is written belongs to the module of its service; what
the truth is, apart from this module's paths, to `truth.py`.
"""

import heapq
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from operator import itemgetter
from typing import Any

from backfill_assets.sandbox.dataset import Timeline
from backfill_assets.sandbox.ids import Ids
from backfill_assets.sandbox.selection import Box, Json, Selection

Build = Callable[[int, int, int], Json]
"""Makes a record of (id, rank, moment)."""
Stamp = Callable[[int, int], Json]
"""Makes the fields that say id and moment, of (id, moment)."""


@dataclass(frozen=True, kw_only=True)
class Tombstones:
    """How a service that keeps its deleted records marks them: `field` is true, from the start for some ranks."""

    field: str
    is_gone: Callable[[int], bool]


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a record became after the start; `record` is None once it is deleted."""

    moment: int
    record: Json | None


class IdCache:
    """Sorted ids of the ranges asked for last, `limit` of them at most in all ranges together."""

    def __init__(self, limit: int = 1_000_000) -> None:
        self._limit = limit
        self._ranges: OrderedDict[tuple[str, int, int], array[int]] = OrderedDict()

    def ids(self, timeline: Timeline, first: int, end: int) -> "array[int]":
        """The ids of the ranks `[first, end)`, ascending."""
        key = (timeline.key, first, end)
        if key not in self._ranges:
            self._keep(key, array("Q", sorted(map(timeline.record_id, range(first, end)))))
        self._ranges.move_to_end(key)
        return self._ranges[key]

    @property
    def held(self) -> int:
        """How many ids are held."""
        return sum(map(len, self._ranges.values()))

    def _keep(self, key: tuple[str, int, int], ids: "array[int]") -> None:
        while self._ranges and self.held + len(ids) > self._limit:
            self._ranges.popitem(last=False)
        self._ranges[key] = ids


class Table:
    """The records of one tenant's table."""

    SORTED_AT_MOST = 200_000
    """Ranges with more records than this are found by walking the ids, so that no query needs much memory."""
    MADE_AT_MOST = 10_000
    """Ranges with more records than this are not all made only to say which page is the last."""

    def __init__(
        self,
        timeline: Timeline,
        *,
        build: Build,
        stamp: Stamp,
        cache: IdCache,
        ids: Ids,
        tombstones: Tombstones | None = None,
    ) -> None:
        self.timeline = timeline
        self.id_format = ids
        self.changes: dict[int, Change] = {}
        self._build = build
        self._stamp = stamp
        self._cache = cache
        self._tombstones = tombstones

    @cached_property
    def fields(self) -> frozenset[str]:
        """The names that records have at their top, also those that only some records have."""
        return frozenset(name for rank in range(100) for name in self._build(1, rank, 0))

    def get(self, record_id: int) -> Json | None:
        """The record as it is now, or None."""
        if (change := self.changes.get(record_id)) is not None:
            return change.record
        rank = self.timeline.rank(record_id)
        return None if rank is None else self._build(record_id, rank, self.timeline.moment(rank))

    def moment(self, record_id: int) -> int | None:
        """When the record was last updated, or None where there is none."""
        if (change := self.changes.get(record_id)) is not None:
            return None if change.record is None else change.moment
        rank = self.timeline.rank(record_id)
        return None if rank is None else self.timeline.moment(rank)

    def is_gone(self, record_id: int) -> bool:
        """Whether the record is still there but marked as deleted."""
        if self._tombstones is None:
            return False
        if (change := self.changes.get(record_id)) is not None:
            return bool(change.record and change.record[self._tombstones.field])
        rank = self.timeline.rank(record_id)
        return rank is not None and self._tombstones.is_gone(rank)

    def records(self, selection: Selection) -> Iterator[Json]:
        """The selected records in order, each made when it is asked for."""
        return (record for _, record in self.numbered(selection))

    def numbered(self, selection: Selection) -> Iterator[tuple[int, Json]]:
        """Like `records`, each with the number that is its id."""
        for record_id in self.ids(selection):
            record = self.get(record_id)
            if record is not None and (selection.where is None or selection.where(record)):
                yield record_id, record

    def count(self, selection: Selection) -> int:
        """How many records are selected."""
        if selection.where is not None:
            return sum(1 for _ in self.numbered(selection))
        if not selection.are_disjoint:
            return sum(1 for _ in self.ids(selection))
        return sum(self._count_in(box, selection) for box in selection.boxes)

    def is_cheap_to_count(self, selection: Selection) -> bool:
        """Whether a count takes no longer than a page."""
        if selection.where is None and all(box.is_any_id for box in selection.boxes):
            return True
        first, end = self._ranks(selection.hull)
        return end - first <= (self.SORTED_AT_MOST if selection.where is None else self.MADE_AT_MOST)

    def ids(self, selection: Selection) -> Iterator[int]:
        """The ids within the selection's boxes, in its order; `where` is not looked at."""
        found = self._ids_by_time(selection) if selection.by_time else self._ids_by_id(selection)
        return found if selection.with_gone else (number for number in found if not self.is_gone(number))

    def change(self, record_id: int, moment: int, fields: Mapping[str, Any]) -> Json:
        """Give a record, new or not, this moment and these fields, merged into the ones it has."""
        base = self.get(record_id) or self._build(record_id, self.timeline.capacity + record_id, moment)
        record = merged(merged(base, fields), self._stamp(record_id, moment))
        self.changes[record_id] = Change(moment=moment, record=record)
        return record

    def delete(self, record_id: int, moment: int) -> None:
        """Let a record be gone: marked as deleted at this moment where the service does that, else without a trace."""
        if self._tombstones is None:
            self.changes[record_id] = Change(moment=0, record=None)
        else:
            self.change(record_id, moment, {self._tombstones.field: True})

    def restore(self) -> None:
        """Forget every change."""
        self.changes.clear()

    def as_it_is(self) -> "Table":
        """This table with the changes of now, whatever is changed later."""
        frozen = copy(self)
        frozen.changes = dict(self.changes)
        return frozen

    def _count_in(self, box: Box, selection: Selection) -> int:
        if not box.is_any_id:
            return sum(1 for _ in self.ids(replace(selection, boxes=(box,), by_time=False)))
        first, end = self._ranks(box)
        moved = [rank for rank in map(self.timeline.rank, self.changes) if rank is not None and first <= rank < end]
        changed = self._changed(Selection(boxes=(box,)))
        found = end - first - len(moved) + len(changed)
        if selection.with_gone or self._tombstones is None:
            return found
        is_gone = self._tombstones.is_gone
        unchanged = sum(map(is_gone, range(first, end))) - sum(map(is_gone, moved))
        return found - unchanged - sum(self.is_gone(number) for _, number in changed)

    def _ids_by_id(self, selection: Selection) -> Iterator[int]:
        found = self._merged([self._unchanged(box, selection.descending) for box in selection.boxes], selection)
        if not self.changes:
            return found
        unchanged = (record_id for record_id in found if record_id not in self.changes)
        changed = sorted((record_id for _, record_id in self._changed(selection)), reverse=selection.descending)
        return heapq.merge(unchanged, changed, reverse=selection.descending)

    def _merged(self, found: list[Iterable[int]], selection: Selection) -> Iterator[int]:
        if len(found) == 1:
            return iter(found[0])
        return (number for number, _ in groupby(heapq.merge(*found, reverse=selection.descending)))

    def _unchanged(self, box: Box, descending: bool) -> Iterable[int]:
        first, end = self._ranks(box)
        low = max(1, box.low)
        high = self.timeline.capacity + 1 if box.high is None else min(box.high, self.timeline.capacity + 1)
        timeless = box.start is None and box.end is None
        if timeless or end - first > self.SORTED_AT_MOST or high - low < end - first:
            return self._walk(range(low, high), first, end, descending)
        ids = self._cache.ids(self.timeline, first, end)
        found = memoryview(ids)[bisect_left(ids, low) : bisect_right(ids, high - 1)]
        return reversed(found) if descending else found

    def _walk(self, ids: range, first: int, end: int, descending: bool) -> Iterator[int]:
        rank_of = self.timeline.rank
        for record_id in reversed(ids) if descending else ids:
            rank = rank_of(record_id)
            if rank is not None and first <= rank < end:
                yield record_id

    def _ids_by_time(self, selection: Selection) -> Iterator[int]:
        if selection.names_few:
            pairs = (
                (self.moment(number) or 0, number) for number in self._ids_by_id(replace(selection, by_time=False))
            )
            return (number for _, number in sorted(pairs, reverse=selection.descending))
        return self._ids_along_time(selection)

    def _ids_along_time(self, selection: Selection) -> Iterator[int]:
        ranks = range(*self._ranks(selection.hull))
        pairs = self._in_time(reversed(ranks) if selection.descending else ranks, selection)
        changed = sorted(self._changed(selection), reverse=selection.descending)
        return (record_id for _, record_id in heapq.merge(pairs, changed, reverse=selection.descending))

    def _in_time(self, ranks: Iterable[int], selection: Selection) -> Iterator[tuple[int, int]]:
        pairs = ((self.timeline.moment(rank), self.timeline.record_id(rank)) for rank in ranks)
        for _, together in groupby(pairs, key=itemgetter(0)):
            for moment, record_id in sorted(together, reverse=selection.descending):
                if record_id not in self.changes and selection.covers(record_id, moment):
                    yield moment, record_id

    def _ranks(self, box: Box) -> tuple[int, int]:
        first = 0 if box.start is None else self.timeline.rank_at(box.start)
        end = self.timeline.total if box.end is None else self.timeline.rank_at(box.end)
        return first, max(first, end)

    def _changed(self, selection: Selection) -> list[tuple[int, int]]:
        return [
            (change.moment, record_id)
            for record_id, change in self.changes.items()
            if change.record is not None and selection.covers(record_id, change.moment)
        ]


def merged(base: Mapping[str, Any], fields: Mapping[str, Any]) -> Json:
    """`base` with `fields` laid over it, objects merged level by level; neither is changed."""
    result = dict(base)
    for name, value in fields.items():
        old = result.get(name)
        result[name] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result
