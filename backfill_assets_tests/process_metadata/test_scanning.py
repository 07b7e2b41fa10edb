"""Reading the folder of process models."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from backfill_assets.errors import PermanentError
from backfill_assets.process_metadata.scanning import Scan, list_models, read_models
from backfill_assets_tests.process_metadata.models import write_model


def scan(root: Path) -> Scan:
    return read_models(list_models(root))


def test_the_id_of_a_model_is_its_path_with_forward_slashes(tmp_path: Path) -> None:
    write_model(tmp_path, "sales/orders/new", {"customer": "customer.id"})
    write_model(tmp_path, "top", {"k": "p", "l": "q.r"})
    write_model(tmp_path, "none", None)
    write_model(tmp_path, "empty", [])
    (tmp_path / "sales" / "process_group.json").write_text("{ not json")
    (tmp_path / "process_model.json").write_text("the root is no model")
    assert scan(tmp_path) == Scan(
        fields={
            "sales/orders/new": {"customer": "customer.id"},
            "top": {"k": "p", "l": "q.r"},
            "none": {},
            "empty": {},
        }
    )


def test_a_file_without_the_list_asks_for_nothing(tmp_path: Path) -> None:
    write_model(tmp_path, "m", None).write_text("{}")
    assert scan(tmp_path).fields == {"m": {}}


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ('{\n  "display_name": "x",\n  oops\n}', 3, "not JSON"),
        ("", 1, "not JSON"),
        ('{"metadata_extraction_paths": [\n// a comment\n]}', 2, "not JSON"),
        ("[]", 1, "must hold an object"),
        ('{\n"metadata_extraction_paths": {"k": "p"}}', 2, "must be null or a list"),
        ('{\n"a": [],\n"metadata_extraction_paths":\n "x"}', 4, "must be null or a list"),
        ('{"metadata_extraction_paths": [\n{"key": "a", "path": "b"},\n\n{"key": "c"}\n]}', 4, "entry 2 has no 'path'"),
        ('{"metadata_extraction_paths": [\n{"path": "b"}\n]}', 2, "entry 1 has no 'key'"),
        ('{"metadata_extraction_paths": [{"key": "a", "path": "]"}\n,\n["x"]]}', 3, "entry 2 must be an object"),
        ('{"metadata_extraction_paths": [{"key": 5, "path": "b"}]}', 1, "entry 1 must have a text as its 'key'"),
        ('{"metadata_extraction_paths": [{"key": "a", "path": null}]}', 1, "must have a text as its 'path'"),
        ('{"metadata_extraction_paths": [{"key": "a\\u0000", "path": "b"}]}', 1, "that no database can hold"),
        ('{"metadata_extraction_paths": [{"key": "\\ud800", "path": "b"}]}', 1, "that no database can hold"),
        (json.dumps({"metadata_extraction_paths": [{"key": "k" * 256, "path": "b"}]}), 1, "more than 255 characters"),
        ("[" * 100_000, 1, "not JSON"),
    ],
)
def test_what_cannot_be_read_is_a_problem_that_names_file_and_line(
    tmp_path: Path, text: str, line: int, reason: str
) -> None:
    file = write_model(tmp_path, "bad", None)
    file.write_text(text)
    write_model(tmp_path, "good", {"k": "p"})
    found = scan(tmp_path)
    assert found.fields == {"good": {"k": "p"}}
    assert found.problems["bad"].startswith(f"{file}, line {line}: ")
    assert reason in found.problems["bad"]


def test_bytes_that_are_no_text_are_a_problem_with_their_line(tmp_path: Path) -> None:
    file = write_model(tmp_path, "bad", None)
    file.write_bytes(b'{\n"display_name": "caf\xe9"}')
    assert scan(tmp_path).problems == {"bad": f"{file}, line 2: not UTF-8"}


def test_a_key_that_is_there_twice_is_told_and_its_last_path_counts(tmp_path: Path) -> None:
    entries: list[Any] = [{"key": "k", "path": "old"}, {"key": "other", "path": "o"}, {"key": "k", "path": "new"}]
    file = write_model(tmp_path, "m", entries)
    found = scan(tmp_path)
    assert found.fields == {"m": {"k": "new", "other": "o"}}
    line = file.read_text().split("new")[0].splitlines()
    assert [remark.partition(": key ")[0] for remark in found.remarks] == [f"{file}, line {len(line) - 2}"]


def test_a_file_that_vanishes_while_it_is_read_is_a_problem(tmp_path: Path) -> None:
    file = write_model(tmp_path, "m", {"k": "p"})
    listing = list_models(tmp_path)
    file.unlink()
    assert read_models(listing).problems == {"m": f"{file}: No such file or directory"}


def test_a_missing_root_is_an_error_and_not_a_folder_without_models(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match=r"cannot be read \(No such file or directory\); mount it"):
        list_models(tmp_path / "away")
    (tmp_path / "file").touch()
    with pytest.raises(PermanentError, match="Not a directory"):
        list_models(tmp_path / "file")


def test_hidden_folders_hold_no_models_and_links_in_a_circle_end(tmp_path: Path) -> None:
    write_model(tmp_path, "group/m", {"k": "p"})
    write_model(tmp_path, ".git/m", {"k": "p"})
    (tmp_path / "group" / "back").symlink_to(tmp_path)
    (tmp_path / "linked").symlink_to(tmp_path / "group" / "m")
    assert list(list_models(tmp_path).models) == ["group/m", "linked"]


def test_nothing_is_known_of_what_lies_below_a_folder_that_cannot_be_read() -> None:
    found = Scan(fields={}, problems={"group/sub": "folder"})
    assert found.is_unknown("group/sub")
    assert found.is_unknown("group/sub/m")
    assert not found.is_unknown("group/submarine")


def test_any_change_of_a_file_changes_the_digest(tmp_path: Path) -> None:
    file = write_model(tmp_path, "m", {"k": "p"})
    write_model(tmp_path, "n", {"k": "p"})
    before = list_models(tmp_path).digest
    assert list_models(tmp_path).digest == before
    file.write_text(file.read_text().replace('"p"', '"q"'))
    os.utime(file, (1_700_000_000, 1_700_000_000))
    changed = list_models(tmp_path).digest
    assert changed != before
    file.unlink()
    assert list_models(tmp_path).digest not in (before, changed)


def test_a_file_written_a_moment_ago_may_change_once_more_unseen(tmp_path: Path) -> None:
    write_model(tmp_path, "m", {"k": "p"})
    listing = list_models(tmp_path)
    written = max(listing.stamps[0][1:3])
    assert not listing.is_settled(written + 1_999_999_999)
    assert listing.is_settled(written + 2_000_000_001)


def test_five_thousand_models_are_looked_at_in_under_a_second(tmp_path: Path) -> None:
    for number in range(5000):
        write_model(tmp_path, f"group{number % 50}/model{number}", {"k": "p"})
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        assert list_models(tmp_path).digest
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 1
