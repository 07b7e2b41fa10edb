"""Which versions become rows, and from when to when each holds."""

from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import pytest

from backfill_assets.adapters.lake.folder import Folder
from backfill_assets_tests.tenant_history.canonical.reference import Row, Version
from backfill_assets_tests.tenant_history.canonical.worlds import (
    ALERTS,
    REQUESTS,
    build,
    built,
    content,
    lake_on,
    rows_in,
    short,
    store,
    version,
)


def of_requests(root: Path, *versions: Version) -> list[Row]:
    """The rows that versions of one table come to."""
    return built({REQUESTS.name: versions}, root)


def test_each_version_holds_until_the_next_one_and_the_last_is_current(tmp_path: Path) -> None:
    rows = of_requests(tmp_path, version(1, 30, title="c"), version(1, 10, title="a"), version(1, 20, title="b"))
    assert short(rows) == [
        ("1", 10, 20, False, "INSERT"),
        ("1", 20, 30, False, "UPDATE"),
        ("1", 30, None, True, "UPDATE"),
    ]


def test_rows_are_ordered_by_id_as_text_and_by_time(tmp_path: Path) -> None:
    rows = of_requests(tmp_path, version(10, 2), version(9, 1), version(10, 1, title="x"), version(100, 3))
    assert [row[:2] for row in short(rows)] == [("10", 1), ("10", 2), ("100", 3), ("9", 1)]


def test_versions_that_say_what_the_one_before_says_collapse_into_the_first(tmp_path: Path) -> None:
    titles = "aabba"
    rows = of_requests(tmp_path, *(version(1, minute, title=title) for minute, title in enumerate(titles)))
    assert [row[1:3] for row in short(rows)] == [(0, 2), (2, 4), (4, None)]


def test_a_column_that_is_not_tracked_makes_no_version_and_keeps_its_first_value(tmp_path: Path) -> None:
    [row] = of_requests(tmp_path, version(1, 1, title="a", editor="x"), version(1, 2, title="a", editor="y"))
    assert (row["updated_by"], row["is_current"]) == ("x", True)


def test_a_deletion_ends_the_version_before_it_and_holds_at_no_time(tmp_path: Path) -> None:
    rows = of_requests(tmp_path, version(1, 1), version(1, 2, deleted=True))
    assert short(rows) == [("1", 1, 2, False, "INSERT"), ("1", 2, 2, False, "DELETE")]


def test_repeated_deletions_are_one_whatever_else_they_say(tmp_path: Path) -> None:
    gone = [version(1, minute, title=str(minute), deleted=True) for minute in (2, 3)]
    assert [row[1:] for row in short(of_requests(tmp_path, version(1, 1), *gone))] == [
        (1, 2, False, "INSERT"),
        (2, 2, False, "DELETE"),
    ]


def test_a_record_known_only_as_deleted_is_never_current(tmp_path: Path) -> None:
    assert short(of_requests(tmp_path, version(1, 5, deleted=True))) == [("1", 5, 5, False, "DELETE")]


def test_a_later_version_that_is_not_deleted_makes_the_record_live_again(tmp_path: Path) -> None:
    rows = of_requests(tmp_path, version(1, 1), version(1, 2, deleted=True), version(1, 4))
    assert short(rows) == [("1", 1, 2, False, "INSERT"), ("1", 2, 2, False, "DELETE"), ("1", 4, None, True, "INSERT")]


HISTORY = [version(1, 1, title="a"), version(1, 2, title="b"), version(1, 3, title="b", deleted=True)]


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_history_that_arrives_after_the_deletion_never_revives_the_record(tmp_path: Path, order: Sequence[int]) -> None:
    storage = Folder(tmp_path)
    lake = lake_on(storage)
    for number in order:
        store(lake, {REQUESTS.name: [HISTORY[number]]})
        build(lake)
        if 2 in order[: order.index(number) + 1]:
            assert not any(row["is_current"] for row in rows_in(storage))
    assert [row[1:] for row in short(rows_in(storage))] == [
        (1, 2, False, "INSERT"),
        (2, 3, False, "UPDATE"),
        (3, 3, False, "DELETE"),
    ]


def test_of_two_tables_at_the_same_time_the_deletion_wins_and_else_the_first_table_by_name(tmp_path: Path) -> None:
    # So many that digests, which are as good as random, would not come out in this order.
    alike = [version(number, 1, title=str(number)) for number in range(10, 30)]
    both = {
        REQUESTS.name: [*alike, version(2, 1, deleted=True), version(3, 1, deleted=True)],
        ALERTS.name: [*alike, version(2, 1), version(3, 1, deleted=True)],
    }
    rows = built(both, tmp_path)
    assert [(row["source_id"], row["source_table"], row["change_type"]) for row in rows] == [
        *((str(number), "alerts", "INSERT") for number in range(10, 20)),
        ("2", "service/requests", "DELETE"),
        *((str(number), "alerts", "INSERT") for number in range(20, 30)),
        ("3", "alerts", "DELETE"),
    ]


def test_a_record_that_moves_to_another_table_is_one_history(tmp_path: Path) -> None:
    rows = built({REQUESTS.name: [version(1, 1)], ALERTS.name: [version(1, 2)]}, tmp_path)
    assert [(row["source_table"], row["change_type"], row["is_current"]) for row in rows] == [
        ("service/requests", "INSERT", False),
        ("alerts", "UPDATE", True),
    ]


def test_texts_that_join_to_the_same_text_are_not_taken_for_equal(tmp_path: Path) -> None:
    said = [("ab", "c"), ("a", "bc"), ("a,b", ""), ("a", ",b"), ("", None), (None, ""), (None, None), ("-", None)]
    # The raw column `level` is the canonical title.
    alerts = [version(1, minute, level=title, title=level) for minute, (title, level) in enumerate(said)]
    assert len(built({ALERTS.name: alerts}, tmp_path)) == len(said)


def test_nothing_that_the_backfill_adds_and_no_number_of_repeats_changes_a_byte(tmp_path: Path) -> None:
    contents = []
    for run in ("1", "2"):
        storage = Folder(tmp_path / run)
        lake = lake_on(storage)
        for _ in range(int(run)):
            store(lake, {REQUESTS.name: HISTORY}, run=run)
            build(lake)
        contents.append(content(storage))
    assert contents[0] == contents[1]
