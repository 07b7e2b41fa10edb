"""What every storage promises: files that are whole, and that only who has seen the last content can replace."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import sleep
from typing import Any

import pyarrow as pa
import pytest

from backfill_assets.adapters.lake.storage import Storage
from backfill_assets.errors import TransientError

FOLDER = "acme & söhne|[1]%/raw/desk/tickets"
FILE = f"{FOLDER}/2024-01-07T00:00:00.000000Z.parquet"


def replace(storage: Storage, content: bytes, *, seen: Any | None, name: str = FILE) -> bool:
    """Whether the file was replaced; a folder sees at the end of a batch that another writer was faster."""
    try:
        with storage.batch(name.rpartition("/")[0]) as batch:
            return batch.put(name, pa.py_buffer(content), seen=seen)
    except TransientError:
        return False


def held(storage: Storage, name: str = FILE) -> tuple[bytes, Any]:
    stored = storage.read(name)
    assert stored is not None
    return stored.content.to_pybytes(), stored.mark


def test_what_was_put_is_there_whole(storage: Storage) -> None:
    assert storage.read(FILE) is None
    content = bytes(range(256)) * 10_000
    assert replace(storage, content, seen=None)
    assert held(storage)[0] == content


def test_a_file_that_is_there_is_not_made_once_more(storage: Storage) -> None:
    assert replace(storage, b"theirs", seen=None)
    assert not replace(storage, b"mine", seen=None)
    assert held(storage)[0] == b"theirs"


def test_only_who_has_seen_the_last_content_replaces_it(storage: Storage) -> None:
    replace(storage, b"first", seen=None)
    first = held(storage)[1]
    assert replace(storage, b"second", seen=first)
    assert not replace(storage, b"third", seen=first)
    assert held(storage)[0] == b"second"
    assert replace(storage, b"third", seen=held(storage)[1])
    assert held(storage)[0] == b"third"


def test_a_file_that_is_gone_is_not_brought_back_by_who_has_seen_it(storage: Storage) -> None:
    replace(storage, b"first", seen=None)
    _, mark = held(storage)
    other = FILE.replace("-07T", "-08T")
    assert not replace(storage, b"second", seen=mark, name=other)
    assert storage.read(other) is None


def test_several_files_are_put_in_one_batch(storage: Storage) -> None:
    names = [f"{FOLDER}/{day}.parquet" for day in range(3)]
    with storage.batch(FOLDER) as batch:
        for name in names:
            assert batch.put(name, pa.py_buffer(name.encode()), seen=None)
    assert [held(storage, name)[0] for name in names] == [name.encode() for name in names]


def test_an_error_in_a_batch_comes_through(storage: Storage) -> None:
    replace(storage, b"old", seen=None)
    with pytest.raises(ZeroDivisionError), storage.batch(FOLDER):
        _ = 1 / 0
    assert held(storage)[0] == b"old"


def test_only_parquet_files_of_the_folder_itself_are_named(storage: Storage) -> None:
    assert storage.names(FOLDER) == []
    for name in (f"{FOLDER}/b.parquet", f"{FOLDER}/a.parquet", f"{FOLDER}/deeper/c.parquet", f"{FOLDER}/note.txt"):
        replace(storage, b"", seen=None, name=name)
    replace(storage, b"", seen=None, name=f"{FOLDER}_2/d.parquet")
    assert storage.names(FOLDER) == [f"{FOLDER}/a.parquet", f"{FOLDER}/b.parquet"]


def test_the_oldest_write_is_of_all_tables_of_one_folder(storage: Storage) -> None:
    assert storage.oldest_write("acme/raw/desk") is None
    replace(storage, b"", seen=None, name="acme/raw/desk_2/tickets/0.parquet")
    sleep(1.1)  # S3 tells times in whole seconds
    before = datetime.now(UTC).replace(microsecond=0)
    for name in ("tickets/1", "notes/2"):
        replace(storage, b"", seen=None, name=f"acme/raw/desk/{name}.parquet")
    oldest = storage.oldest_write("acme/raw/desk")
    assert oldest is not None
    assert before <= oldest <= before + timedelta(seconds=30)


def test_a_place_names_the_file_for_other_programs(storage: Storage, tmp_path: Path) -> None:
    place = storage.place("acme/x.parquet")
    assert place == f"{tmp_path}/lake/acme/x.parquet" or place.startswith("s3://lake-")
    assert place.endswith("/acme/x.parquet")


def published(storage: Storage, content: bytes, *, seen: Any | None, name: str = FILE) -> bool:
    """Whether a file made in a scratch took the file's place."""
    with storage.scratch(name.rpartition("/")[0]) as scratch:
        (scratch / "draft").write_bytes(content)
        return storage.publish(name, scratch / "draft", seen=seen)


def test_a_local_file_is_published_only_by_who_has_seen_the_last_content(storage: Storage) -> None:
    assert storage.mark(FILE) is None
    assert published(storage, b"first", seen=None)
    first = storage.mark(FILE)
    assert held(storage) == (b"first", first)
    assert not published(storage, b"mine", seen=None)
    content = bytes(range(256)) * 20_000
    assert published(storage, content, seen=first)
    assert not published(storage, b"mine", seen=first)
    assert held(storage)[0] == content
    assert not published(storage, b"mine", seen=first, name=FILE.replace("-07T", "-08T"))


def test_what_was_fetched_is_what_the_file_held_then(storage: Storage) -> None:
    content = bytes(range(256)) * 10_000
    replace(storage, content, seen=None)
    with storage.scratch(FOLDER) as scratch:
        assert storage.fetch(FILE, scratch / "0")
        replace(storage, b"other", seen=storage.mark(FILE))
        assert (scratch / "0").read_bytes() == content
        assert storage.fetch(FILE, scratch / "1")
        assert (scratch / "1").read_bytes() == b"other"
        assert not storage.fetch(FILE.replace("-07T", "-08T"), scratch / "2")
    assert held(storage)[0] == b"other"


def test_a_scratch_is_empty_gone_at_the_end_and_no_part_of_the_folder(storage: Storage) -> None:
    replace(storage, b"", seen=None)
    with storage.scratch(FOLDER) as scratch:
        assert list(scratch.iterdir()) == []
        (scratch / "x.parquet").touch()
        assert storage.names(FOLDER) == [FILE]
        replace(storage, b"more", seen=storage.mark(FILE))
        assert (scratch / "x.parquet").exists()
    assert not scratch.exists()
