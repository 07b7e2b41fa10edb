"""Among how many records one difference is found, and with how many requests."""

from dataclasses import replace
from math import log2
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from backfill_assets.core.windows import midnight
from backfill_assets.tenant_history.backfill import TableBackfill
from backfill_assets.tenant_history.plan import calendar_of
from backfill_assets.tenant_history.reconciling.reconcile import Reconciled, TableReconcile
from backfill_assets_tests.tenant_history.reconciling.even import Even, commit
from backfill_assets_tests.tenant_history.worlds import DESK, TICKETS, World, weeks

SIZES = [pytest.param(20_000), pytest.param(1_000_000, marks=pytest.mark.proof)]
WINDOWS = weeks(0, 10)


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(root=tmp_path / "lake")
    world.add("acme")
    return world


def backfill_of(world: World, source: Even) -> TableBackfill:
    return replace(world.backfill(), source=source)


def reconcile(backfill: TableBackfill, *, is_deep: bool, is_repair: bool = False) -> Reconciled:
    overlap = WINDOWS[0].end - WINDOWS[0].start
    one = TableReconcile(backfill=backfill, calendar=calendar_of(DESK), handoff=None, overlap=overlap)
    return one.run(one.span(), is_deep=is_deep, is_repair=is_repair)


def even(number: int) -> Even:
    """So many tickets, a whole number of microseconds apart."""
    source = Even(number=number)
    while source.step * source.number != Even(number=1).step:
        source = Even(number=source.number + 1)
    return source


@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", SIZES)
def test_one_changed_value_is_found_and_its_file_named_and_mended(number: int, world: World) -> None:
    source = even(number)
    backfill = backfill_of(world, source)
    commit(backfill, source, WINDOWS)
    victim = source.number * 2 // 5
    day = source.moment(victim).date()
    path = Path(world.lake.place(backfill.raw, day))
    whole = path.read_bytes()
    _change_summary(path, victim)

    found = reconcile(backfill, is_deep=True)
    assert found.compared is not None
    [changed] = found.changed
    assert changed.window.start <= midnight(day) < changed.window.end
    assert (changed.files, changed.has_other_ids, changed.missing, changed.unverified) == ((str(path),), False, (), ())
    assert (found.compared.missing, found.is_equal) == ((), False)
    assert reconcile(backfill, is_deep=False).is_equal, "counts and ids do not show a value"

    mended = reconcile(backfill, is_deep=True, is_repair=True)
    assert (mended.is_equal, mended.refilled) == (True, 1)
    assert path.read_bytes() == whole


def _change_summary(path: Path, victim: int) -> None:
    rows = pq.read_table(path)
    summaries = [f"{text}." if key == victim else text for key, text in zip(*_columns(rows), strict=True)]
    place = rows.column_names.index("summary")
    pq.write_table(rows.set_column(place, "summary", pa.array(summaries)), path)


def _columns(rows: pa.Table) -> tuple[list[int], list[str]]:
    return rows["id"].to_pylist(), rows["summary"].to_pylist()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", SIZES)
def test_one_missing_id_is_found_with_few_requests_of_all_kinds_and_fetched(number: int, world: World) -> None:
    source = even(number)
    backfill = backfill_of(world, source)
    victim = source.number * 3 // 7
    commit(backfill, source, WINDOWS, without=victim)
    # As if it had become visible only after its window was certified: no certificate gives it away.
    ledger, place = backfill.certificates, {"tenant": "acme", "service": "desk", "table": TICKETS.name}
    ledger.put([replace(c, source_rows=c.stored_ids) for c in ledger.certificates(**place)])

    found = reconcile(backfill, is_deep=False)
    assert found.compared is not None
    assert [missing.record_id for missing in found.compared.missing] == [str(victim)]
    assert source.asked["count"] == found.compared.count_requests <= 2 * log2(source.number)
    tail = 2 + source.number // 1000 // 10
    assert source.asked["identities"] <= 4 * tail, "beside the tail one page was read"

    mended = reconcile(backfill, is_deep=False, is_repair=True)
    assert (mended.is_equal, mended.refetched) == (True, 1)
    assert reconcile(backfill, is_deep=True).is_equal
