"""What the canonical file looks like, and what is told when it cannot be made."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from backfill_assets.adapters.lake.engine import Limits
from backfill_assets.adapters.lake.folder import Folder
from backfill_assets.adapters.lake.raw import RawTable
from backfill_assets.adapters.lake.storage import Storage
from backfill_assets.core.source import ColumnType
from backfill_assets.errors import PermanentError
from backfill_assets.tenant_history.canonical.mapping import CanonicalColumn
from backfill_assets_tests.tenant_history.canonical.reference import Version
from backfill_assets_tests.tenant_history.canonical.worlds import (
    ALERTS,
    NAME,
    REQUESTS,
    START,
    TICKETS,
    build,
    built,
    content,
    expected,
    lake_on,
    raw_of,
    rows_in,
    spec,
    store,
    table_in,
    version,
)

MOMENT = pa.timestamp("us", tz="UTC")
SCHEMA = {
    "tenant_id": pa.string(),
    "source_system": pa.string(),
    "source_table": pa.string(),
    "source_id": pa.string(),
    "kind": pa.string(),
    "source": pa.string(),
    "title": pa.string(),
    "level": pa.string(),
    "hours": pa.float64(),
    "visits": pa.int64(),
    "is_closed": pa.bool_(),
    "due_on": pa.date32(),
    "seen_at": MOMENT,
    "updated_by": pa.string(),
    "effective_from": MOMENT,
    "effective_to": MOMENT,
    "is_current": pa.bool_(),
    "change_type": pa.string(),
    "record_hash": pa.string(),
}


def columns(storage: Storage) -> dict[str, pa.DataType]:
    return {field.name: field.type for field in table_in(storage).schema}


def test_without_any_raw_file_an_empty_table_with_all_columns_is_written(storage: Storage) -> None:
    done = build(lake_on(storage))
    assert (done.versions, done.rows, done.ids, done.current) == (0, 0, 0, 0)
    assert (done.place, done.bytes) == (storage.place(NAME), len(content(storage)))
    assert (columns(storage), rows_in(storage)) == (SCHEMA, [])


def test_a_full_table_has_the_same_columns_and_replaces_the_empty_one(storage: Storage) -> None:
    lake = lake_on(storage)
    build(lake)
    store(lake, {REQUESTS.name: [version(1)]})
    done = build(lake)
    assert (done.versions, done.rows, done.ids, done.current) == (1, 1, 1, 1)
    assert columns(storage) == SCHEMA


def test_a_row_tells_its_tenant_service_table_and_id_and_constants_are_in_it(tmp_path: Path) -> None:
    [row] = built({REQUESTS.name: [version(7, 3, visits=2, active=True)]}, tmp_path)
    assert [row[name] for name in ("tenant_id", "source_system", "source_table", "source_id")] == [
        *("o'acme", "desk", "service/requests", "7")
    ]
    assert (row["kind"], row["source"], row["visits"], row["is_closed"]) == ("it's a request", "2", 2, False)
    assert (row["effective_from"], row["effective_to"]) == (START.replace(minute=3), None)


def test_a_canonical_column_is_not_taken_for_the_raw_one_of_its_name(tmp_path: Path) -> None:
    [row] = built({ALERTS.name: [version(1, title="t", level="l")]}, tmp_path)
    assert (row["title"], row["level"]) == ("l", "t")


def test_columns_that_only_some_files_have_are_null_in_the_others(tmp_path: Path) -> None:
    days = [version(1, 0, hours=1.5), version(1, 1440, title="x"), version(1, 2880, more="not mapped", due=None)]
    rows = built({REQUESTS.name: days}, tmp_path)
    assert [(row["hours"], row["title"]) for row in rows] == [(1.5, None), (None, "x"), (None, None)]


def put(storage: Folder, table: RawTable, content: bytes, name: str = "2024-01-07") -> str:
    """Let this be a raw file; return its place."""
    with storage.batch(table.folder) as batch:
        batch.put(f"{table.folder}/{name}.parquet", pa.py_buffer(content), seen=None)
    return storage.place(f"{table.folder}/{name}.parquet")


def parquet(versions: Sequence[Version]) -> bytes:
    """A raw file of alerts with these rows, whatever they repeat."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(list(versions)), sink)
    return bytes(sink.getvalue().to_pybytes())


def test_of_a_version_that_files_from_elsewhere_repeat_the_one_with_the_greatest_digest_wins(tmp_path: Path) -> None:
    storage = Folder(tmp_path)
    files = [[version(n, level=f"{name} {n}") for n in range(10)] for name in "ab"]
    for name, versions in zip("ab", files, strict=True):
        put(storage, raw_of(ALERTS), parquet(versions), name)
    build(lake_on(storage))
    assert rows_in(storage) == expected({ALERTS.name: [*files[0], *files[1]]})


def scratches(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if "backfill-" in path.name or path.suffix == ".draft"]


@pytest.mark.parametrize("damage", ["end", "middle"])
def test_a_damaged_raw_file_is_named_and_the_canonical_one_stays(tmp_path: Path, damage: str) -> None:
    storage = Folder(tmp_path)
    lake = lake_on(storage)
    store(lake, {REQUESTS.name: [version(1, minute, title=f"title {minute}") for minute in range(100)]})
    build(lake)
    before = content(storage)
    [name] = storage.names(raw_of(REQUESTS).folder)
    path = Path(storage.place(name))
    good = path.read_bytes()
    path.write_bytes(good[:-20] if damage == "end" else good[:4] + bytes(len(good) // 3) + good[4 + len(good) // 3 :])
    with pytest.raises(PermanentError) as refused:
        build(lake)
    assert str(refused.value).startswith(f"{path} cannot be read (")
    assert str(refused.value).endswith("); restore it or move it away, then rerun its partition")
    assert (content(storage), scratches(tmp_path)) == (before, [])


def test_a_value_that_cannot_become_its_columns_type_is_told_with_the_file_that_could_not_be_made(
    tmp_path: Path,
) -> None:
    storage = Folder(tmp_path)
    lake = lake_on(storage)
    store(lake, {ALERTS.name: [version(1, level="high")]})
    wrong = replace(TICKETS, columns=(CanonicalColumn(name="title", type=ColumnType.INTEGER),))
    with pytest.raises(PermanentError) as refused:
        build(lake, table=wrong)
    assert str(refused.value).startswith(f"{storage.place(NAME)} could not be made (Conversion Error: ")
    assert "'high'" in str(refused.value)


def test_a_raw_column_with_a_name_that_duckdb_needs_is_told(tmp_path: Path) -> None:
    lake = lake_on(Folder(tmp_path))
    store(lake, {REQUESTS.name: [version(1, File_Index="7")]})
    with pytest.raises(PermanentError, match=r"raw files of .*/service_requests hold a column 'file_index', a name"):
        build(lake)


def test_too_little_memory_is_told_with_what_to_do(tmp_path: Path) -> None:
    storage = Folder(tmp_path)
    lake = lake_on(storage)
    store(lake, {REQUESTS.name: [version(n, title="x" * 1000) for n in range(20_000)]})
    with pytest.raises(PermanentError, match=r"neither 1 MB of memory nor the disk for temporary files were enough"):
        build(lake, limits=Limits(memory_mb=1))


def test_tables_that_the_entity_is_not_made_from_are_not_read(tmp_path: Path) -> None:
    storage = Folder(tmp_path)
    put(storage, raw_of(spec("others")), b"no Parquet")
    assert build(lake_on(storage)).versions == 0
