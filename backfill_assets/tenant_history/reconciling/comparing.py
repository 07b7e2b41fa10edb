"""Comparing the lake with its source, id by id, with as few requests as the differences allow.

Here belongs what the source is asked, in which order, and what counts as a difference. What the lake holds is counted
by `standing.py`.

A source shows a record at its newest version only, and goes on changing. So first the tail is read: ids and versions
from the hand-off to now. What is found there has moved away from before, and incremental sync answers for it. Before
the tail the counts of both sides are compared in halves of equal numbers, down to the few records that differ; these
are asked for once more by id before they are called a difference. Then all is counted again, without what was found:
it is over when the numbers agree and nothing moved meanwhile. Where that never comes, all ids are read.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise

import pyarrow as pa

from backfill_assets.core.source import Identity, Record, RecordSource, TableSpec
from backfill_assets.core.windows import Window
from backfill_assets.tenant_history.reading import SETTLING
from backfill_assets.tenant_history.reconciling.standing import (
    Standing,
    Version,
    moment_of,
    version_of,
    versions_among,
)
from backfill_assets.tenant_history.single_records import SingleRecords

FEW = 1000
"""So many records are asked for by id and version at once: that is one request of most services."""

AHEAD = timedelta(days=1)

AT_ONCE = 100_000
"""So many ids of the lake are held in a dictionary at once."""

HASTY_ROUNDS, ROUNDS = 4, 8
"""How often all is counted, and after how many times all ids are read: a source may never stand still meanwhile."""


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A record that the source holds in a version that the lake does not."""

    record_id: str
    version: datetime


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What the comparison of `[start, end)` came to.

    `gone` are ids that the lake holds, and neither the source nor a mark of deletion. `unexplained` is by how many the
    source counts more than was found on both sides, or less.
    """

    start: datetime
    end: datetime
    source_records: int
    lake_records: int
    missing: tuple[Missing, ...]
    gone: tuple[str, ...]
    unexplained: int
    count_requests: int


@dataclass(kw_only=True)
class Comparison:
    """One comparison of a tenant's table with its source; use it once.

    `stored` are all versions in the lake, `[start, end)` is what is compared, `tail_from` on is left to incremental
    sync. `suspects` are windows that are known to be short: they are compared id by id, whatever their counts say; a
    comparison that `is_thorough` does so with all.
    """

    records: SingleRecords
    stored: pa.Table
    start: datetime
    end: datetime
    tail_from: datetime
    suspects: tuple[Window, ...] = ()
    is_thorough: bool = False
    few: int = FEW
    count_requests: int = 0
    _moved: set[str] = field(default_factory=set)
    _known: dict[str, Version | None] = field(default_factory=dict)
    _missing: dict[str, Version] = field(default_factory=dict)
    _gone: set[str] = field(default_factory=set)
    _seen: dict[str, Version] = field(default_factory=dict)
    _has_read_all: bool = False
    _standing: Standing = field(init=False)

    def run(self) -> Compared:
        """Compare until the counts agree, or the source does not stand still."""
        newest, since = Standing.of(self.stored), self.tail_from
        held = unexplained = 0
        for turn in range(ROUNDS):
            since = self._read_tail(since)
            self._standing = newest.at({**self._known, **dict.fromkeys(self._moved)})
            held = self._count(self._begin, self._end)
            unexplained = held - self._standing.count(self._begin, self._end)
            suspected = set(self._suspected(turn))
            if unexplained or suspected:
                self._verify({*suspected, *self._search(self._begin, self._end, held)})
            elif self._has_read_all or self._stood_still(since):
                break
        return Compared(
            start=self.start,
            end=self.end,
            source_records=held,
            lake_records=newest.at(dict.fromkeys(self._moved)).count(self._begin, self._end),
            missing=tuple(self._told_missing()),
            gone=tuple(sorted(self._gone - self._moved)),
            unexplained=self._not_moved(unexplained, since),
            count_requests=self.count_requests,
        )

    @property
    def _begin(self) -> Version:
        return version_of(self.start)

    @property
    def _end(self) -> Version:
        return version_of(self.end)

    def _read_tail(self, since: datetime) -> datetime:
        """Note what is at a version of the tail by now; return from when on the next reading has to look."""
        now = self.records.backfill.clock()
        # Clocks differ: what the source dates after our now is in the tail too.
        for page in self._identities(since, max(now, since) + AHEAD):
            self._moved.update(str(record_id) for record_id, _ in page)
        return max(since, now - SETTLING)

    def _stood_still(self, since: datetime) -> bool:
        """Whether no record moved while it was counted: else one that did may make up for one that is missing."""
        before = set(self._moved)
        self._read_tail(since)
        return not self._standing.holds(self._moved - before, self._begin, self._end)

    def _not_moved(self, unexplained: int, since: datetime) -> int:
        """What remains of a difference when what has changed since it was counted may be all of it."""
        before = len(self._moved)
        if unexplained:
            self._read_tail(since)
        return unexplained if abs(unexplained) > len(self._moved) - before else 0

    def _suspected(self, turn: int) -> Iterator[str]:
        """The ids that differ where counts are not to be relied on."""
        if self._may_hide_more() or (not self._has_read_all and turn == (0 if self.is_thorough else HASTY_ROUNDS)):
            self._has_read_all = True
            cuts = [self._begin, *self._standing.cuts(self._begin, self._end, AT_ONCE), self._end]
            for begin, end in pairwise(cuts):
                yield from self._differing(begin, end)
        elif turn == 0:
            for window in self.suspects:
                begin, end = version_of(window.reads_from), version_of(window.end)
                if (begin := max(begin, self._begin)) < (end := min(end, self._end)):
                    yield from self._differing(begin, end)

    def _may_hide_more(self) -> bool:
        """Whether records of both kinds were found, whose numbers cancel out: counts say little then."""
        return bool(self._missing and self._gone) and not self._has_read_all

    def _search(self, begin: Version, end: Version, held: int) -> Iterator[str]:
        """The ids in `[begin, end)` that differ, where the source holds so many records there."""
        stored = self._standing.count(begin, end)
        if held == stored:
            return
        middle = self._standing.middle(begin, end)
        # Looking further would take more requests than reading all of it, where much of it differs.
        if middle is None or max(held, stored) <= self.few * max(1, abs(held - stored)):
            yield from self._differing(begin, end)
            return
        left = self._count(begin, middle)
        yield from self._search(begin, middle, left)
        yield from self._search(middle, end, held - left)

    def _differing(self, begin: Version, end: Version) -> Iterator[str]:
        stored = self._standing.identities(begin, end)
        for page in self._identities(moment_of(begin), moment_of(end)):
            for record_id, moment in page:
                text, version = str(record_id), version_of(moment)
                if stored.pop(text, None) != version:
                    self._seen[text] = version
                    yield text
        yield from stored

    def _verify(self, ids: Set[str]) -> None:
        """Ask for these records themselves, and note which really differ."""
        versions = versions_among(self.stored, ids)
        found, unreadable = self.records.fetch(
            key for text in sorted(ids) if (key := self.records.key(text)) is not None
        )
        for record_id in ids:
            at = self._seen.get(record_id) if record_id in unreadable else self._version(found.get(record_id))
            self._note(record_id, at, versions.get(record_id, {}))

    def _version(self, record: Record | None) -> Version | None:
        return None if record is None else version_of(datetime.fromisoformat(self.records.identity(record)[1]))

    def _note(self, record_id: str, at: Version | None, stored: Mapping[Version, bool]) -> None:
        self._known[record_id] = at
        if at is None and stored and not stored[max(stored)]:
            self._gone.add(record_id)
        elif at is not None and at not in stored and self._begin <= at < self._end:
            self._missing[record_id] = at

    def _told_missing(self) -> Iterator[Missing]:
        for record_id, version in sorted(self._missing.items()):
            if record_id not in self._moved:
                yield Missing(record_id=record_id, version=moment_of(version))

    def _count(self, begin: Version, end: Version) -> int:
        self.count_requests += 1
        return self._source.count(self._table, moment_of(begin), moment_of(end))

    def _identities(self, start: datetime, end: datetime) -> Iterator[Sequence[Identity]]:
        return self._source.identities(self._table, start, end)

    @property
    def _source(self) -> RecordSource:
        return self.records.backfill.source

    @property
    def _table(self) -> TableSpec:
        return self.records.backfill.table
