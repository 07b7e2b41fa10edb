"""Many records at once become the same rows and the same refusals as one by one."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backfill_assets.core.source import ColumnType, TableSpec
from backfill_assets.errors import RejectedRecord
from backfill_assets.tenant_history.pages import PageFitter, by_day, rows_by_day
from backfill_assets.tenant_history.reading import raw_table
from backfill_assets.tenant_history.rows import DELETED, RowFitter

TABLE = TableSpec(
    name="things",
    version_field="_info/changed",
    incremental_field="changed",
    deleted_field="gone",
    columns={
        "id": ColumnType.INTEGER,
        "n": ColumnType.NUMBER,
        "i": ColumnType.INTEGER,
        "b": ColumnType.BOOLEAN,
        "t": ColumnType.TIMESTAMP,
        "d": ColumnType.DATE,
        "s": ColumnType.STRING,
    },
)
RAW = raw_table("acme", "desk", TABLE)
MOMENT = "2024-01-07T10:00:00Z"

texts = st.sampled_from(
    ["", "x", "true", "false", "12", "-3", "1_0", "0x1F", "+5", "1.5", "nan", "1e5", " 7 ", "\ud800", "2024-02-30"]
)
moments = st.sampled_from(
    [
        MOMENT,
        "2024-01-07",
        "2024-01-07T10:00:00",
        "2024-01-07 10:00:00",
        "2024-01-07T10:00:00.000+0000",
        "2024-01-07T10:00:00.1234567Z",
        "2024-01-07T10:00:00+05:30",
        "2024-01-07T24:00:00Z",
        "2024-01-07T10:00:60Z",
        "2024-01-07T10Z",
        "20240107T100000Z",
        "2024-W02-1",
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "2024-01-07T10:00:00z",
    ]
)
numbers = st.one_of(st.integers(-5, 5), st.sampled_from([2**53 + 1, 2**63, -(2**70), 1.0, 1.5, float("inf"), 1e300]))
values = st.one_of(
    st.none(),
    st.booleans(),
    numbers,
    texts,
    moments,
    st.lists(st.integers(0, 3), max_size=2),
    st.dictionaries(st.sampled_from(["x", "__y", "_backfill_z"]), st.integers(0, 3), max_size=2),
)
fields = st.dictionaries(
    st.sampled_from(["n", "i", "b", "t", "d", "s", "gone", "u", "v", "v__x", "_backfill_q", "\ud800", DELETED]),
    values,
    max_size=6,
)
records = st.builds(
    lambda record_id, moment, rest: {"id": record_id, "_info": {"changed": moment}, **rest},
    st.one_of(st.integers(1, 9), values),
    st.one_of(st.just(MOMENT), moments, values),
    fields,
)


def one_by_one(page: list[Any]) -> tuple[list[Mapping[str, Any]], list[tuple[str, str]]]:
    rows, refused = [], []
    for record in page:
        try:
            rows.append(RowFitter(TABLE).fit(record).columns)
        except RejectedRecord as error:
            refused.append((repr(record), str(error)))
    return rows, sorted(refused)


def told(rows: list[Mapping[str, Any]]) -> list[str]:
    """Rows without what is null, in an order of their own."""
    return sorted(repr(sorted((k, _text(v)) for k, v in row.items() if v is not None)) for row in rows)


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else repr(value)


@given(page=st.lists(st.one_of(records, records, records, values), max_size=6))
@example(
    page=[{"id": 1, "_info": {"changed": MOMENT}, "t": "2024-01-07T10:00:00"}, {"id": 2, "_info": {"changed": MOMENT}}]
)
@example(page=[{}])
@example(page=[{"id": True, "_info": {"changed": MOMENT}}, {"id": 1.0, "_info": {"changed": MOMENT}}])
@example(page=[{"id": 1, "_info": {"changed": MOMENT}, "n": True}, {"id": 2, "_info": {"changed": MOMENT}, "i": 1.5}])
@example(page=[{"id": 1, "_info": {"changed": MOMENT}, "v": {"x": 1}, "v__x": 2}])
@example(page=[{"id": 1, "_info": {"changed": MOMENT}, "gone": "true", DELETED: 1}])
def test_a_page_gives_what_its_records_give_alone(page: list[Any]) -> None:
    rows, refused = one_by_one(page)
    found = PageFitter(RowFitter(TABLE), RAW).fit(page)
    assert told(found.rows.to_pylist()) == told(rows)
    assert sorted((repr(record), reason) for record, reason in found.rejected) == refused
    for field in found.rows.schema:
        assert field.type == RAW.schema([field.name]).field(0).type


def test_the_mark_of_deleted_records_is_a_column_of_its_own() -> None:
    page = [{"id": n, "_info": {"changed": MOMENT}, "gone": gone} for n, gone in enumerate([True, False, "true"])]
    found = PageFitter(RowFitter(TABLE), RAW).fit(page)
    assert {row["id"]: row[DELETED] for row in found.rows.to_pylist()} == {0: True, 1: False, 2: True}


def test_a_field_that_only_some_records_have_is_null_in_the_others() -> None:
    page = [{"id": 1, "_info": {"changed": MOMENT}, "new": 5}, {"id": 2, "_info": {"changed": MOMENT}}]
    found = PageFitter(RowFitter(TABLE), RAW).fit(page)
    assert {row["id"]: row["new"] for row in found.rows.to_pylist()} == {1: "5", 2: None}


@pytest.mark.parametrize(
    "first", [datetime(1, 1, 1, tzinfo=UTC), datetime(1969, 12, 30, 1, tzinfo=UTC), datetime(2024, 2, 27, tzinfo=UTC)]
)
def test_rows_are_parted_at_midnight_in_utc(first: datetime) -> None:
    versions = [first + n * timedelta(hours=7) for n in range(20)]
    rows = pa.table({"id": list(range(20)), "at": pa.array(versions, pa.timestamp("us", "UTC"))}).take(
        list(range(19, -1, -1))
    )
    parts = list(by_day(rows, "at"))
    assert [day for day, _ in parts] == sorted({version.date() for version in versions})
    assert all(version.date() == day for day, part in parts for version in part["at"].to_pylist())
    assert sorted(key for _, part in parts for key in part["id"].to_pylist()) == list(range(20))
    assert rows_by_day(rows, "at") == {day: len(part) for day, part in parts}


def test_no_rows_are_no_days() -> None:
    assert list(by_day(pa.table({}), "at")) == []
    assert rows_by_day(pa.table({}), "at") == {}
