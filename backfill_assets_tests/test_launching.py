"""Starting and resuming backfills: pins what Dagster's private backfill API does for us."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from threading import Barrier, Lock
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.definitions.events import AssetKeyPartitionKey
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill

from backfill_assets.errors import UsageError
from backfill_assets.following import RESUME_TAG, backfills, find, has_ended, materialised_before
from backfill_assets.launching import KEY_TAG, MAX_TITLE, BackfillRequest, Launched, cancel, launch, resume

# Dagster writes queries that SQLAlchemy grumbles about.
pytestmark = pytest.mark.filterwarnings("ignore:Coercing Subquery:sqlalchemy.exc.SAWarning")

ONE, TWO = dg.AssetKey("one"), dg.AssetKey("two")
LETTERS = dg.StaticPartitionsDefinition(list("abcd"))


def _graph() -> Any:
    @dg.multi_asset(specs=[dg.AssetSpec(key, partitions_def=LETTERS) for key in (ONE, TWO)])
    def both():  # type: ignore[no-untyped-def]
        yield from ()

    return dg.Definitions(assets=[both]).resolve_asset_graph()


GRAPH = _graph()


def no_lock(_: str) -> nullcontext[None]:
    return nullcontext()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        # A database in memory is not told, as a new one on disk is, that backfills can be found by their tags.
        ephemeral.run_storage.migrate()
        yield ephemeral


def request(**parts: Any) -> BackfillRequest:
    said: dict[str, Any] = {
        "domain": "letters",
        "key": "letters/all",
        "title": "all letters",
        "reason": "they are new",
        "requested_by": "the test",
        "partitions": {ONE: list("abcd"), TWO: list("ab")},
    }
    return BackfillRequest(**{**said, **parts})


def start(instance: dg.DagsterInstance, **parts: Any) -> Launched:
    return launch(instance, GRAPH, request(**parts), lock=no_lock)


def subset(*targets: tuple[dg.AssetKey, str]) -> AssetGraphSubset:
    return AssetGraphSubset.from_asset_partition_set({AssetKeyPartitionKey(*target) for target in targets}, GRAPH)


def targets(backfill: PartitionBackfill) -> set[tuple[str, str]]:
    found = backfill.get_asset_backfill_data(GRAPH).target_subset.iterate_asset_partitions()
    return {(target.asset_key.to_user_string(), str(target.partition_key)) for target in found}


def end(
    instance: dg.DagsterInstance, backfill_id: str, *done: tuple[dg.AssetKey, str], status: str = "COMPLETED_FAILED"
) -> None:
    """End a backfill with these partitions materialised."""
    backfill = find(instance, backfill_id)
    state = backfill.get_asset_backfill_data(GRAPH)._replace(materialized_subset=subset(*done))
    ended = backfill.with_asset_backfill_data(state, instance, GRAPH)
    instance.update_backfill(ended._replace(status=BulkActionStatus[status]))


def test_a_launched_backfill_is_one_that_dagster_will_run(instance: dg.DagsterInstance) -> None:
    launched = start(instance, tags={"backfill/tenant": "acme"}, run_config={"ops": {}})
    backfill = find(instance, launched.backfill_id)
    assert launched.is_new
    assert backfill.status is BulkActionStatus.REQUESTED
    assert (backfill.title, backfill.description, backfill.run_config) == ("all letters", "they are new", {"ops": {}})
    assert backfill.tags == {
        "backfill/tenant": "acme",
        "backfill/domain": "letters",
        "backfill/key": "letters/all",
        "backfill/reason": "they are new",
        "backfill/requested_by": "the test",
    }
    assert targets(backfill) == {("one", x) for x in "abcd"} | {("two", x) for x in "ab"}
    assert not has_ended(backfill)


def test_a_target_asked_for_twice_while_one_is_active_starts_once(instance: dg.DagsterInstance) -> None:
    first = start(instance)
    assert start(instance) == Launched(backfill_id=first.backfill_id, is_new=False)
    assert start(instance, key="letters/other").is_new
    end(instance, first.backfill_id, status="COMPLETED_SUCCESS")
    assert start(instance).is_new


@pytest.mark.parametrize("status", ["CANCELING", "FAILING"])
def test_a_backfill_that_is_being_ended_is_still_active(instance: dg.DagsterInstance, status: str) -> None:
    first = start(instance)
    instance.update_backfill(find(instance, first.backfill_id)._replace(status=BulkActionStatus[status]))
    assert not start(instance).is_new


def test_a_target_asked_for_by_two_at_once_starts_once(tmp_path: Path) -> None:
    mutex, together = Lock(), Barrier(2)

    @contextmanager
    def lock(name: str) -> Iterator[None]:
        assert name == "launch:letters/all"
        with mutex:
            yield

    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance, ThreadPoolExecutor(2) as pool:

        def ask(_: int) -> Launched:
            together.wait()
            return launch(instance, GRAPH, request(), lock=lock)

        answers = list(pool.map(ask, range(2)))
        assert sorted(answer.is_new for answer in answers) == [False, True]
        assert len({answer.backfill_id for answer in answers}) == len(backfills(instance, {})) == 1


@pytest.mark.parametrize("title", ['50% of "a*b"', "x" * 300])
def test_a_title_is_made_fit_for_dagster(instance: dg.DagsterInstance, title: str) -> None:
    made = find(instance, start(instance, title=title).backfill_id).title
    assert made == ("50_ of _a_b_" if "%" in title else "x" * MAX_TITLE)


def test_a_table_that_the_loaded_code_does_not_know_is_refused(instance: dg.DagsterInstance) -> None:
    with pytest.raises(UsageError, match=r"knows no new/table; restart the code server and the daemon, so that they"):
        start(instance, partitions={ONE: ["a"], dg.AssetKey(["new", "table"]): ["a"]})
    assert backfills(instance, {}) == []


def test_an_id_that_is_unknown_is_refused(instance: dg.DagsterInstance) -> None:
    for act in (lambda: cancel(instance, "nope"), lambda: resume(instance, GRAPH, "nope", lock=no_lock)):
        with pytest.raises(UsageError, match="there is no backfill 'nope' in this Dagster instance"):
            act()


def test_resuming_launches_exactly_what_is_left(instance: dg.DagsterInstance) -> None:
    first = start(instance, run_config={"ops": {}})
    end(instance, first.backfill_id, (ONE, "a"), (ONE, "b"), (TWO, "a"))
    again = resume(instance, GRAPH, first.backfill_id, lock=no_lock)
    resumed = find(instance, again.backfill_id)
    assert targets(resumed) == {("one", "c"), ("one", "d"), ("two", "b")}
    assert (resumed.title, resumed.description) == ("Resumed: all letters", "they are new")
    assert (resumed.tags[KEY_TAG], resumed.run_config) == ("letters/all", {"ops": {}})


@pytest.mark.parametrize("of_the_first", [True, False])
def test_resuming_again_counts_what_an_earlier_resume_did(instance: dg.DagsterInstance, of_the_first: bool) -> None:
    first = start(instance)
    end(instance, first.backfill_id, (ONE, "a"), (ONE, "b"), (TWO, "a"))
    second = resume(instance, GRAPH, first.backfill_id, lock=no_lock)
    end(instance, second.backfill_id, (ONE, "c"), status="CANCELED")
    third = resume(instance, GRAPH, (first if of_the_first else second).backfill_id, lock=no_lock)
    resumed = find(instance, third.backfill_id)
    assert targets(resumed) == {("one", "d"), ("two", "b")}
    assert resumed.title == "Resumed: all letters"
    end(instance, third.backfill_id, (ONE, "d"), (TWO, "b"), status="COMPLETED_SUCCESS")
    with pytest.raises(UsageError, match="has nothing left to do"):
        resume(instance, GRAPH, first.backfill_id, lock=no_lock)


def test_resuming_while_one_is_under_way_starts_none(instance: dg.DagsterInstance) -> None:
    first = start(instance)
    with pytest.raises(UsageError, match=r"has not ended \(REQUESTED\)"):
        resume(instance, GRAPH, first.backfill_id, lock=no_lock)
    end(instance, first.backfill_id)
    second = resume(instance, GRAPH, first.backfill_id, lock=no_lock)
    assert resume(instance, GRAPH, first.backfill_id, lock=no_lock) == Launched(
        backfill_id=second.backfill_id, is_new=False
    )
    assert not start(instance).is_new


def test_resuming_while_the_same_target_was_launched_anew_starts_none(instance: dg.DagsterInstance) -> None:
    first = start(instance)
    end(instance, first.backfill_id)
    anew = start(instance)
    assert resume(instance, GRAPH, first.backfill_id, lock=no_lock) == Launched(
        backfill_id=anew.backfill_id, is_new=False
    )


def materialise(instance: dg.DagsterInstance, run_id: str, *done: tuple[dg.AssetKey, str]) -> None:
    for key, partition in done:
        event = dg.AssetMaterialization(key, partition=partition)
        instance.report_dagster_event(run_id=run_id, dagster_event=_event(event))


def _event(event: dg.AssetMaterialization) -> Any:
    from dagster._core.events import DagsterEvent, DagsterEventType, StepMaterializationData

    return DagsterEvent(
        event_type_value=DagsterEventType.ASSET_MATERIALIZATION.value,
        job_name="job",
        event_specific_data=StepMaterializationData(event),
    )


@pytest.mark.parametrize(("tag", "expected"), [("true", {"a", "b"}), ("false", set()), (None, set())])
def test_only_a_resumed_run_knows_what_earlier_runs_of_its_group_materialised(
    instance: dg.DagsterInstance, tag: str | None, expected: set[str]
) -> None:
    job = dg.JobDefinition(graph_def=dg.GraphDefinition(name="job"))
    root = instance.create_run_for_job(job)
    group: dict[str, Any] = {"root_run_id": root.run_id, "parent_run_id": root.run_id}
    tags = {"dagster/root_run_id": root.run_id, "dagster/parent_run_id": root.run_id}
    second = instance.create_run_for_job(job, tags=tags, **group)
    stranger = instance.create_run_for_job(job)
    mine = instance.create_run_for_job(job, tags={**tags, **({RESUME_TAG: tag} if tag else {})}, **group)
    materialise(instance, root.run_id, (ONE, "a"), (TWO, "d"))
    materialise(instance, second.run_id, (ONE, "b"))
    materialise(instance, stranger.run_id, (ONE, "c"))
    materialise(instance, mine.run_id, (ONE, "d"))
    assert materialised_before(instance, mine, ONE) == expected
