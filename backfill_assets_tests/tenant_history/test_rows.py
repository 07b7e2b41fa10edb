"""What becomes of a record: a row with the declared types, or a rejection with its reason in words."""

from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfill_assets.adapters.lake.raw import RawLake
from backfill_assets.core.source import ColumnType, TableSpec
from backfill_assets.core.windows import utc_text
from backfill_assets.errors import RejectedRecord
from backfill_assets.tenant_history.reading import raw_table
from backfill_assets.tenant_history.rows import RowFitter, flatten
from backfill_assets_tests.tenant_history.worlds import NOW, TICKETS, World, ticket

WIDE = TableSpec(
    name="wide",
    version_field="_info/lastUpdated",
    incremental_field="lastUpdated",
    columns={
        "id": ColumnType.INTEGER,
        "count": ColumnType.INTEGER,
        "amount": ColumnType.NUMBER,
        "flag": ColumnType.BOOLEAN,
        "seen": ColumnType.TIMESTAMP,
        "due": ColumnType.DATE,
        "name": ColumnType.STRING,
        "company__id": ColumnType.INTEGER,
    },
)
PYTHON_TYPES: dict[ColumnType, type] = {
    ColumnType.INTEGER: int,
    ColumnType.NUMBER: float,
    ColumnType.BOOLEAN: bool,
    ColumnType.TIMESTAMP: datetime,
    ColumnType.DATE: date,
    ColumnType.STRING: str,
}
MOMENT = datetime(2024, 1, 3, 4, 5, 6, tzinfo=UTC)


def fit(record: Any, table: TableSpec = WIDE) -> dict[str, Any]:
    return dict(RowFitter(table).fit(record).columns)


def reason(record: Any) -> str:
    with pytest.raises(RejectedRecord) as rejected:
        RowFitter(WIDE).fit(record)
    return str(rejected.value)


def test_flattens_objects_and_writes_lists_as_json() -> None:
    record = {
        "id": 1,
        "company": {"id": 7, "_info": {"href": "x"}},
        "tags": [{"b": 1, "a": "ä"}, 2],
        "none": [],
        "empty": {},
        "nested": {"empty": {}, "list": []},
        "null": None,
    }
    assert flatten(record) == {
        "id": 1,
        "company__id": 7,
        "company___info__href": "x",
        "tags": '[{"a": "ä", "b": 1}, 2]',
        "none": None,
        "nested__list": None,
        "null": None,
    }


def test_the_order_in_which_a_service_sends_keys_changes_nothing() -> None:
    assert flatten({"a": [{"x": 1, "y": 2}]}) == flatten({"a": [{"y": 2, "x": 1}]})


@pytest.mark.parametrize(
    ("name", "sent", "stored"),
    [
        ("count", 3, 3),
        ("count", "3", 3),
        ("count", 3.0, 3),
        ("count", 2**63 - 1, 2**63 - 1),
        ("count", "", None),
        ("amount", 3, 3.0),
        ("amount", "2.5", 2.5),
        ("amount", "", None),
        ("flag", True, True),
        ("flag", "false", False),
        ("flag", "", None),
        ("seen", "2024-01-03T05:05:06+01:00", MOMENT),
        ("seen", "2024-01-03 04:05:06", MOMENT),
        ("seen", "", None),
        ("due", "2024-01-03", date(2024, 1, 3)),
        ("due", "2024-01-03T00:00:00Z", date(2024, 1, 3)),
        ("due", "", None),
        ("name", "x", "x"),
        ("name", 5, "5"),
        ("name", None, None),
        ("undeclared", 5, "5"),
        ("undeclared", 2.5, "2.5"),
        ("undeclared", True, "true"),
        ("undeclared", "5", "5"),
        ("undeclared", "", ""),
        ("undeclared", None, None),
    ],
)
def test_declared_columns_are_typed_and_all_others_are_text(name: str, sent: Any, stored: Any) -> None:
    found = fit(ticket(1, MOMENT, **{name: sent}))[name]
    assert (found, type(found)) == (stored, type(stored))


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ([1], "it is not an object but list"),
        (None, "it is not an object but NoneType"),
        (ticket(None, MOMENT), "it has no id in 'id'"),
        (ticket("", MOMENT), "it has no id in 'id'"),
        ({"_info": {"lastUpdated": "2024-01-01T00:00:00Z"}}, "it has no id in 'id'"),
        ({"id": 1}, "it has no time of change in '_info__lastUpdated'"),
        (ticket(1, ""), "it has no time of change in '_info__lastUpdated'"),
        (ticket(1, "yesterday"), "its field '_info__lastUpdated' holds 'yesterday', which is no timestamp"),
        (ticket(1, "0001-01-01T00:00:00+14:00"), "which is no timestamp"),
        (ticket("one", MOMENT), "its field 'id' holds 'one', which is no integer"),
        (ticket(1, MOMENT, count=1.5), "its field 'count' holds 1.5, which is no integer"),
        (ticket(1, MOMENT, count=True), "its field 'count' holds True, which is no integer"),
        (ticket(1, MOMENT, count=2**63), "its field 'count' holds 9223372036854775808, which is no integer"),
        (ticket(1, MOMENT, count=[1]), "its field 'count' holds '[1]', which is no integer"),
        (ticket(1, MOMENT, count=float("inf")), "its field 'count' holds inf, which is no integer"),
        (ticket(1, MOMENT, amount=float("nan")), "its field 'amount' holds nan, which is no number"),
        (ticket(1, MOMENT, amount="NaN"), "its field 'amount' holds 'NaN', which is no number"),
        (ticket(1, MOMENT, amount=False), "its field 'amount' holds False, which is no number"),
        (ticket(1, MOMENT, amount=10**400), "which is no number"),
        (ticket(1, MOMENT, flag=1), "its field 'flag' holds 1, which is no boolean"),
        (ticket(1, MOMENT, flag="yes"), "its field 'flag' holds 'yes', which is no boolean"),
        (ticket(1, MOMENT, seen=5), "its field 'seen' holds 5, which is no timestamp"),
        (ticket(1, MOMENT, due=20240103), "its field 'due' holds 20240103, which is no date"),
        (ticket(1, MOMENT, due="soon"), "its field 'due' holds 'soon', which is no date"),
        (ticket(1, MOMENT, company={"id": "x"}), "its field 'company__id' holds 'x', which is no integer"),
        (ticket(1, MOMENT, a={"b": 1}, a__b=2), "two of its fields flatten to the same column 'a__b'"),
        (ticket(1, MOMENT, _backfill_job_id="x"), "its field '_backfill_job_id' takes a name that is reserved"),
        (ticket(1, MOMENT, name="\ud800"), r"its field 'name' holds '\ud800', which is no string"),
        (ticket(1, MOMENT, other=["\udfff"]), "its field 'other' holds"),
        (ticket(1, MOMENT, **{"\ud800": 1}), r"its field '\ud800' has a name that is no text"),
    ],
)
def test_rejects_with_the_reason_in_words(record: Any, told: str) -> None:
    assert told in reason(record)


