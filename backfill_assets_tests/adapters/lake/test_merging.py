"""The arithmetic of a day's merge, beside the same thing said row by row."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfill_assets.adapters.lake.merging import conform, merge_day, once_each
from backfill_assets.errors import PermanentError

Rows = Sequence[Mapping[str, Any]]

KEY = ("id", "changed")
FRESH = {"id", "changed", "text", "number"}
MOMENTS = [datetime(2024, 1, 7, tzinfo=UTC) + timedelta(microseconds=n) for n in range(3)]
IDS: Mapping[pa.DataType, st.SearchStrategy[Any]] = {
    pa.int64(): st.sampled_from([-1, 0, 2, 10, 2**62]),
    pa.string(): st.sampled_from(["", "10", "2", "a", "ä"]),
}


def schema(id_type: pa.DataType) -> pa.Schema:
    moment = pa.timestamp("us", tz="UTC")
    kinds = {"id": id_type, "changed": moment, "text": pa.string(), "number": pa.float64(), "run": pa.string()}
    return pa.schema(list(kinds.items()))


def rows_of(id_type: pa.DataType) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.lists(
        st.fixed_dictionaries(
            {
                "id": IDS[id_type],
                "changed": st.sampled_from(MOMENTS),
                "text": st.sampled_from([None, "", "x"]),
                "number": st.sampled_from([None, 0.0, 1.5]),
                "run": st.sampled_from([None, "1", "2"]),
            }
        ),
        max_size=12,
    )


def key_of(row: Mapping[str, Any]) -> tuple[Any, Any]:
    return row["id"], row["changed"]


def by_key(rows: Rows) -> dict[tuple[Any, Any], dict[str, Any]]:
    return {key_of(row): dict(row) for row in rows}


def table_of(rows: Rows, id_type: pa.DataType) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=schema(id_type))


CASES = st.sampled_from(list(IDS)).flatmap(lambda kind: st.tuples(st.just(kind), rows_of(kind), rows_of(kind)))


@given(case=CASES)
def test_of_rows_that_repeat_a_key_the_last_one_is_kept_in_the_order_of_keys(case: Any) -> None:
    id_type, rows, more = case
    # In pieces, as a table of many pages is.
    pieces = pa.concat_tables([table_of(rows, id_type), table_of(more, id_type)])
    kept = by_key([*rows, *more])
    assert once_each(pieces, KEY).to_pylist() == [kept[key] for key in sorted(kept)]


@given(case=CASES)
def test_a_merge_is_what_it_would_be_row_by_row(case: Any) -> None:
    id_type, first, then = case
    stored, fetched = (once_each(table_of(rows, id_type), KEY) for rows in (first, then))
    old, new = by_key(first), by_key(then)
    changed = [key for key in new if key in old and any(old[key][name] != new[key][name] for name in FRESH)]
    expected = {**new, **old}
    for key in changed:
        expected[key] = {**old[key], **{name: new[key][name] for name in FRESH}}
    done = merge_day(stored, fetched, KEY, fresh=FRESH)
    assert (done.rows_added, done.rows_changed) == (len(new.keys() - old.keys()), len(changed))
    content = stored if done.content is None else done.content
    assert content.to_pylist() == [expected[key] for key in sorted(expected)]
    assert (done.content is None) == (not done.rows_added and not done.rows_changed)


def test_a_file_from_elsewhere_that_repeats_a_key_counts_it_once() -> None:
    twice = table_of([{"id": 1, "changed": MOMENTS[0], "text": text} for text in ("a", "b")], pa.int64())
    fetched = table_of([{"id": 1, "changed": MOMENTS[0], "text": "b"}], pa.int64())
    assert merge_day(twice, fetched, KEY, fresh=FRESH).content is None
    more = table_of([{"id": 2, "changed": MOMENTS[0], "text": "c"}], pa.int64())
    done = merge_day(twice, more, KEY, fresh=FRESH)
    assert (done.rows_added, done.rows_changed) == (1, 0)
    assert done.content is not None
    assert done.content["text"].to_pylist() == ["b", "c"]


def test_a_row_without_an_id_is_one_key_too() -> None:
    rows = table_of([{"id": None, "changed": MOMENTS[0], "text": text} for text in ("a", "b")], pa.int64())
    assert once_each(rows, KEY)["text"].to_pylist() == ["b"]


def test_a_column_that_is_not_there_is_null_and_one_of_another_type_becomes_it() -> None:
    wanted = pa.schema([("a", pa.int64()), ("b", pa.string())])
    assert conform(pa.table({"a": ["1", None]}), wanted, where="x").to_pylist() == [
        {"a": 1, "b": None},
        {"a": None, "b": None},
    ]
    with pytest.raises(PermanentError, match="x holds column 'a' as string, which cannot become int64"):
        conform(pa.table({"a": ["one"]}), wanted, where="x")
