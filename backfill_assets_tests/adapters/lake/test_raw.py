"""One day's file: what a merge adds, changes, keeps and refuses, and what the file looks like, in every storage."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from backfill_assets.adapters.lake.raw import MANY_ROWS, RawLake
from backfill_assets.adapters.lake.storage import Storage
from backfill_assets.core.source import ColumnType
from backfill_assets.errors import PermanentError
from backfill_assets_tests.adapters.lake.tables import (
    DAY,
    MIDNIGHT,
    TABLE,
    arrow,
    content,
    lake_on,
    merge,
    put,
    row,
    stored,
)


@pytest.fixture
def lake(storage: Storage) -> RawLake:
    return lake_on(storage)


def schema_of(storage: Storage) -> pa.Schema:
    return pq.read_schema(pa.BufferReader(stored(storage).content))


def test_a_file_lies_where_the_installed_readers_look_for_it(lake: RawLake, storage: Storage) -> None:
    merge(lake, row(1))
    [file] = storage.names("acme/raw/desk/service_tickets")
    assert file == "acme/raw/desk/service_tickets/2024-01-07T00:00:00.000000Z.parquet"
    assert lake.place(TABLE, DAY) == storage.place(file)


def test_the_bytes_of_the_file_are_told(lake: RawLake, storage: Storage) -> None:
    for rows in ([row(1)], [row(1)], [row(2)]):
        assert lake.merge(TABLE, {DAY: arrow(rows)})[DAY].bytes == stored(storage).content.size


def test_declared_columns_come_first_and_typed_then_the_others_as_text_and_ours_last(
    lake: RawLake, storage: Storage
) -> None:
    merge(lake, row(1, zeta="z", alpha="a", hours=2.0, due=DAY, open=True))
    schema = schema_of(storage)
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


@pytest.mark.parametrize(("rows", "compression"), [(1, "SNAPPY"), (MANY_ROWS, "ZSTD")])
def test_every_column_is_compressed_and_large_files_well(
    lake: RawLake, storage: Storage, rows: int, compression: str
) -> None:
    merge(lake, *(row(number, hours=1.0) for number in range(rows)))
    with pq.ParquetFile(pa.BufferReader(stored(storage).content)) as file:
        group = file.metadata.row_group(0)
        assert {group.column(i).compression for i in range(group.num_columns)} == {compression}


def test_rows_lie_in_the_order_of_id_and_version(lake: RawLake, storage: Storage) -> None:
    merge(lake, row(2), row(10), row(1, 5), row(1, 3))
    merge(lake, row(1, 4), row(3))
    order = [(r["id"], (r["changed"] - MIDNIGHT).seconds // 60) for r in content(storage)]
    assert order == [(1, 3), (1, 4), (1, 5), (2, 0), (3, 0), (10, 0)]


def test_a_repeat_changes_no_byte_and_does_not_touch_the_file(lake: RawLake, storage: Storage) -> None:
    rows = [row(1, hours=1.5), row(2, open=None)]
    assert merge(lake, *rows) == (2, 0)
    before = stored(storage)
    assert merge(lake, *({**r, "_backfill_job_id": "job 2"} for r in rows)) == (0, 0)
    assert stored(storage) == before


def test_a_version_that_comes_twice_in_one_merge_is_stored_once(lake: RawLake, storage: Storage) -> None:
    assert merge(lake, row(1, hours=1.0), row(1, hours=2.0)) == (1, 0)
    assert [r["hours"] for r in content(storage)] == [2.0]
    assert merge(lake, row(2), row(2)) == (1, 0)
    assert [r["id"] for r in content(storage)] == [1, 2]


def test_changed_content_of_a_version_is_taken_over_and_its_first_run_stays_named(
    lake: RawLake, storage: Storage
) -> None:
    merge(lake, row(1, hours=1.0, note="old"), row(2, hours=1.0))
    assert merge(lake, row(1, run="2", hours=9.0, note="new"), row(3, run="2")) == (1, 1)
    first, second, third = content(storage)
    assert (first["hours"], first["note"], first["_backfill_job_id"]) == (9.0, "new", "job 1")
    assert (second["hours"], second["_backfill_job_id"]) == (1.0, "job 1")
    assert third["_backfill_job_id"] == "job 2"


def test_a_value_that_became_null_is_taken_over(lake: RawLake, storage: Storage) -> None:
    merge(lake, row(1, hours=1.0))
    assert merge(lake, row(1, hours=None)) == (0, 1)
    assert content(storage)[0]["hours"] is None


def test_a_column_that_appears_later_is_null_before_and_text_for_good(lake: RawLake, storage: Storage) -> None:
    merge(lake, row(1))
    assert merge(lake, row(2, extra="5")) == (1, 0)
    assert [r["extra"] for r in content(storage)] == [None, "5"]
    assert schema_of(storage).field("extra").type == pa.string()


def test_a_column_that_is_not_read_any_more_keeps_what_was_stored(lake: RawLake, storage: Storage) -> None:
    merge(lake, row(1, extra="kept"))
    assert merge(lake, row(1), row(2)) == (1, 0)
    assert [r["extra"] for r in content(storage)] == ["kept", None]


def test_a_column_declared_later_takes_its_type_where_the_stored_texts_allow(lake: RawLake, storage: Storage) -> None:
    merge(lake, row(1, size="12"))
    declared = replace(TABLE, types={**TABLE.types, "size": ColumnType.INTEGER})
    merge(lake, row(2, size=7), table=declared)
    assert [r["size"] for r in content(storage)] == [12, 7]


@pytest.mark.parametrize(
    ("first", "then", "value"),
    [(ColumnType.STRING, ColumnType.INTEGER, 1), (ColumnType.DATE, ColumnType.BOOLEAN, True)],
)
def test_a_column_that_cannot_take_the_type_declared_now_is_told_and_left_alone(
    lake: RawLake, storage: Storage, first: ColumnType, then: ColumnType, value: Any
) -> None:
    kept = "not a number" if first is ColumnType.STRING else DAY
    merge(lake, row(1, size=kept), table=replace(TABLE, types={**TABLE.types, "size": first}))
    before = stored(storage).content
    with pytest.raises(PermanentError, match=r"holds column 'size' as .*, which cannot become .*declare that one"):
        merge(lake, row(2, size=value), table=replace(TABLE, types={**TABLE.types, "size": then}))
    assert stored(storage).content == before


def test_a_file_that_cannot_be_read_is_told_and_not_taken_for_an_empty_one(lake: RawLake, storage: Storage) -> None:
    merge(lake, row(1))
    put(storage, b"no parquet")
    with pytest.raises(PermanentError, match=r"000000Z\.parquet cannot be read"):
        merge(lake, row(2))
    with pytest.raises(PermanentError, match="cannot be read"):
        list(lake.versions(TABLE))
    assert stored(storage).content.to_pybytes() == b"no parquet"


def test_every_version_of_every_day_is_told(lake: RawLake) -> None:
    assert list(lake.versions(TABLE)) == []
    next_day = datetime(2024, 1, 8, 1, tzinfo=UTC)
    days = {next_day.date(): [{"id": 1, "changed": next_day}], DAY: [row(1), row(1, 5), row(2)]}
    lake.merge(TABLE, {day: arrow(rows) for day, rows in days.items()})
    told = [(record_id, version) for record_id, version in lake.versions(TABLE)]
    minute_five = MIDNIGHT.replace(minute=5)
    assert told == [(1, MIDNIGHT), (1, minute_five), (2, MIDNIGHT), (1, next_day)]


def test_a_day_without_rows_makes_no_file(lake: RawLake) -> None:
    assert lake.merge(TABLE, {DAY: arrow([row(1)]).slice(1)})[DAY].bytes == 0
    assert list(lake.versions(TABLE)) == []
