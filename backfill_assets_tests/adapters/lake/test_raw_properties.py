"""Whatever is merged, in whatever order and how often: the same versions with the same content."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backfill_assets.adapters.lake.folder import Folder
from backfill_assets.adapters.lake.raw import ARROW_TYPES, OURS, RawLake
from backfill_assets.adapters.lake.storage import Storage
from backfill_assets.core.source import ColumnType
from backfill_assets_tests.adapters.lake.tables import DAY, TABLE, arrow, content, lake_on, row, stored

COLUMNS = st.fixed_dictionaries(
    {},
    optional={
        "open": st.none() | st.booleans(),
        "hours": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "due": st.none() | st.just(DAY),
        "alpha": st.none() | st.text(max_size=3),
        "zeta": st.none() | st.text(max_size=3),
    },
)
KEYS = st.tuples(st.integers(1, 5), st.integers(0, 3))
ROWS = st.dictionaries(KEYS, COLUMNS, min_size=1, max_size=8).map(
    lambda found: [{**row(record_id, minute), **columns} for (record_id, minute), columns in found.items()]
)


@st.composite
def merges(draw: st.DrawFn) -> tuple[Sequence[Mapping[str, Any]], Sequence[Sequence[Mapping[str, Any]]]]:
    """Rows, and a way to merge all of them: in batches of any order, any of them more than once."""
    rows = draw(ROWS)
    batches = draw(st.lists(st.lists(st.sampled_from(rows), min_size=1, max_size=4), max_size=4))
    rest = draw(st.permutations([r for r in rows if not any(r in batch for batch in batches)]))
    return rows, draw(st.permutations([*batches, *([rest] if rest else [])]))


def known(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What is known of each row: a column without a value says the same as none."""
    told = ({name: value for name, value in r.items() if value is not None} for r in rows)
    return sorted(told, key=lambda r: (r["id"], r["changed"]))


def empty_lake(factory: pytest.TempPathFactory) -> tuple[RawLake, Storage]:
    storage = Folder(factory.mktemp("lake"))
    return lake_on(storage), storage


@settings(max_examples=60, deadline=None)
@given(case=merges())
def test_order_and_repetition_of_merges_do_not_matter(
    case: tuple[Sequence[Mapping[str, Any]], Sequence[Sequence[Mapping[str, Any]]]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    rows, batches = case
    lake, storage = empty_lake(tmp_path_factory)
    for batch in batches:
        lake.merge(TABLE, {DAY: arrow(batch)})
    assert known(content(storage)) == known(rows)
    assert list(lake.versions(TABLE)) == sorted((r["id"], r["changed"]) for r in rows)


@settings(max_examples=40, deadline=None)
@given(case=merges())
def test_once_all_is_known_no_merge_touches_the_file(
    case: tuple[Sequence[Mapping[str, Any]], Sequence[Sequence[Mapping[str, Any]]]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    rows, batches = case
    lake, storage = empty_lake(tmp_path_factory)
    lake.merge(TABLE, {DAY: arrow(rows)})
    before = stored(storage)
    for batch in batches:
        merged = lake.merge(TABLE, {DAY: arrow([{**r, f"{OURS}job_id": "job 2"} for r in batch])})[DAY]
        assert (merged.rows_added, merged.rows_changed) == (0, 0)
    assert stored(storage) == before


@settings(max_examples=40, deadline=None)
@given(first=ROWS, then=ROWS)
def test_types_never_flip_and_the_first_run_of_a_version_stays_named(
    first: Sequence[Mapping[str, Any]], then: Sequence[Mapping[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    lake, storage = empty_lake(tmp_path_factory)
    lake.merge(TABLE, {DAY: arrow(first)})
    lake.merge(TABLE, {DAY: arrow([{**r, f"{OURS}job_id": "job 2"} for r in then])})
    schema: pa.Schema = pq.read_schema(pa.BufferReader(stored(storage).content))
    for field in schema:
        assert field.type == ARROW_TYPES[TABLE.types.get(field.name, ColumnType.STRING)]
    keys = {(r["id"], r["changed"]) for r in first}
    for r in content(storage):
        assert r[f"{OURS}job_id"] == ("job 1" if (r["id"], r["changed"]) in keys else "job 2")
