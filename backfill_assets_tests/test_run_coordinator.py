"""What a run is tagged with when it is queued, and which of the queued runs come next under the limits."""

import logging
from collections.abc import Iterator, Mapping

import dagster as dg
import pytest
import yaml
from dagster import DagsterRunStatus
from dagster._core.definitions.automation_tick_evaluation_context import build_run_requests_with_backfill_policies
from dagster._core.definitions.events import AssetKeyPartitionKey
from dagster._core.definitions.partitions.context import partition_loading_context

from backfill_assets import run_coordinator
from backfill_assets.adapters.rest.connectwise_tables import CONNECTWISE
from backfill_assets.core.keys import encode_key
from backfill_assets.core.source import ServiceSpec
from backfill_assets.errors import ConfigurationError
from backfill_assets.following import Graph
from backfill_assets.launching import HISTORY, SYNC
from backfill_assets.resources import wiring
from backfill_assets.run_coordinator import HISTORY_OF_TAG, SHARED, SLOT_TAG, TaggingRunCoordinator
from backfill_assets.sandbox.stack import DAGSTER_YAML
from backfill_assets.tenant_history import committing
from backfill_assets.tenant_history.assets import table_asset
from backfill_assets.tenant_history.partitions import asset_key, tenant_set
from backfill_assets_tests.queueing import TICKETS, Queue, Tags, open_queue, span, window

CANONICAL = dg.AssetKey(["canonical", "connectwise", "tickets"])
WEEKS = ("2024-01-07", "2024-01-14", "2024-01-21")
LIMITS = yaml.safe_load(DAGSTER_YAML.read_text())["concurrency"]["runs"]
SLOTS = LIMITS["max_concurrent_runs"]
A_TENANT, HISTORY_RUNS = 2, SLOTS - 1


@pytest.fixture
def queue() -> Iterator[Queue]:
    with open_queue() as opened:
        yield opened


def history_of(tenant: str) -> Tags:
    """The tags that a run of one tenant's history is to have."""
    return {
        "backfill/domain": "tenant_history",
        "backfill/service": "connectwise",
        "backfill/tenant": tenant,
        "backfill/history_of": tenant,
        "backfill/slot": "shared",
    }


def weeks(tenant: str, first: str = WEEKS[0], last: str = WEEKS[-1]) -> Tags:
    return span(f"{tenant}|{first}", f"{tenant}|{last}")


def ours(tags: Tags) -> Tags:
    return {name: value for name, value in tags.items() if name.startswith("backfill/")}


def test_the_runs_domain_is_called_as_the_domain_calls_itself() -> None:
    assert HISTORY == committing.DOMAIN


@pytest.mark.parametrize(
    "tags",
    [window("acme", WEEKS[0]), weeks("acme"), span(f"acme|{WEEKS[0]}", f"acme|{WEEKS[0]}")],
    ids=["one partition", "a range", "a range of one"],
)
def test_a_run_launched_in_the_ui_is_tagged_by_its_partitions(queue: Queue, tags: Tags) -> None:
    run = queue.submit(tags)
    assert run.status is DagsterRunStatus.QUEUED
    assert run.tags == {**tags, **history_of("acme")}
    # The daemon and the retries read them from the storage.
    assert [found.run_id for found in queue.instance.get_runs(dg.RunsFilter(tags=history_of("acme")))] == [run.run_id]


def test_a_run_of_our_own_backfill_keeps_its_tags_and_gets_its_slots(queue: Queue) -> None:
    own = {"backfill/domain": "tenant_history", "backfill/tenant": "acme", "backfill/service": "connectwise"}
    told = {**own, "backfill/reason": "it is new", "backfill/slot": "mine"}
    assert ours(queue.submit({**weeks("acme"), **told}).tags) == {**told, HISTORY_OF_TAG: "acme"}


def test_a_tenant_is_told_apart_from_its_encoded_key(queue: Queue) -> None:
    name = "a|b, [c]...100%"
    assert ours(queue.submit(weeks(encode_key(name))).tags) == history_of(name)


def test_a_canonical_table_belongs_to_the_tenants_history_too(queue: Queue) -> None:
    assert ours(queue.submit({"dagster/partition": "acme"}, assets=[CANONICAL]).tags) == history_of("acme")


def test_a_range_over_several_tenants_is_history_of_none_of_them(queue: Queue) -> None:
    expected = {"backfill/domain": "tenant_history", "backfill/service": "connectwise", "backfill/slot": "shared"}
    assert ours(queue.submit(span(f"acme|{WEEKS[0]}", f"globex|{WEEKS[2]}")).tags) == expected
    assert ours(queue.submit(span("acme", "globex"), assets=[CANONICAL]).tags) == expected


def test_the_runs_of_incremental_sync_take_no_slot_of_history(queue: Queue) -> None:
    run = queue.submit({**weeks("acme"), "backfill/domain": SYNC})
    assert ours(run.tags) == {
        "backfill/domain": "incremental_sync",
        "backfill/service": "connectwise",
        "backfill/tenant": "acme",
    }


