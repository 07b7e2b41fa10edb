"""Reading raw files back: which days have a file, what they hold, and whether a merge would change them."""

from datetime import date, timedelta

import pytest

from backfill_assets.adapters.lake.raw import RawLake
from backfill_assets.adapters.lake.storage import Storage
from backfill_assets.core.windows import BEGINNING
from backfill_assets_tests.adapters.lake.tables import DAY, MIDNIGHT, TABLE, arrow, lake_on, merge, put, row, stored

NEXT = DAY + timedelta(days=1)
OLD = date(1, 1, 1)


@pytest.fixture
def lake(storage: Storage) -> RawLake:
    return lake_on(storage)


def test_the_days_of_a_span_that_have_a_file_are_told_in_order(lake: RawLake) -> None:
    assert lake.days(TABLE, BEGINNING, MIDNIGHT) == []
    for day in (NEXT, OLD, DAY):
        lake.merge(TABLE, {day: arrow([row(1)])})
    assert lake.days(TABLE, BEGINNING, MIDNIGHT + timedelta(days=2)) == [OLD, DAY, NEXT]
    assert lake.days(TABLE, MIDNIGHT, MIDNIGHT + timedelta(days=1)) == [DAY]


def test_a_holding_is_of_the_files_and_not_of_what_was_merged_now(lake: RawLake) -> None:
    merge(lake, row(1), row(2))
    before = lake.holding(TABLE, [DAY])
    assert (before.rows, before.ids) == (2, 2)
    merge(lake, row(1))
    assert lake.holding(TABLE, [DAY]) == lake.holding(TABLE, [DAY, NEXT]) == before
    merge(lake, row(3))
    assert lake.holding(TABLE, [DAY]).rows == 3


def test_what_a_merge_would_change_is_told_and_left_as_it_is(lake: RawLake, storage: Storage) -> None:
    merge(lake, row(1, summary="old"), row(2))
    before = stored(storage).content
    assert lake.differing(TABLE, {DAY: arrow([row(1, summary="old")])}) == []
    assert lake.differing(TABLE, {NEXT: arrow([row(3)]), DAY: arrow([row(1, summary="new")])}) == [DAY, NEXT]
    assert stored(storage).content == before


def test_a_file_of_another_name_belongs_to_no_day(lake: RawLake, storage: Storage) -> None:
    merge(lake, row(1))
    with storage.batch(TABLE.folder) as batch:
        assert batch.put(f"{TABLE.folder}/notes.parquet", stored(storage).content, seen=None)
    assert lake.days(TABLE, BEGINNING, MIDNIGHT + timedelta(days=9)) == [DAY]


def test_a_writer_keeps_others_out_until_its_block_ends(lake: RawLake, storage: Storage) -> None:
    with lake.writing(TABLE) as merge_now:
        merge_now({DAY: arrow([row(1)])})
        assert lake.holding(TABLE, [DAY]).rows == 1
    put(storage, stored(storage).content.to_pybytes())
    assert merge(lake, row(1)) == (0, 0)
