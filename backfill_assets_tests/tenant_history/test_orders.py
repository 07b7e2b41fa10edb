"""Whatever order a history is read in, how often, and where it was cut off: the canonical file is the same to the byte.

Seen failing: a merge that forgets what a day's file held before.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from backfill_assets.adapters.lake.folder import Folder
from backfill_assets.adapters.lake.raw import RawLake
from backfill_assets.adapters.lake.storage import Stored
from backfill_assets.adapters.rest.connectwise_tables import TICKETS
from backfill_assets.adapters.rest.memory import MemoryRequest, MemorySource
from backfill_assets.core.certificates import Certificate, MemoryCertificates
from backfill_assets.core.chunks import ChunkTarget
from backfill_assets.core.source import Record
from backfill_assets.core.windows import Window
from backfill_assets.tenant_history.canonical.building import CanonicalBuild
from backfill_assets.tenant_history.canonical.mapping import canonical_tables
from backfill_assets_tests.tenant_history.shops import SHOP
from backfill_assets_tests.tenant_history.worlds import World, in_week, ticket, weeks

TABLE = replace(TICKETS, deleted_field="isGone")
SPEC = replace(SHOP, tables=(TABLE,))
[CANONICAL] = canonical_tables(SPEC)
WINDOWS = weeks(0, 5)
RECORDS = range(1, 31)
SAMPLE, ALL = 20, 1000


def states() -> list[list[Record]]:
    """What the source holds at four moments: records come, change, say the same again, and are deleted or undeleted."""
    random = Random("states")
    held: dict[int, Record] = {}
    found = []
    for number, last in enumerate((2, 3, 4, 5)):
        for record_id in RECORDS:
            if random.random() < 0.6:
                week = random.randint(max(0, last - 2 if number else 0), last)
                # All of a window's changes lie on one day, so that few files have to be written.
                moment = in_week(week, 1 + number + record_id / 60)
                is_gone, text = random.random() < 0.3, f"summary {random.randint(0, 2)}"
                held[record_id] = {**ticket(record_id, moment, isGone=is_gone), "summary": text}
        found.append(list(held.values()))
    return found


class Crash(KeyboardInterrupt):
    """The process is gone; what comes after it runs in another one."""


@dataclass(kw_only=True)
class Fuse:
    """Lets everything crash when it has burnt down; -1 for never."""

    left: int = -1

    def burn(self) -> None:
        """One step towards the crash."""
        if self.left == 0:
            raise Crash
        self.left -= self.left > 0


class FusedSource(MemorySource):
    """An account that may crash at any request."""

    def __init__(self, records: Sequence[Record], fuse: Fuse) -> None:
        super().__init__({TABLE.name: records}, page_size=7)
        self.fuse = fuse

    def _serve(self, table: Any, request: MemoryRequest) -> list[Record]:
        self.fuse.burn()
        return super()._serve(table, request)


class FusedFolder(Folder):
    """A disk that may crash before any file is read, fetched or put in its place."""

    def __init__(self, root: Path, fuse: Fuse) -> None:
        super().__init__(root)
        self._fuse = fuse

    def read(self, name: str) -> Stored | None:
        self._fuse.burn()
        return super().read(name)

    def fetch(self, name: str, into: Path) -> bool:
        self._fuse.burn()
        return super().fetch(name, into)

    def publish(self, name: str, file: Path, *, seen: Any | None) -> bool:
        self._fuse.burn()
        return super().publish(name, file, seen=seen)


class FusedCertificates(MemoryCertificates):
    """A ledger that may crash before and after it has kept something."""

    def __init__(self, fuse: Fuse) -> None:
        super().__init__()
        self._fuse = fuse

    def put(self, certificates: Any) -> None:
        self._fuse.burn()
        held: list[Certificate] = list(certificates)
        super().put(held)
        self._fuse.burn()


class Order:
    """One way through the history, drawn from a seed; seed None is the plain one."""

    def __init__(self, root: Path, seed: int | None) -> None:
        self._random = Random(seed)
        self._is_plain = seed is None
        self._fuse = Fuse()
        self._root = root
        self._certificates = FusedCertificates(self._fuse)
        self._runs = 0

    def file(self) -> bytes:
        """Go all the way, and return the canonical file."""
        stages = states()
        for records in stages if self._is_plain else self._random.sample(stages, len(stages)):
            for windows in self._cut():
                self._read(records, windows)
            if not self._is_plain and self._random.random() < 0.3:
                self._build()
        self._build()
        [file] = self._root.glob("acme/canonical/tickets/*/*")
        return file.read_bytes()

    def _cut(self) -> Iterator[list[Window]]:
        """The windows in pieces, each at least once."""
        if self._is_plain:
            yield WINDOWS
            return
        pieces, left = [], list(WINDOWS)
        while left:
            size = self._random.randint(1, 5)
            piece, left = left[:size], left[size:]
            pieces += [piece] * self._random.choice((1, 1, 1, 2))
        yield from self._random.sample(pieces, len(pieces))

    def _read(self, records: Sequence[Record], windows: Sequence[Window]) -> None:
        self._until_it_ends(lambda: self._fill(FusedSource(records, self._fuse), windows))

    def _fill(self, source: MemorySource, windows: Sequence[Window]) -> None:
        world = World(root=self._root, spec=SPEC)
        world.sources["acme"] = source
        self._runs += 1
        days = 28 if self._is_plain else self._random.choice((7, 14, 28))
        backfill = replace(
            world.backfill(table=TABLE, run_id=str(self._runs)), lake=self._lake, certificates=self._certificates
        )
        outcomes = list(backfill.fill(windows, ChunkTarget(days=days)))
        assert len(outcomes) == len(windows)

    def _build(self) -> None:
        build = CanonicalBuild(tenant="acme", service=SPEC.name, table=CANONICAL, lake=self._lake)
        self._until_it_ends(build.build)

    @property
    def _lake(self) -> RawLake:
        return RawLake(FusedFolder(self._root, self._fuse), lock=World(root=self._root).wiring.lock)

    def _until_it_ends(self, act: Any) -> None:
        crashes = 0 if self._is_plain else self._random.choice((0, 0, 0, 1, 2))
        for _ in range(crashes):
            self._fuse.left = self._random.randint(0, 40)
            with suppress(Crash):
                act()
            self._fuse.left = -1
        act()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a history that is read in order, once, without a crash."""
    return Order(tmp_path_factory.mktemp("plain"), None).file()


def check(plain: bytes, folder: Path, seeds: range) -> None:
    for seed in seeds:
        assert Order(folder / str(seed), seed).file() == plain, f"seed {seed}"


def test_the_order_of_reading_makes_no_difference(plain: bytes, tmp_path: Path) -> None:
    check(plain, tmp_path, range(SAMPLE))


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_a_thousand_orders_make_no_difference(plain: bytes, tmp_path: Path) -> None:
    check(plain, tmp_path, range(ALL))


def test_the_history_of_the_proof_has_all_that_may_go_wrong(plain: bytes) -> None:
    rows = pq.read_table(pa.BufferReader(plain)).to_pylist()
    kinds = [row["change_type"] for row in rows]
    assert {kind: kinds.count(kind) > 3 for kind in ("INSERT", "UPDATE", "DELETE")} == dict.fromkeys(
        ("INSERT", "UPDATE", "DELETE"), True
    )
    ids = [row["source_id"] for row in rows if row["change_type"] == "INSERT"]
    assert len(ids) > len(set(ids)), "some were deleted and came back"
    deleted = {row["source_id"] for row in rows if row["change_type"] == "DELETE"}
    assert deleted - {row["source_id"] for row in rows if row["is_current"]}