@pytest.mark.parametrize(
    "assets",
    [None, [], [dg.AssetKey("acme")], [dg.AssetKey("canonical")], [TICKETS, dg.AssetKey(["other", "table"])]],
    ids=["ops", "checks only", "another's asset", "canonical of nothing", "mixed"],
)
def test_a_run_of_somebody_elses_is_queued_and_is_nobodys_history(
    queue: Queue, assets: list[dg.AssetKey] | None
) -> None:
    run = queue.submit({"dagster/partition": "2024-01-07"}, assets=assets)
    assert run.status is DagsterRunStatus.QUEUED
    assert ours(run.tags) == {SLOT_TAG: SHARED}


def test_a_run_that_cannot_be_tagged_is_queued_all_the_same(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> Mapping[str, object]:
        raise ConfigurationError("The entry point x cannot be loaded")

    monkeypatch.setattr(run_coordinator, "connectors", broken)
    with caplog.at_level(logging.ERROR):
        run = queue.submit(weeks("acme"))
    assert (run.status, ours(run.tags)) == (DagsterRunStatus.QUEUED, {})
    assert f"run {run.run_id} is queued without the tags" in caplog.text
    assert run.run_id in queue.tick()


def test_dagster_cuts_a_backfill_of_several_tenants_into_runs_of_one_each(queue: Queue) -> None:
    """Pins the shape of run requests that the tags are told from; no run is the history of two tenants."""
    spec, table = CONNECTWISE, CONNECTWISE.tables[0]
    queue.instance.add_dynamic_partitions(tenant_set(spec.name), ["acme", "globex"])
    targets = {
        AssetKeyPartitionKey(asset_key(spec.name, table), f"{tenant}|{day}")
        for tenant in ("acme", "globex")
        for day in WEEKS
    }
    with partition_loading_context(dynamic_partitions_store=queue.instance):
        requests = build_run_requests_with_backfill_policies(targets, _graph(spec), queue.instance)
    tags = [ours(queue.submit(request.tags, assets=request.asset_selection).tags) for request in requests]
    assert sorted(one["backfill/history_of"] for one in tags) == ["acme", "globex"]
    assert [set(request.tags) for request in requests] == [set(weeks("acme"))] * 2


def _graph(spec: ServiceSpec) -> Graph:
    assets = [table_asset(spec, spec.tables[0])]
    return dg.Definitions(assets=assets, resources={"wiring": wiring}).resolve_asset_graph()


def test_a_hundred_queued_runs_of_one_tenant_delay_anothers_by_no_tick(queue: Queue) -> None:
    """A sample of the proof: what waits in front of another tenant's run does not hold it back."""
    backlog = [queue.submit(weeks("acme")).run_id for _ in range(100)]
    first = queue.tick()
    assert first == set(backlog[:A_TENANT])
    other = queue.submit(weeks("globex"))
    assert queue.tick() == {other.run_id}


def test_the_slots_of_history_are_filled_and_no_more(queue: Queue) -> None:
    runs = {tenant: [queue.submit(weeks(tenant)) for _ in range(3)] for tenant in ("a", "b", "c")}
    assert queue.tick() == {run.run_id for run in (*runs["a"][:2], *runs["b"][:2], runs["c"][0])}
    assert queue.tick() == set()
    queue.end(runs["a"][0])
    assert queue.tick() == {runs["a"][2].run_id}
    queue.end(runs["b"][0])
    queue.end(runs["b"][1])
    assert queue.tick() == {runs["b"][2].run_id, runs["c"][1].run_id}


def test_incremental_sync_starts_at_once_when_all_slots_of_history_are_taken(queue: Queue) -> None:
    for tenant in ("a", "b", "c"):
        for _ in range(3):
            queue.submit(weeks(tenant))
    assert len(queue.tick()) == HISTORY_RUNS
    job = queue.submit(assets=None)
    sync, second = (queue.submit({**weeks("a"), "backfill/domain": SYNC}) for _ in range(2))
    assert queue.tick() == {sync.run_id}
    queue.end(sync)
    assert queue.tick() == {second.run_id}
    assert queue.instance.get_run_by_id(job.run_id) == job


def test_runs_of_no_domain_leave_the_slot_of_incremental_sync_free(queue: Queue) -> None:
    jobs = [queue.submit(assets=None) for _ in range(SLOTS)]
    assert queue.tick() == {job.run_id for job in jobs[:HISTORY_RUNS]}
    sync = queue.submit({**weeks("a"), "backfill/domain": SYNC})
    assert queue.tick() == {sync.run_id}


def test_the_instance_runs_five_of_history_and_one_more() -> None:
    assert (SLOTS, HISTORY_RUNS) == (6, 5)
    limits = {limit["key"]: limit["limit"] for limit in LIMITS["tag_concurrency_limits"]}
    assert limits == {SLOT_TAG: HISTORY_RUNS, "backfill/domain": HISTORY_RUNS, HISTORY_OF_TAG: A_TENANT}
    assert yaml.safe_load(DAGSTER_YAML.read_text())["run_coordinator"]["class"] == TaggingRunCoordinator.__name__
