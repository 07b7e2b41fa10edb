"""History, canonical tables and incremental sync on the real stack, with a schedule that ticks each minute."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow.parquet as pq
import pytest
from dagster import DagsterRunStatus

from backfill_assets import following, launching
from backfill_assets.core.windows import utc_now
from backfill_assets_tests.end_to_end.conftest import NEW_DAYS, RUNS_AT_ONCE, SERVICE, started
from backfill_assets_tests.end_to_end.running import Running, until

pytestmark = [pytest.mark.own_stack, pytest.mark.timeout(400)]

TICKETS = "service/tickets"
EACH_MINUTE = {**SERVICE, "sync_frequency": "* * * * *"}
SUCCESS, FAILURE = "COMPLETED_SUCCESS", "COMPLETED_FAILED"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A stack of its own, since sync reads what every test would find changed."""
    home = tmp_path_factory.mktemp("sync")
    with started(home, EACH_MINUTE, runs_at_once=RUNS_AT_ONCE, tenants=("acme", "globex")) as running:
        yield running


def history_of(running: Running, tenant: str) -> Any:
    tags = {launching.DOMAIN_TAG: "tenant_history", launching.TENANT_TAG: tenant}
    return until(f"the history of {tenant}", lambda: following.backfills(running.instance, tags))[-1]


def canonical(running: Running, tenant: str, entity: str = "tickets") -> list[dict[str, Any]]:
    """The rows of a canonical table; none while it has not been built."""
    folder = running.stack.home / "lake" / tenant / "canonical" / entity / "source_system=connectwise"
    files = list(folder.glob("*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def change(running: Running, tenant: str, record_id: str, moment: datetime, **said: Any) -> None:
    path = f"/_sandbox/records/connectwise/{tenant}/{TICKETS}/{record_id}"
    running.sandbox.put(path, json={"lastUpdated": moment.isoformat(), "set": said}).raise_for_status()


def test_a_hole_withholds_the_canonical_table_until_it_is_filled(running: Running) -> None:
    start = utc_now() - timedelta(days=NEW_DAYS)
    # Before the sensor looks for the first time: the first window of acme's tickets cannot be read.
    span = {"from": start.isoformat(), "to": (start + timedelta(hours=12)).isoformat()}
    poison = running.fault(kind="status", status=400, tenant="acme", table=TICKETS, **span)
    backfill = running.ended(history_of(running, "acme").backfill_id)
    assert backfill.status.value == FAILURE
    assert canonical(running, "acme", "companies")
    assert canonical(running, "acme") == []

    def withheld() -> bool:
        return "service_tickets lacks" in running.sync_ticks()

    until("a tick that says which window is missing", withheld)
    running.clear_fault(poison)
    resumed = running.backfill("resume", backfill.backfill_id, "--wait", "--json")
    assert resumed.returncode == 0, resumed.stderr
    assert canonical(running, "acme")


def test_what_changes_later_reaches_the_canonical_table_by_the_schedule(running: Running) -> None:
    backfill = running.ended(history_of(running, "globex").backfill_id)
    assert backfill.status.value == SUCCESS
    before = canonical(running, "globex")
    assert {row["change_type"] for row in before} <= {"INSERT", "UPDATE"}
    record_id = before[0]["source_id"]
    moment = datetime.now(UTC).replace(microsecond=0)
    change(running, "globex", record_id, moment, summary="changed after the history was read")

    def synced() -> list[dict[str, Any]] | None:
        rows = [row for row in canonical(running, "globex") if row["source_id"] == record_id]
        return rows if rows[-1]["effective_from"] == moment else None

    [*_, last, newest] = until("the change in the canonical table", synced)
    assert (newest["change_type"], newest["is_current"], newest["effective_to"]) == ("UPDATE", True, None)
    assert newest["summary"] == "changed after the history was read"
    assert (last["is_current"], last["effective_to"]) == (False, moment)
    assert last["effective_from"] < moment


def test_sync_runs_carry_the_tag_that_gives_them_their_slot(running: Running) -> None:
    syncs = until("a sync", lambda: following.backfills(running.instance, {launching.DOMAIN_TAG: launching.SYNC}))
    assert all(b.tags[launching.REQUESTED_BY_TAG] == "schedule connectwise_sync" for b in syncs)
    runs = until("its runs", lambda: running.runs(syncs[-1].backfill_id, DagsterRunStatus.SUCCESS))
    assert all("backfill/slot" not in run.tags for run in runs)
    assert all(run.tags[launching.DOMAIN_TAG] == launching.SYNC for run in runs)
