"""One day's file: what a merge adds, changes, keeps and refuses, and what the file looks like."""

import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from backfill_assets.adapters.lake.raw import RawLake
from backfill_assets.core.source import ColumnType
from backfill_assets.errors import PermanentError
from backfill_assets_tests.adapters.lake.tables import DAY, MIDNIGHT, TABLE, arrow, content, lake_at, merge, row


@pytest.fixture
def lake(tmp_path: Path) -> RawLake:
    return lake_at(tmp_path / "lake")


def schema_of(path: Path) -> pa.Schema:
    return pq.read_schema(path)


def test_a_file_lies_where_the_installed_readers_look_for_it(lake: RawLake, tmp_path: Path) -> None:
    merge(lake, row(1))
    [file] = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert file.relative_to(tmp_path) == Path("lake/acme/raw/desk/service_tickets/2024-01-07T00:00:00.000000Z.parquet")


def test_declared_columns_come_first_and_typed_then_the_others_as_text_and_ours_last(lake: RawLake) -> None:
    merge(lake, row(1, zeta="z", alpha="a", hours=2.0, due=DAY, open=True))
    schema = schema_of(lake.path(TABLE, DAY))
    assert [(field.name, str(field.type)) for field in schema] == [
        ("id", "int64"),
        ("open", "bool"),
        ("hours", "double"),
        ("due", "date32[day]"),
        ("changed", "timestamp[us, tz=UTC]"),
        ("alpha", "string"),
        ("zeta", "string"),
        ("_backfill_job_id", "string"),
    ]


def test_every_column_is_compressed_with_zstd(lake: RawLake) -> None:
    merge(lake, row(1, hours=1.0))
    with pq.ParquetFile(lake.path(TABLE, DAY)) as file:
        group = file.metadata.row_group(0)
        assert {group.column(i).compression for i in range(group.num_columns)} == {"ZSTD"}


