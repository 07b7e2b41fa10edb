"""What the comparison of the lake with its source finds, and what it does not take for a difference."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from backfill_assets.adapters.lake.canonical import CanonicalFile
from backfill_assets.adapters.rest.connectwise_tables import TICKETS
from backfill_assets.core.chunks import ChunkTarget
from backfill_assets.sandbox.verification import Compared, Report, compare_canonical, compare_table
from backfill_assets.tenant_history.canonical.mapping import canonical_tables
from backfill_assets_tests.tenant_history.shops import SHOP, shop
from backfill_assets_tests.tenant_history.worlds import World, in_week, ticket, weeks

WINDOWS = weeks(0, 11)
STORED = [(1, in_week(1)), (2, in_week(2)), (3, in_week(3))]
[CANONICAL] = [table for table in canonical_tables(SHOP) if table.entity == "tickets"]


@pytest.fixture
def acme(tmp_path: Path) -> World:
    """A tenant whose lake holds three tickets."""
    world = shop(tmp_path, acme=[ticket(key, at) for key, at in STORED])
    list(world.backfill(table=TICKETS).fill(WINDOWS, ChunkTarget(days=14)))
    return world


def telling(*truth: tuple[int, datetime]) -> httpx.Client:
    """A sandbox that holds these versions."""

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == f"/_sandbox/truth/connectwise/acme/{TICKETS.name}"
        return httpx.Response(200, text="\n".join(json.dumps([key, at.isoformat()]) for key, at in truth))

    return httpx.Client(transport=httpx.MockTransport(answer), base_url="http://sandbox")


def compared(world: World, *truth: tuple[int, datetime]) -> Compared:
    with telling(*truth) as client:
        return compare_table(world.wiring, client, world.accounts["acme"], TICKETS, WINDOWS)


def differences(found: Compared) -> dict[str, int]:
    names = ("superseded", "missing", "unknown", "doubled")
    return {name: count for name in names if (count := getattr(found, name))}


def test_a_lake_that_holds_what_the_source_holds_is_equal(acme: World) -> None:
    found = compared(acme, *STORED)
    assert found.is_equal
    assert (found.source, found.lake, differences(found)) == (3, 3, {})


def test_a_version_that_the_source_has_replaced_since_is_superseded_and_its_new_one_is_missing(acme: World) -> None:
    found = compared(acme, *STORED[:2], (3, in_week(5)))
    assert differences(found) == {"superseded": 1, "missing": 1}
    assert not found.is_equal


def test_a_version_newer_than_the_source_has_is_not_superseded_but_unknown(acme: World) -> None:
    assert differences(compared(acme, *STORED[:2], (3, in_week(2, 9)))) == {"unknown": 1, "missing": 1}


def test_a_record_that_the_source_does_not_know_is_unknown(acme: World) -> None:
    found = compared(acme, *STORED[:2])
    assert differences(found) == {"unknown": 1}
    assert not found.is_equal


def test_a_record_that_the_lake_lacks_is_missing_and_the_report_names_its_table(acme: World) -> None:
    found = compared(acme, *STORED, (4, in_week(4)))
    assert differences(found) == {"missing": 1}
    report = Report(compared=[found])
    assert report.problem == f"the lake differs from the source in acme connectwise {TICKETS.name}"
    assert report.records == 4


def test_a_version_that_lies_in_two_files_is_doubled(acme: World) -> None:
    [first, second, _] = sorted(acme.root.rglob("*.parquet"))
    pq.write_table(pa.concat_tables([pq.read_table(first), pq.read_table(second)]), second)
    assert differences(compared(acme, *STORED)) == {"doubled": 1}


@pytest.fixture
def canonical(acme: World) -> Iterator[Any]:
    """Write these (id, is it current) as acme's canonical tickets, and compare them."""
    with telling(*STORED) as client:

        def compare(*rows: tuple[str, bool]) -> Compared:
            if rows:
                name = CanonicalFile(tenant="acme", entity="tickets", service="connectwise").name
                file = acme.root / name
                file.parent.mkdir(parents=True, exist_ok=True)
                ids, current = zip(*rows, strict=True)
                pq.write_table(pa.table({"source_id": list(ids), "is_current": list(current)}), file)
            return compare_canonical(acme.wiring, client, acme.accounts["acme"], CANONICAL, WINDOWS)

        yield compare


def test_a_canonical_table_is_equal_when_each_record_is_current_once(canonical: Any) -> None:
    found = canonical(("1", True), ("2", True), ("3", False), ("3", True))
    assert (found.table, found.source, found.lake, found.is_equal) == ("canonical/tickets", 3, 3, True)


def test_a_canonical_table_shows_what_is_missing_unknown_and_doubled(canonical: Any) -> None:
    found = canonical(("1", True), ("1", True), ("2", False), ("3", True), ("4", True))
    assert differences(found) == {"missing": 1, "unknown": 1, "doubled": 1}


def test_a_canonical_table_that_was_never_built_lacks_everything(canonical: Any) -> None:
    assert differences(canonical()) == {"missing": 3}
