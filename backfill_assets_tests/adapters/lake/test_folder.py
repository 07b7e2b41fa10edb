"""What is peculiar to a lake in a local folder."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backfill_assets.adapters.lake.folder import Folder
from backfill_assets.errors import PermanentError


def test_the_oldest_write_is_the_time_of_the_oldest_file_and_of_no_draft(tmp_path: Path) -> None:
    for name, age in [("tickets/a.parquet", 500), ("notes/b.parquet", 300), ("notes/b-1.draft", 1)]:
        path = tmp_path / "acme/raw/desk" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        os.utime(path, (age, age))
    assert Folder(tmp_path).oldest_write("acme/raw/desk") == datetime.fromtimestamp(300, UTC)


def test_a_folder_that_cannot_be_read_is_told_and_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "acme").write_text("a file where a folder should be")
    for read in (Folder(tmp_path).names, Folder(tmp_path).oldest_write):
        with pytest.raises(PermanentError, match=rf"{tmp_path}/acme/raw cannot be read \(Not a directory\); give"):
            read("acme/raw")
    with pytest.raises(PermanentError, match=r"acme/raw/x cannot be read \(Not a directory\)"):
        Folder(tmp_path).read("acme/raw/x")
