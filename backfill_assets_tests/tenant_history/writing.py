"""A tenant's account that is written to while its history is read and then synced, by a seeded schedule.

Here belong the writer, virtual time, and the readings that a run would make. What is asserted belongs to
`test_adversarial_writer`.

Every request of the history takes hours of virtual time, so that two months take days, and one of a sync a minute;
before each request the records change that somebody changed meanwhile. A change is stamped when it is made and may
become visible up to `LATEST_COMMIT` later, as in a service that commits late.
"""

from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from backfill_assets.adapters.lake.folder import Folder
from backfill_assets.adapters.lake.raw import RawLake
from backfill_assets.adapters.rest.http import REAL_WIRE
from backfill_assets.core.certificates import MemoryCertificates
from backfill_assets.core.chunks import ChunkTarget
from backfill_assets.core.dead_letters import MemoryDeadLetters
from backfill_assets.core.handoff import MemoryHandoffs
from backfill_assets.core.source import Grain, ServiceSpec
from backfill_assets.core.windows import Window, midnight
from backfill_assets.sandbox.server import SandboxServer
from backfill_assets.tenant_history.backfill import TableBackfill, WindowFailed
from backfill_assets.tenant_history.completeness import reads_again_from
from backfill_assets.tenant_history.handing_over import HandingOver
from backfill_assets.tenant_history.plan import calendar_of
from backfill_assets.tenant_history.reading import raw_table
from backfill_assets_tests.adapters.rest.adversity import Meddler
from backfill_assets_tests.adapters.rest.stands import CLIENTS, SINCE, UNTIL, Held, control, truth

LATEST_COMMIT = timedelta(minutes=14)
"""Less than the overlap, which is what an overlap is for."""

HOURS, MINUTES = timedelta(hours=4), timedelta(minutes=1)
"""The most that a request takes of history, and of sync."""

PAGE_SIZE = 40
TARGET = ChunkTarget(days=14)


