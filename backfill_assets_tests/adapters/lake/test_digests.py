"""Digests of what files hold: equal for equal rows however they are stored, and different for anything else."""

from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from backfill_assets.adapters.lake.digests import Holding, holding_of

MOMENT = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("version", MOMENT),
        ("name", pa.string()),
        ("note", pa.string()),
        ("hours", pa.float64()),
        ("open", pa.bool_()),
        ("due", pa.date32()),
        ("_backfill_job_id", pa.string()),
    ]
)


def row(record_id: int = 1, **values: Any) -> dict[str, Any]:
    return {"id": record_id, "version": datetime(2024, 1, 7, record_id, tzinfo=UTC), **values}


def day(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=SCHEMA)


def holding(*days: pa.Table) -> Holding:
    return holding_of(days, ("id", "version"), ours="_backfill_")


FULL = row(1, name="pump", note="é", hours=1.5, open=True, due=date(2024, 1, 9))


@pytest.mark.parametrize(
    "values",
    [
        {"name": "pump."},
        {"name": None},
        {"name": ""},
        {"name": "pum", "note": "pé"},
        {"name": "pumpé", "note": ""},
        {"name": "é", "note": "pump"},
        {"hours": 1.5000000000000002},
        {"hours": None},
        {"open": False},
        {"due": date(2024, 1, 10)},
    ],
)
def test_any_other_value_makes_another_digest_of_the_content_only(values: dict[str, Any]) -> None:
    before, after = holding(day(FULL)), holding(day({**FULL, **values}))
    assert before.content_digest != after.content_digest
    assert before.identity_digest == after.identity_digest


def test_a_value_that_goes_to_the_other_row_makes_another_digest() -> None:
    one, other = row(1, name="a"), row(2, name=None)
    swapped = [row(1, name=None), row(2, name="a")]
    assert holding(day(one, other)).content_digest != holding(day(*swapped)).content_digest


def test_a_letter_that_goes_to_the_next_row_makes_another_digest() -> None:
    one, other = [row(1, name="ab"), row(2, name="c")], [row(1, name="a"), row(2, name="bc")]
    assert holding(day(*one)).content_digest != holding(day(*other)).content_digest


def test_other_ids_make_another_digest_of_the_identities() -> None:
    assert holding(day(row(1))).identity_digest != holding(day({**row(1), "id": 2})).identity_digest


def test_the_order_of_rows_and_of_days_does_not_matter() -> None:
    one, two, three = row(1, name="a"), row(2), row(3, note="c")
    assert holding(day(one, two), day(three)) == holding(day(three), day(two, one))


def test_neither_columns_without_values_nor_ours_nor_the_order_of_columns_matter() -> None:
    whole = day({**FULL, "_backfill_job_id": "one"})
    other = whole.set_column(7, "_backfill_job_id", pa.array(["two"])).append_column("more", pa.nulls(1, pa.string()))
    assert holding(whole) == holding(other.select(other.column_names[::-1]))


def test_a_file_without_a_column_counts_as_one_in_which_it_has_no_value() -> None:
    one, two = day(row(1, name="a", note="b")), day(row(2, name="c"))
    assert holding(one, two.drop_columns(["note"])) == holding(one, two)
    assert holding(one.drop_columns(["note"]), two) != holding(one, two)


def test_a_column_of_another_type_in_one_file_is_told_apart_by_its_values() -> None:
    one, two = day(row(1, hours=1.5)), day(row(2, hours=2))
    whole = two.set_column(4, "hours", two["hours"].cast(pa.int64()))
    other = two.set_column(4, "hours", pa.array([3], pa.int64()))
    assert holding(one, whole) == holding(one, whole)
    assert holding(one, whole).content_digest != holding(one, other).content_digest


def test_how_a_file_is_compressed_and_cut_into_pages_does_not_matter() -> None:
    rows = day(*(row(1 + n, name=f"name {n}", note="x" * n if n % 3 else None) for n in range(20)))
    plain, cut = pa.BufferOutputStream(), pa.BufferOutputStream()
    pq.write_table(rows, plain, compression="none", use_dictionary=False)
    pq.write_table(rows, cut, compression="zstd", row_group_size=3)
    read = [pq.read_table(pa.BufferReader(sink.getvalue())) for sink in (plain, cut)]
    assert holding(read[0]) == holding(read[1]) == holding(rows.slice(0, 20)) == holding(pa.concat_tables([rows]))


def test_a_slice_counts_as_what_it_shows() -> None:
    rows = day(row(1, name="one", open=True), row(2, name="two", open=False), row(3, name=None, open=True))
    assert holding(rows.slice(1)) == holding(day(row(2, name="two", open=False), row(3, open=True)))


def test_an_id_is_counted_once_however_many_versions_it_has() -> None:
    found = holding(day(row(1), {**row(2), "id": 1}), day({**row(3), "id": 1}, row(4)))
    assert (found.rows, found.ids) == (4, 2)


def test_nothing_has_a_digest_too() -> None:
    assert holding() == holding(SCHEMA.empty_table())
    assert len(holding().content_digest) == 64