def test_a_long_value_is_cut_in_the_reason() -> None:
    assert len(reason(ticket(1, MOMENT, count="x" * 10_000))) < 200


@pytest.mark.parametrize(
    ("record", "identity"),
    [
        (ticket(7, "2024-01-03T05:05:06+01:00"), ("7", "2024-01-03T04:05:06.000000Z")),
        (ticket("x", "never"), ("x", "never")),
        (ticket(7, "0001-01-01T00:00:00+14:00"), ("7", "0001-01-01T00:00:00+14:00")),
        ({}, ("", "")),
        ([1], ("", "")),
    ],
)
def test_a_rejected_record_is_named_as_far_as_it_tells(record: Any, identity: tuple[str, str]) -> None:
    assert RowFitter(WIDE).identity(record) == identity


def test_versions_are_written_in_utc_with_microseconds() -> None:
    assert utc_text(datetime.fromisoformat("2024-01-07T01:00:00+01:00")) == "2024-01-07T00:00:00.000000Z"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.datetimes().map(str),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["id", "_info", "company", *WIDE.columns]) | st.text(st.characters(), max_size=6)
RECORDS = st.dictionaries(NAMES, VALUES, max_size=8)


@given(
    record=RECORDS,
    record_id=st.integers(0, 2**64) | VALUES,
    moment=st.datetimes(timezones=st.timezones()).map(lambda m: m.isoformat()) | VALUES,
)
def test_any_json_object_gives_a_row_of_the_declared_types_or_a_rejection(
    record: dict[str, Any], record_id: Any, moment: Any
) -> None:
    fitter = RowFitter(WIDE)
    whole = {**record, "id": record_id, "_info": {"lastUpdated": moment}}
    assert all(isinstance(text, str) for text in fitter.identity(whole))
    with suppress(RejectedRecord):
        row = fitter.fit(whole)
        assert row.version.utcoffset() == MOMENT.utcoffset()
        for name, value in row.columns.items():
            assert value is None or type(value) is PYTHON_TYPES[fitter.types.get(name, ColumnType.STRING)]


@given(records=st.lists(RECORDS, min_size=1, max_size=3))
def test_any_row_that_fits_can_be_stored_and_read_back(
    records: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = []
    for number, record in enumerate(records):
        try:
            rows.append(RowFitter(WIDE).fit({**record, "id": number, "_info": {"lastUpdated": NOW.isoformat()}}))
        except RejectedRecord:
            continue
    lake = lake_in(tmp_path_factory.mktemp("lake"))
    table = raw_table("acme", "desk", WIDE)
    for row in rows:
        lake.merge(table, {NOW.date(): pa.Table.from_pylist([row.columns], schema=table.schema(row.columns))})
    stored = list(lake.versions(table))
    assert stored == [(row.record_id, row.version) for row in rows]


def lake_in(root: Path) -> RawLake:
    return World(root=root).lake


def test_an_id_without_a_declared_type_is_a_text() -> None:
    table = TableSpec(name="t", version_field="changed", incremental_field="changed")
    row = RowFitter(table).fit({"id": 5, "changed": MOMENT.isoformat()})
    assert (row.record_id, row.version) == ("5", MOMENT)
    assert RowFitter(TICKETS).fit(ticket(5, MOMENT)).record_id == 5