@dataclass(kw_only=True)
class Play:
    """One account, its lake and the ledgers, in virtual time that begins where the sandbox's records end."""

    sandbox: SandboxServer
    name: str
    seed: int
    root: Path
    now: datetime = UNTIL
    is_quiet: bool = False
    pending: list[tuple[datetime, Any, datetime]] = field(default_factory=list)
    certificates: MemoryCertificates = field(default_factory=MemoryCertificates)
    handoffs: MemoryHandoffs = field(default_factory=MemoryHandoffs)
    told: list[datetime] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.client = CLIENTS[self.name]
        self.random = Random(f"{self.name} {self.seed}")
        self.ids = list(truth(self.sandbox, self.client))
        self.spec = ServiceSpec(
            name=self.client.service,
            tables=(self.client.table,),
            credential_fields=(),
            lookback_days=60,
            chunk_size_days=14,
            requests_per_minute=60,
            grain=Grain.DAILY,
            history_start=SINCE.date(),
        )
        self.lake = RawLake(Folder(self.root), lock=lambda _name: nullcontext())

    def backfill(self) -> None:
        """Read the whole history as several runs, newest or oldest first, and a sync between some of them."""
        windows = calendar_of(self.spec).windows(SINCE, self.now)
        self.hand_over.asked_for(windows)
        runs = [windows[first : first + 28] for first in range(0, len(windows), 28)]
        if self.random.random() < 0.7:
            runs.reverse()
        for run in runs:
            self.read(run)
            if self.random.random() < 0.3:
                self.sync()

    def sync(self, since: datetime | None = None) -> None:
        """Read again what has to be read again, or what lies after `since`."""
        [handoff] = self.handoffs.handoffs()
        start = reads_again_from(handoff, self.spec) if since is None else since
        assert start is not None
        self.read(calendar_of(self.spec).windows(start, self.now), MINUTES)

    def look_at_today(self) -> None:
        """Read the newest window alone, as a person may do in the UI."""
        self.read(calendar_of(self.spec).windows(self.now, self.now + timedelta(microseconds=1)), MINUTES)

    def read(self, windows: Sequence[Window], longest: timedelta = HOURS) -> None:
        """One run whose requests take so long at most."""
        wire = replace(REAL_WIRE, transport=Meddler(partial(self.pass_time, longest)))
        with closing(self.client.source(self.sandbox, wire=wire, page_size=PAGE_SIZE)) as source:
            backfill = TableBackfill(
                tenant="acme",
                service=self.spec.name,
                table=self.client.table,
                source=source,
                lake=self.lake,
                certificates=self.certificates,
                dead_letters=MemoryDeadLetters(),
                job_id="job",
                run_id="run",
                clock=lambda: self.now,
                sleep=lambda _seconds: None,
            )
            outcomes = list(self.hand_over.fill(backfill, windows, TARGET))
        assert [outcome for outcome in outcomes if isinstance(outcome, WindowFailed)] == []

    @property
    def hand_over(self) -> HandingOver:
        """The hand-off of the account's table."""
        return HandingOver(
            tenant="acme",
            spec=self.spec,
            table=self.client.table,
            handoffs=self.handoffs,
            certificates=self.certificates,
            publish=lambda _tenant, _table, watermark: self.told.append(watermark),
        )

    def pass_time(self, longest: timedelta) -> None:
        """Let time pass, let people write meanwhile, and let become visible what is due."""
        before, self.now = self.now, self._later(longest)
        if not self.is_quiet:
            for _ in range(self.random.randint(0, 2)):
                self._write(before + self.random.random() * (self.now - before))
            if self.now - (day := midnight(self.now.date())) < LATEST_COMMIT:
                for _ in range(5):
                    self._write(max(before, day - self.random.random() * LATEST_COMMIT / 2))
        due = [change for change in self.pending if change[0] <= self.now]
        self.pending = [change for change in self.pending if change[0] > self.now]
        for _, key, moment in due:
            self._make_visible(key, moment)

    def _later(self, longest: timedelta) -> datetime:
        """Somewhat later; often just after midnight, where a window has ended that may still gain records."""
        day = midnight(self.now.date()) + timedelta(days=1)
        if longest > MINUTES and self.random.random() < 0.4:
            return day + self.random.random() * LATEST_COMMIT
        return self.now + self.random.random() * longest

    def _write(self, moment: datetime) -> None:
        key = self.random.choice(self.ids)
        if all(key != waiting for _, waiting, _ in self.pending):
            self.pending.append((moment + self.random.random() * LATEST_COMMIT, key, moment))

    def _make_visible(self, key: Any, moment: datetime) -> None:
        path = f"records/{self.client.service}/acme/{self.client.table.name}/{key}"
        is_deleted = self.client.service == "salesforce" and self.random.random() < 0.2
        said = {"lastUpdated": moment.isoformat(), **({"delete": True} if is_deleted else {})}
        control(self.sandbox, "PUT", path, json=said)

    def settle(self) -> None:
        """Let nobody write any more, and wait until all is visible and settled."""
        self.is_quiet = True
        self.now += timedelta(hours=2)
        self.pass_time(timedelta(0))
        assert not self.pending

    @property
    def lost(self) -> Held:
        """What the source holds and the lake does not."""
        stored = set(self.lake.versions(raw_table("acme", self.spec.name, self.client.table)))
        return {key: at for key, at in truth(self.sandbox, self.client).items() if (key, at) not in stored}


Schedule = Callable[[Play], None]


def by_the_handoff(play: Play) -> None:
    """History, then sync from where the hand-off says, while people write; a last one when they have stopped."""
    play.backfill()
    for _ in range(play.random.randint(3, 8)):
        play.pass_time(timedelta(days=1))
        if play.random.random() < 0.3:
            play.look_at_today()
        play.sync()
    play.settle()
    play.sync()


def by_the_end_of_the_backfill(play: Play) -> None:
    """The naive way, which many tools go: sync begins where the backfill ended."""
    play.backfill()
    watermark = play.now
    for _ in range(play.random.randint(1, 4)):
        play.pass_time(timedelta(days=1))
        began = play.now
        play.sync(watermark)
        watermark = began
    play.settle()
    play.sync(watermark)
