"""The same versions make the same bytes: in whatever order and pieces they came, with however many threads."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from backfill_assets.adapters.lake.canonical import ROW_GROUP
from backfill_assets.adapters.lake.engine import Limits
from backfill_assets.adapters.lake.folder import Folder
from backfill_assets_tests.tenant_history.canonical.histories import random_raw
from backfill_assets_tests.tenant_history.canonical.worlds import (
    ALERTS,
    REQUESTS,
    Raw,
    build,
    content,
    expected,
    lake_on,
    raw_of,
    rows_in,
    store,
)

SAMPLE = 25
"""Orders that are always tried; the whole proof tries 1,000."""


@pytest.mark.parametrize("orders", [SAMPLE, pytest.param(1000, marks=[pytest.mark.proof, pytest.mark.timeout(1800)])])
def test_the_order_and_the_repetition_of_merges_change_no_byte(tmp_path: Path, orders: int) -> None:
    raw = random_raw(Random(0), each=30)
    plain = Folder(tmp_path / "plain")
    store(lake_on(plain), raw)
    build(lake_on(plain))
    assert rows_in(plain) == expected(raw)
    for seed in range(orders):
        assert content(merged_somehow(raw, Random(seed), tmp_path / str(seed))) == content(plain), f"seed {seed}"


def merged_somehow(raw: Raw, random: Random, root: Path) -> Folder:
    """A lake into which the versions came in pieces, some of them again, with builds in between."""
    storage = Folder(root)
    lake = lake_on(storage)
    for number, piece in enumerate(pieces(raw, random)):
        store(lake, piece, run=str(number))
        if random.random() < 0.1:
            build(lake)
    build(lake)
    return storage


def pieces(raw: Raw, random: Random) -> Iterator[Raw]:
    """All versions cut into pieces at random, some twice, in a random order."""
    cut: list[Raw] = []
    for name, versions in raw.items():
        left = random.sample(versions, len(versions))
        while left:
            size = random.randint(1, 15)
            piece, left = left[:size], left[size:]
            cut += [{name: piece}] * random.choice((1, 1, 2))
    yield from random.sample(cut, len(cut))


MANY = 3 * ROW_GROUP + 1000


def test_the_number_of_threads_and_the_room_in_memory_change_no_byte(tmp_path: Path) -> None:
    contents = []
    for limits in (Limits(), Limits(threads=1), Limits(threads=5), Limits(memory_mb=250)):
        storage = Folder(tmp_path / str(limits))
        for name, column, size in ((REQUESTS, "hours", MANY - 1000), (ALERTS, "level", 1000)):
            put_many(storage, raw_of(name).folder, column, size)
        done = build(lake_on(storage), limits=limits)
        assert (done.rows, done.ids) == (MANY, MANY // 2)
        contents.append(content(storage))
    assert len(set(contents)) == 1
    with pq.ParquetFile(pa.BufferReader(contents[0])) as file:
        groups = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
    assert groups == [ROW_GROUP, ROW_GROUP, ROW_GROUP, 1000]


def put_many(storage: Folder, folder: str, column: str, size: int) -> None:
    """Two versions of each of many ids, in two files."""
    start, kind = 1_700_000_000_000_000, pa.float64() if column == "hours" else pa.string()
    ids = pa.array(range(size // 2)) if column == "hours" else pa.array(range(-size // 2, 0))
    for number in (0, 1):
        times = pa.array([start + number] * len(ids), pa.timestamp("us", tz="UTC"))
        said = pa.array([float(number + n) for n in range(len(ids))]).cast(kind)
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table({"id": ids, "changed": times, column: said}), sink)
        with storage.batch(folder) as batch:
            batch.put(f"{folder}/{number}.parquet", sink.getvalue(), seen=None)