def test_rows_lie_in_the_order_of_id_and_version(lake: RawLake) -> None:
    merge(lake, row(2), row(10), row(1, 5), row(1, 3))
    merge(lake, row(1, 4), row(3))
    stored = [(r["id"], (r["changed"] - MIDNIGHT).seconds // 60) for r in content(lake)]
    assert stored == [(1, 3), (1, 4), (1, 5), (2, 0), (3, 0), (10, 0)]


def test_a_repeat_changes_no_byte_and_does_not_touch_the_file(lake: RawLake) -> None:
    rows = [row(1, hours=1.5), row(2, open=None)]
    assert merge(lake, *rows) == (2, 0)
    path = lake.path(TABLE, DAY)
    os.utime(path, (1, 1))
    before = path.read_bytes()
    assert merge(lake, *({**r, "_backfill_job_id": "job 2"} for r in rows)) == (0, 0)
    assert (path.read_bytes(), path.stat().st_mtime) == (before, 1)


def test_a_version_that_comes_twice_in_one_merge_is_stored_once(lake: RawLake) -> None:
    assert merge(lake, row(1, hours=1.0), row(1, hours=2.0)) == (1, 0)
    assert [r["hours"] for r in content(lake)] == [2.0]
    assert merge(lake, row(2), row(2)) == (1, 0)
    assert [r["id"] for r in content(lake)] == [1, 2]


def test_changed_content_of_a_version_is_taken_over_and_its_first_run_stays_named(lake: RawLake) -> None:
    merge(lake, row(1, hours=1.0, note="old"), row(2, hours=1.0))
    assert merge(lake, row(1, run="2", hours=9.0, note="new"), row(3, run="2")) == (1, 1)
    first, second, third = content(lake)
    assert (first["hours"], first["note"], first["_backfill_job_id"]) == (9.0, "new", "job 1")
    assert (second["hours"], second["_backfill_job_id"]) == (1.0, "job 1")
    assert third["_backfill_job_id"] == "job 2"


def test_a_value_that_became_null_is_taken_over(lake: RawLake) -> None:
    merge(lake, row(1, hours=1.0))
    assert merge(lake, row(1, hours=None)) == (0, 1)
    assert content(lake)[0]["hours"] is None


def test_a_column_that_appears_later_is_null_before_and_text_for_good(lake: RawLake) -> None:
    merge(lake, row(1))
    assert merge(lake, row(2, extra="5")) == (1, 0)
    assert [r["extra"] for r in content(lake)] == [None, "5"]
    assert schema_of(lake.path(TABLE, DAY)).field("extra").type == pa.string()


def test_a_column_that_is_not_read_any_more_keeps_what_was_stored(lake: RawLake) -> None:
    merge(lake, row(1, extra="kept"))
    assert merge(lake, row(1), row(2)) == (1, 0)
    assert [r["extra"] for r in content(lake)] == ["kept", None]


def test_a_column_declared_later_takes_its_type_where_the_stored_texts_allow(lake: RawLake) -> None:
    merge(lake, row(1, size="12"))
    declared = replace(TABLE, types={**TABLE.types, "size": ColumnType.INTEGER})
    merge(lake, row(2, size=7), table=declared)
    assert [r["size"] for r in content(lake)] == [12, 7]


@pytest.mark.parametrize(
    ("first", "then", "value"),
    [(ColumnType.STRING, ColumnType.INTEGER, 1), (ColumnType.DATE, ColumnType.BOOLEAN, True)],
)
def test_a_column_that_cannot_take_the_type_declared_now_is_told_and_left_alone(
    lake: RawLake, first: ColumnType, then: ColumnType, value: Any
) -> None:
    stored = "not a number" if first is ColumnType.STRING else DAY
    merge(lake, row(1, size=stored), table=replace(TABLE, types={**TABLE.types, "size": first}))
    before = lake.path(TABLE, DAY).read_bytes()
    with pytest.raises(PermanentError, match=r"holds column 'size' as .*, which cannot become .*declare that one"):
        merge(lake, row(2, size=value), table=replace(TABLE, types={**TABLE.types, "size": then}))
    assert lake.path(TABLE, DAY).read_bytes() == before


def test_what_a_killed_process_left_behind_is_harmless(lake: RawLake) -> None:
    merge(lake, row(1))
    draft = lake.path(TABLE, DAY).with_suffix(".draft")
    draft.write_bytes(b"half a file, longer than what comes next" * 1000)
    assert list(lake.versions(TABLE)) == [(1, MIDNIGHT)]
    assert merge(lake, row(2)) == (1, 0)
    assert [r["id"] for r in content(lake)] == [1, 2]
    assert not draft.exists()


def test_a_file_that_cannot_be_read_is_told_and_not_taken_for_an_empty_one(lake: RawLake) -> None:
    merge(lake, row(1))
    lake.path(TABLE, DAY).write_bytes(b"no parquet")
    with pytest.raises(PermanentError, match=r"000000Z\.parquet cannot be read"):
        merge(lake, row(2))
    with pytest.raises(PermanentError, match="cannot be read"):
        list(lake.versions(TABLE))
    assert lake.path(TABLE, DAY).read_bytes() == b"no parquet"


def test_a_folder_that_cannot_be_made_is_told_with_its_path(lake: RawLake, tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("a file where the folder should be")
    with pytest.raises(
        PermanentError,
        match=r"lake/acme/raw/desk/service_tickets could not be written \(.*\); make room or give the right",
    ):
        merge(lake, row(1))


def test_every_version_of_every_day_is_told(lake: RawLake) -> None:
    assert list(lake.versions(TABLE)) == []
    next_day = datetime(2024, 1, 8, 1, tzinfo=UTC)
    days = {next_day.date(): [{"id": 1, "changed": next_day}], DAY: [row(1), row(1, 5), row(2)]}
    lake.merge(TABLE, {day: arrow(rows) for day, rows in days.items()})
    told = [(record_id, version) for record_id, version in lake.versions(TABLE)]
    minute_five = MIDNIGHT.replace(minute=5)
    assert told == [(1, MIDNIGHT), (1, minute_five), (2, MIDNIGHT), (1, next_day)]


def test_the_oldest_write_is_of_all_tables_of_one_tenants_service(lake: RawLake) -> None:
    assert lake.oldest_write("acme", "desk") is None
    for name, age in [("service_tickets", 500), ("notes", 300)]:
        table = replace(TABLE, table=name)
        merge(lake, row(1), table=table)
        os.utime(lake.path(table, DAY), (age, age))
    for other in (replace(TABLE, tenant="other"), replace(TABLE, service="other")):
        merge(lake, row(1), table=other)
        os.utime(lake.path(other, DAY), (1, 1))
    lake.path(TABLE, DAY).with_suffix(".draft").write_bytes(b"")
    assert lake.oldest_write("acme", "desk") == datetime.fromtimestamp(300, UTC)


def test_a_day_without_rows_makes_no_file(lake: RawLake) -> None:
    assert lake.merge(TABLE, {DAY: arrow([row(1)]).slice(1)})[DAY].bytes == 0
    assert list(lake.versions(TABLE)) == []
