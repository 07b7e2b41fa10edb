"""Builds and merges that run at the same time: what was read is one moment's, and the newer build stays."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from backfill_assets.adapters.lake.canonical import CanonicalFile, CanonicalLake, Rebuilt
from backfill_assets.adapters.lake.opening import open_storage
from backfill_assets.adapters.lake.storage import Batch, Storage, Stored
from backfill_assets.adapters.state.schema import initialise
from backfill_assets.errors import TransientError
from backfill_assets.tenant_history.canonical.statement import SourceView, statement
from backfill_assets_tests.tenant_history.canonical.worlds import (
    NAME,
    REQUESTS,
    TENANT,
    TICKETS,
    build,
    content,
    lake_on,
    lockless,
    raw_of,
    rows_in,
    short,
    store,
    version,
)


def rebuild(storage: Storage, meanwhile: Callable[[], object]) -> Rebuilt:
    """Build by a statement that is made only once something else has happened."""
    [*sources] = sorted(TICKETS.sources, key=lambda source: source.table.name)
    raws = [raw_of(source.table) for source in sources]

    def select(columns: Sequence[frozenset[str]]) -> str:
        meanwhile()
        parts = enumerate(zip(sources, raws, columns, strict=True))
        views = [SourceView(number=n, source=source, raw=raw, columns=found) for n, (source, raw, found) in parts]
        return statement(TICKETS, tenant=TENANT, views=views)

    file = CanonicalFile(tenant=TENANT, entity=TICKETS.entity, service=TICKETS.service)
    return CanonicalLake(raw=lockless(storage)).rebuild(file, raws, select)


def test_files_that_are_replaced_while_they_are_read_are_read_as_they_were(storage: Storage) -> None:
    lake = lake_on(storage)
    store(lake, {REQUESTS.name: [version(1, 1)]})
    more = [version(n, minute, title="more", extra="x") for n in range(50) for minute in (2, 1500)]
    done = rebuild(storage, lambda: store(lake, {REQUESTS.name: more}))
    assert (done.versions, short(rows_in(storage))) == (1, [("1", 1, None, True, "INSERT")])
    assert build(lake).versions == 101


def test_a_build_that_lost_its_lock_does_not_replace_the_newer_one(storage: Storage) -> None:
    lake = lake_on(storage)
    store(lake, {REQUESTS.name: [version(1, 1)]})

    def newer() -> None:
        store(lake, {REQUESTS.name: [version(found, 1)]})
        build(lake)

    # At first the file is not there yet, then it is.
    for found in (2, 3):
        with pytest.raises(TransientError) as overtaken:
            rebuild(storage, newer)
        assert str(overtaken.value) == (
            f"another writer was at work while {storage.place(NAME)} was being made; try again"
        )
        assert [row["source_id"] for row in rows_in(storage)] == ["1", "2", "3"][:found]


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """Locks that tell what happens while they are held."""

    events: list[str]

    def __call__(self, name: str) -> AbstractContextManager[None]:
        return _Held(events=self.events, name=name)


@dataclass(frozen=True, kw_only=True)
class _Held(AbstractContextManager[None]):
    events: list[str]
    name: str

    def __enter__(self) -> None:
        self.events.append(f"take {self.name}")

    def __exit__(self, *_: Any) -> None:
        self.events.append(f"give back {self.name}")


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A storage that records what is asked of it."""

    storage: Storage
    events: list[str]

    def place(self, name: str) -> str:
        return self.storage.place(name)

    def read(self, name: str) -> Stored | None:
        return self.storage.read(name)

    def names(self, folder: str) -> Sequence[str]:
        self.events.append("list")
        return self.storage.names(folder)

    def oldest_write(self, folder: str) -> Any:
        return self.storage.oldest_write(folder)

    def batch(self, folder: str) -> AbstractContextManager[Batch]:
        return self.storage.batch(folder)

    def mark(self, name: str) -> Any:
        self.events.append("mark")
        return self.storage.mark(name)

    def scratch(self, folder: str) -> AbstractContextManager[Path]:
        return self.storage.scratch(folder)

    def fetch(self, name: str, path: Path) -> bool:
        return self.storage.fetch(name, path)

    def publish(self, name: str, path: Path, *, seen: Any) -> bool:
        self.events.append("publish")
        return self.storage.publish(name, path, seen=seen)


def test_the_lock_is_held_from_before_the_reading_until_after_the_publishing(tmp_path: Path) -> None:
    events: list[str] = []
    storage = Watched(storage=open_storage(tmp_path), events=events)
    build(lake_on(storage, lock=Recorded(events=events)))
    name = f"canonical:{NAME.rpartition('/')[0]}"
    assert events == [f"take {name}", "mark", "list", "list", "publish", f"give back {name}"]


BUILD = """
import sys
from pathlib import Path
from contextlib import nullcontext
from backfill_assets.adapters.lake.opening import open_storage
from backfill_assets.adapters.lake.raw import RawLake
from backfill_assets.adapters.state.database import StateDatabase
from backfill_assets.errors import TransientError
from backfill_assets_tests.tenant_history.canonical.worlds import REQUESTS, build, store, version

url, root, kind, first = sys.argv[1:]
storage = open_storage(root if root.startswith("s3://") else Path(root))
with StateDatabase.open(url) as state:
    lake = RawLake(storage, lock=state.lock if kind == "locked" else lambda name: nullcontext())
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(int(first), 12, 2):
        while True:
            try:
                store(lake, {REQUESTS.name: [version(number, 1, title="a"), version(-1, number)]})
                build(lake)
                break
            except TransientError:
                if kind == "locked":
                    raise
"""


@pytest.mark.parametrize(("place", "kind"), [("folder", "locked"), ("bucket", "lockless")])
def test_two_processes_that_merge_and_build_at_once_end_with_all_of_it(
    request: pytest.FixtureRequest, tmp_path: Path, place: str, kind: str
) -> None:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    initialise(url)
    root = f"s3://{request.getfixturevalue('bucket')}/lake" if place == "bucket" else str(tmp_path / "lake")
    pipe = subprocess.PIPE
    both = [
        subprocess.Popen(
            [sys.executable, "-c", BUILD, url, root, kind, first], stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )
        for first in "01"
    ]
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in both:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.communicate()[1] for process in both] == ["", ""]
    storage = open_storage(root if place == "bucket" else Path(root))
    after = content(storage)
    assert build(lake_on(storage)).versions == 24
    assert content(storage) == after
