"""What is new, changed and gone: the decision alone."""

from collections.abc import Mapping
from typing import Any

import pytest

from backfill_assets.core.metadata import MetadataField, Paths
from backfill_assets.process_metadata.detection import Detected, ModelChange, detect
from backfill_assets.process_metadata.scanning import Scan


def detected(
    known: Mapping[str, Paths | None], found: Mapping[str, Paths], *unread: str, redo_changed: bool = True
) -> Detected:
    scan = Scan(fields=found, problems=dict.fromkeys(unread, "it cannot be read"))
    return detect(known, scan, redo_changed=redo_changed)


def field(key: str, path: str, model: str = "m") -> MetadataField:
    return MetadataField(model=model, key=key, path=path)


def test_at_first_sight_all_is_known_and_nothing_is_new() -> None:
    found = {"m": {"k": "p"}, "empty": {}}
    assert detected({}, found) == Detected(remember=found)


def test_what_cannot_be_read_at_first_sight_is_not_new_when_it_can() -> None:
    first = detected({}, {"m": {}}, "bad", "folder")
    assert first == Detected(remember={"m": {}, "bad": None, "folder": None})
    later = detected(first.remember, {"m": {}, "bad": {"k": "p"}, "folder/below/n": {"k": "p"}})
    assert later == Detected(remember={"bad": {"k": "p"}, "folder/below/n": {"k": "p"}}, forget=("folder",))


def test_a_root_folder_that_is_in_part_unreadable_at_first_sight_hides_no_new_model_for_ever() -> None:
    known: dict[str, Paths | None] = {"m": {}, "folder": None}
    assert detected(known, {"m": {}}, "folder") == Detected()
    assert detected(known, {"m": {}}) == Detected(forget=("folder",))
    change = ModelChange(model="folder/n", new=(field("k", "p", "folder/n"),))
    assert detected({"m": {}}, {"m": {}, "folder/n": {"k": "p"}}) == Detected(changes=(change,))


def test_a_new_key_is_filled() -> None:
    change = ModelChange(model="m", new=(field("l", "q"),))
    assert detected({"m": {"k": "p"}}, {"m": {"k": "p", "l": "q"}}) == Detected(changes=(change,))


def test_a_new_model_in_a_known_installation_is_new_altogether() -> None:
    change = ModelChange(model="n", new=(field("k", "p", "n"),))
    assert detected({"m": {}}, {"m": {}, "n": {"k": "p"}}) == Detected(changes=(change,))
    assert detected({"m": {}}, {"m": {}, "n": {}}) == Detected(remember={"n": {}})


def test_a_changed_path_is_filled_anew_or_only_remembered() -> None:
    known, found = {"m": {"k": "p", "l": "q"}}, {"m": {"k": "other", "l": "q"}}
    assert detected(known, found) == Detected(changes=(ModelChange(model="m", changed=(field("k", "other"),)),))
    assert detected(known, found, redo_changed=False) == Detected(remember=found)


def test_with_changed_paths_ignored_new_keys_are_filled_all_the_same() -> None:
    change = ModelChange(model="m", new=(field("l", "q"),))
    found = {"m": {"k": "other", "l": "q"}}
    assert detected({"m": {"k": "p"}}, found, redo_changed=False) == Detected(changes=(change,))


def test_a_removed_key_is_forgotten_and_new_when_it_returns() -> None:
    gone = detected({"m": {"k": "p", "l": "q"}}, {"m": {"l": "q"}})
    assert gone == Detected(remember={"m": {"l": "q"}})
    back = detected(gone.remember, {"m": {"k": "p", "l": "q"}})
    assert back.changes == (ModelChange(model="m", new=(field("k", "p"),)),)


def test_a_model_that_is_gone_is_forgotten_and_one_that_cannot_be_read_is_not() -> None:
    known = {"m": {"k": "p"}, "n": {"k": "p"}, "folder/o": {"k": "p"}}
    assert detected(known, {"m": {"k": "p"}}, "folder") == Detected(forget=("n",))
    assert detected(known, {"m": {"k": "p"}}, "folder", "n") == Detected()


@pytest.mark.parametrize("known", [{"m": {"k": "p"}}, {"m": {}, "n": {"l": "q"}}])
def test_nothing_follows_where_nothing_changed(known: Any) -> None:
    assert detected(known, known) == Detected()
