"""Who gets the slots for runs: two for one tenant, the rest for others, and one for incremental sync alone."""

from collections.abc import Sequence
from datetime import UTC, datetime

import httpx
from dagster import AssetKey, DagsterRun, DagsterRunStatus, RunsFilter
from dagster._core.storage.tags import BACKFILL_ID_TAG

from backfill_assets import following
from backfill_assets.adapters.rest.connectwise_tables import CONTACTS
from backfill_assets.cli.instance import asset_graph
from backfill_assets.launching import SYNC, BackfillRequest, launch
from backfill_assets.resources import open_wiring
from backfill_assets.sandbox.stack import WEBSERVER
from backfill_assets.settings import load_settings
from backfill_assets.tenant_history.partitions import asset_key
from backfill_assets.tenant_history.plan import calendar_of
from backfill_assets_tests.end_to_end.conftest import RUNS_AT_ONCE
from backfill_assets_tests.end_to_end.running import Running, until

A_TENANT = 2
ASSET = asset_key("connectwise", CONTACTS)
UNDER_WAY = (DagsterRunStatus.STARTING, DagsterRunStatus.STARTED)
LONG, SHORT = ("2024-04-07", "2024-09-22"), ("2024-04-07", "2024-04-21")
"""24 weeks are 3 runs, 2 weeks are one."""
LAUNCH = """
mutation ($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) { ... on LaunchBackfillSuccess { backfillId } __typename }
}
"""


def test_a_tenant_gets_two_slots_others_the_rest_and_the_sync_its_own(running: Running) -> None:
    start, end = LONG
    slow = running.fault(kind="timeout", seconds=3, table=CONTACTS.name, **{"from": start, "to": end})
    long = _launch_in_the_ui(running, "acme", LONG)
    until("two of its runs to be under way", lambda: len(running.runs(long, *UNDER_WAY)) == A_TENANT)
    (waiting,) = until("the last to be queued", lambda: running.runs(long, DagsterRunStatus.QUEUED))
    assert {_told(run) for run in (waiting, *running.runs(long, *UNDER_WAY))} == {("acme", "acme", "shared")}

    # It passes the run of the first tenant that waits in front of it.
    other = _launch_in_the_ui(running, "globex", SHORT)
    until("another tenant's run to be under way", lambda: running.runs(other, *UNDER_WAY))
    assert len(_under_way(running)) == RUNS_AT_ONCE
    third = _launch_in_the_ui(running, "initech", SHORT)
    until("a run that finds no slot", lambda: running.runs(third, DagsterRunStatus.QUEUED))

    sync = _launch_sync(running, "acme")
    until("the sync to be under way", lambda: running.runs(sync, *UNDER_WAY, DagsterRunStatus.SUCCESS))
    assert len(running.runs(long, *UNDER_WAY)) == A_TENANT
    assert running.runs(long, DagsterRunStatus.QUEUED)
    assert running.runs(third, DagsterRunStatus.QUEUED)

    running.clear_fault(slow)
    assert all(following.has_succeeded(running.ended(backfill_id)) for backfill_id in (long, other, third, sync))
    assert _most_at_once(running, long) == A_TENANT


def _launch_in_the_ui(running: Running, tenant: str, dates: tuple[str, str]) -> str:
    """Launch a backfill by the request that the dialog makes; return its id."""
    until("the tenant's partition", lambda: running.instance.has_dynamic_partition("connectwise_tenants", tenant))
    params = {"assetSelection": [{"path": list(ASSET.path)}], "partitionNames": _keys(running, tenant, dates)}
    running.stack.wait_for(WEBSERVER, running.stack.port)
    asked = {"query": LAUNCH, "variables": {"params": params}}
    answer = httpx.post(f"{running.stack.url}/graphql", json=asked, timeout=60).raise_for_status().json()
    return str(answer["data"]["launchPartitionBackfill"]["backfillId"])


def _launch_sync(running: Running, tenant: str) -> str:
    partitions: dict[AssetKey, Sequence[str]] = {ASSET: _keys(running, tenant, SHORT)}
    request = BackfillRequest(
        domain=SYNC, key=f"{SYNC}/{tenant}", title="sync", reason="", requested_by="a test", partitions=partitions
    )
    with open_wiring(load_settings(running.environment)) as wiring:
        return launch(running.instance, asset_graph(), request, lock=wiring.lock).backfill_id


def _keys(running: Running, tenant: str, dates: tuple[str, str]) -> list[str]:
    spec = load_settings(running.environment).services["connectwise"]
    start, end = (datetime.fromisoformat(day).replace(tzinfo=UTC) for day in dates)
    return [f"{tenant}|{window.key}" for window in calendar_of(spec).windows(start, end)]


def _told(run: DagsterRun) -> tuple[str, ...]:
    return tuple(run.tags[f"backfill/{name}"] for name in ("tenant", "history_of", "slot"))


def _most_at_once(running: Running, backfill_id: str) -> int:
    """How many runs of an ended backfill were under way at once."""
    records = running.instance.get_run_records(RunsFilter(tags={BACKFILL_ID_TAG: backfill_id}))
    spans = [(record.start_time or 0, record.end_time or 0) for record in records]
    return max(sum(start <= moment < end for start, end in spans) for moment, _ in spans)


def _under_way(running: Running) -> Sequence[DagsterRun]:
    return running.instance.get_runs(RunsFilter(statuses=UNDER_WAY))
