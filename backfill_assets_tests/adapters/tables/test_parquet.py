"""What holds of a copy to Parquet files: what the manifest names is every row, once, in its type."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from backfill_assets.adapters.lake.folder import Folder
from backfill_assets.adapters.tables.parquet import ParquetDestination
from backfill_assets.core.tables import Load, OnConflict
from backfill_assets.errors import PermanentError
from backfill_assets_tests.adapters.tables.ends import Ends

TABLE = "CREATE TABLE t (k text PRIMARY KEY, n numeric(20,4), at timestamptz, b bytea, ok boolean, j jsonb)"
FILL = """
    INSERT INTO t SELECT 'a/b ''' || n, n / 4.0, timestamptz '2024-01-01 01:00Z', '\\x00ff', n % 2 = 0, '{"a": 1}'
    FROM generate_series(1, 120) n
"""


def named(root: Path, load: Load) -> pa.Table:
    """The rows of all files that the manifest names."""
    [manifest] = root.rglob("_manifest.json")
    files = [file["name"] for file in json.loads(manifest.read_text())["files"]]
    return pa.concat_tables([pq.read_table(root / name) for name in files])


def copied(ends: Ends, root: Path, load: Load, *, batches: int | None = None) -> None:
    destination = ParquetDestination(Folder(root))
    destination.prepare(load)
    with ends.reading() as source:
        copying: Any = destination.copy(load, source)
        for number, _ in enumerate(copying, start=1):
            if number == batches:
                copying.close()
                return
        assert destination.verify(load, source).complete


def test_every_row_is_in_a_file_that_the_manifest_names(ends: Ends, tmp_path: Path) -> None:
    ends.at_source(TABLE)
    ends.at_source(FILL)
    load = ends.load()
    copied(ends, tmp_path, load, batches=1)
    copied(ends, tmp_path, load)
    table = named(tmp_path, load)
    assert sorted(table["k"].to_pylist()) == sorted(key for (key,) in ends.at_source("SELECT k FROM t"))
    [row] = [row for row in table.to_pylist() if row["k"] == "a/b '3"]
    assert row == {
        "k": "a/b '3",
        "n": Decimal("0.7500"),
        "at": datetime(2024, 1, 1, 1, tzinfo=UTC),
        "b": b"\x00\xff",
        "ok": False,
        "j": '{"a": 1}',
    }


def test_a_batch_whose_manifest_was_not_written_replaces_itself(ends: Ends, tmp_path: Path) -> None:
    ends.at_source(TABLE)
    ends.at_source(FILL)
    load = ends.load()
    copied(ends, tmp_path, load, batches=1)
    [manifest] = tmp_path.rglob("_manifest.json")
    manifest.unlink()
    copied(ends, tmp_path, load)
    assert named(tmp_path, load).num_rows == 120
    assert len(list(tmp_path.rglob("*.parquet"))) == 3


def test_what_files_cannot_keep_to_is_refused(ends: Ends, tmp_path: Path) -> None:
    ends.at_source(TABLE)
    with pytest.raises(PermanentError, match="files are only added"):
        ParquetDestination(Folder(tmp_path)).prepare(ends.load(on_conflict=OnConflict.KEEP))


def test_a_file_that_is_gone_makes_the_job_short_and_it_begins_anew(ends: Ends, tmp_path: Path) -> None:
    ends.at_source(TABLE)
    ends.at_source(FILL)
    load = ends.load()
    copied(ends, tmp_path, load)
    next(tmp_path.rglob("*.parquet")).unlink()
    destination = ParquetDestination(Folder(tmp_path))
    with ends.reading() as source:
        verdict = destination.verify(load, source)
    assert [short.missing for short in verdict.short] in ([50], [20])
    copied(ends, tmp_path, load)
    assert named(tmp_path, load).num_rows == 120
