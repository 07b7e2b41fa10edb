"""Writers that get into each other's way, are interrupted or meet a bad disk: no file loses what it holds."""

import resource
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from backfill_assets.adapters.lake.files import Draft, Signature, signature, write_draft
from backfill_assets.adapters.lake.folder import Folder
from backfill_assets.adapters.lake.raw import RawLake, RawTable
from backfill_assets.errors import PermanentError, TransientError
from backfill_assets_tests.adapters.lake.tables import DAY, MIDNIGHT, TABLE, arrow, content, lake_on, merge, row

NEXT_DAY = date(2024, 1, 8)


@pytest.fixture
def storage(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "lake")


@pytest.fixture
def lake(storage: Folder) -> RawLake:
    return lake_on(storage)


def path_of(lake: RawLake, day: date = DAY) -> Path:
    return Path(lake.place(TABLE, day))


def drafts(root: Path) -> list[Path]:
    return list(root.rglob("*.draft"))


@dataclass(frozen=True, kw_only=True)
class Slow(RawTable):
    """A table whose stored rows are just being merged with new ones when `meanwhile` happens."""

    meanwhile: Callable[[], object]
    stored: frozenset[str]

    def schema(self, names: Iterable[str]) -> pa.Schema:
        """See `RawTable.schema`; the stored columns are known only once the file has been read."""
        if self.stored <= set(names):
            self.meanwhile()
        return super().schema(names)


def slow(meanwhile: Callable[[], object]) -> Slow:
    return Slow(**{**vars(TABLE), "meanwhile": meanwhile, "stored": frozenset({"hours"})})


def test_a_writer_that_lost_its_lock_gives_way_to_the_other_and_loses_nothing(
    lake: RawLake, storage: Folder, tmp_path: Path
) -> None:
    merge(lake, row(1, hours=1.0))
    lockless = RawLake(storage, lock=lambda name: nullcontext())
    days = {DAY: arrow([row(3)]), NEXT_DAY: arrow([{**row(4), "changed": MIDNIGHT.replace(day=8)}])}
    with pytest.raises(TransientError, match=r"another writer was at work while .*/2024-01-07T.*parquet was being"):
        lockless.merge(slow(lambda: merge(lake, row(2))), days)
    assert [r["id"] for r in content(storage)] == [1, 2]
    assert drafts(tmp_path) == []
    lockless.merge(TABLE, days)
    assert [r["id"] for r in content(storage)] == [1, 2, 3]
    assert [record_id for record_id, _ in lake.versions(TABLE)] == [1, 2, 3, 4]


def written(path: Path, *, seen: Signature | None) -> Draft:
    return write_draft(path, pa.py_buffer(b"mine"), seen=seen)


def test_a_file_that_appeared_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "day"
    draft = written(path, seen=signature(path))
    path.write_bytes(b"theirs")
    with pytest.raises(TransientError, match="another writer was at work"):
        draft.publish()
    assert (path.read_bytes(), drafts(tmp_path)) == (b"theirs", [])


def test_a_draft_that_another_writer_swept_away_is_made_again_and_not_taken_for_a_bad_disk(tmp_path: Path) -> None:
    path = tmp_path / "day"
    path.write_bytes(b"old")
    draft = written(path, seen=signature(path))
    draft.discard()
    with pytest.raises(TransientError, match="another writer was at work"):
        draft.publish()
    assert path.read_bytes() == b"old"


def test_drafts_of_killed_writers_are_swept_at_the_next_merge_of_whatever_day(lake: RawLake, tmp_path: Path) -> None:
    merge(lake, row(1))
    left = [written(path_of(lake, day), seen=None) for day in (DAY, NEXT_DAY)]
    assert sorted(drafts(tmp_path)) == sorted(draft.draft for draft in left)
    merge(lake, row(2))
    assert drafts(tmp_path) == []


def test_what_a_killed_process_left_behind_is_harmless(lake: RawLake, storage: Folder) -> None:
    merge(lake, row(1))
    draft = path_of(lake).with_suffix(".draft")
    draft.write_bytes(b"half a file, longer than what comes next" * 1000)
    assert list(lake.versions(TABLE)) == [(1, MIDNIGHT)]
    assert merge(lake, row(2)) == (1, 0)
    assert [r["id"] for r in content(storage)] == [1, 2]
    assert not draft.exists()


def test_a_folder_that_cannot_be_made_is_told_with_its_path(lake: RawLake, tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("a file where the folder should be")
    with pytest.raises(
        PermanentError,
        match=r"lake/acme/raw/desk/service_tickets could not be written \(.*\); make room or give the right",
    ):
        merge(lake, row(1))


class Interrupted(dict[date, pa.Table]):
    """Rows by day that are interrupted when those of the next day are looked at."""

    def __getitem__(self, day: date) -> pa.Table:
        if day == NEXT_DAY:
            raise KeyboardInterrupt
        return super().__getitem__(day)


def test_an_interrupt_while_drafts_are_written_leaves_every_file_as_it_was(lake: RawLake) -> None:
    merge(lake, row(1))
    before = path_of(lake).read_bytes()
    with pytest.raises(KeyboardInterrupt):
        lake.merge(TABLE, Interrupted({DAY: arrow([row(2)]), NEXT_DAY: arrow([row(2)])}))
    assert path_of(lake).read_bytes() == before
    assert not path_of(lake, NEXT_DAY).exists()


def test_no_days_make_no_folder(lake: RawLake, tmp_path: Path) -> None:
    assert lake.merge(TABLE, {}) == {}
    assert list(tmp_path.iterdir()) == []


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """A disk that refuses, like a full one, what goes beyond."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_refuses_is_told_in_a_sentence_and_the_file_stays(lake: RawLake, storage: Folder) -> None:
    merge(lake, row(1))
    with pytest.raises(PermanentError) as refused, no_file_larger_than(100):
        merge(lake, row(2))
    assert str(refused.value) == (
        f"{path_of(lake).parent} could not be written (File too large); "
        "make room or give the right to write, then rerun"
    )
    assert [r["id"] for r in content(storage)] == [1]
    assert merge(lake, row(2)) == (1, 0)
