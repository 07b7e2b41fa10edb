"""What Dagster says of a backfill is corrected by what its runs did."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus
from dagster._core.storage.tags import BACKFILL_ID_TAG, RUN_FAILURE_REASON_TAG

from backfill_assets.errors import UsageError
from backfill_assets.following import (
    all_runs_succeeded,
    began,
    find,
    first_asked_for,
    has_succeeded,
    launched_at,
    settle,
)
from backfill_assets.launching import DOMAIN_TAG, RECENT_SECONDS, RETRY_SECONDS, recover, resume
from backfill_assets_tests.test_launching import GRAPH, ONE, TWO, end, materialise, no_lock, start, targets

# Dagster writes queries that SQLAlchemy grumbles about.
pytestmark = pytest.mark.filterwarnings("ignore:Coercing Subquery:sqlalchemy.exc.SAWarning")

RETRIES = {"run_retries": {"enabled": True, "max_retries": 2}}
SEEN = [(ONE, "a"), (ONE, "b"), (TWO, "a")]
LATE = [(ONE, "c"), (ONE, "d"), (TWO, "b")]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        ephemeral.run_storage.migrate()
        yield ephemeral


@pytest.fixture
def with_retries(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides=RETRIES) as local:
        yield local


def ended(instance: dg.DagsterInstance, *late: tuple[dg.AssetKey, str], status: str = "COMPLETED_FAILED") -> str:
    """A backfill that ended when Dagster had seen only a part of what its runs did."""
    backfill_id = start(instance).backfill_id
    job = dg.JobDefinition(graph_def=dg.GraphDefinition(name="job"))
    for done in (SEEN, late):
        run = instance.create_run_for_job(job, tags={BACKFILL_ID_TAG: backfill_id})
        materialise(instance, run.run_id, *done)
    end(instance, backfill_id, *SEEN, status=status)
    return backfill_id


def test_a_retry_that_ended_between_two_looks_of_the_daemon_counts(instance: dg.DagsterInstance) -> None:
    backfill_id = ended(instance, *LATE)
    assert has_succeeded(settle(instance, GRAPH, find(instance, backfill_id)))
    assert has_succeeded(find(instance, backfill_id))


def test_what_is_really_missing_stays_failed_and_is_all_that_is_resumed(instance: dg.DagsterInstance) -> None:
    backfill_id = ended(instance, *LATE[:2])
    assert settle(instance, GRAPH, find(instance, backfill_id)).status is BulkActionStatus.COMPLETED_FAILED
    again = resume(instance, GRAPH, backfill_id, lock=no_lock)
    assert targets(find(instance, again.backfill_id)) == {("two", "b")}


def test_resuming_one_that_was_called_failed_too_early_launches_nothing(instance: dg.DagsterInstance) -> None:
    backfill_id = ended(instance, *LATE)
    with pytest.raises(UsageError, match="nothing left to do"):
        resume(instance, GRAPH, backfill_id, lock=no_lock)
    assert has_succeeded(find(instance, backfill_id))


def test_materialisations_of_other_backfills_do_not_count(instance: dg.DagsterInstance) -> None:
    backfill_id = ended(instance)
    job = dg.JobDefinition(graph_def=dg.GraphDefinition(name="job"))
    materialise(instance, instance.create_run_for_job(job, tags={BACKFILL_ID_TAG: "another"}).run_id, *LATE)
    assert not has_succeeded(settle(instance, GRAPH, find(instance, backfill_id)))


@pytest.mark.parametrize("status", ["CANCELED", "FAILED", "REQUESTED"])
def test_only_one_that_dagster_calls_partly_failed_is_settled(instance: dg.DagsterInstance, status: str) -> None:
    backfill_id = ended(instance, *LATE, status=status)
    assert settle(instance, GRAPH, find(instance, backfill_id)).status.value == status


def crashed(instance: dg.DagsterInstance, *, reason: str = "START_TIMEOUT", retried: bool = False) -> str:
    """A backfill that ended while Dagster should have tried its one run again."""
    backfill_id = ended(instance, status="REQUESTED")
    job = dg.JobDefinition(graph_def=dg.GraphDefinition(name="job"))
    tags = {BACKFILL_ID_TAG: backfill_id, RUN_FAILURE_REASON_TAG: reason}
    run = instance.create_run_for_job(job, tags=tags, status=dg.DagsterRunStatus.FAILURE)
    if retried:
        family = {"dagster/parent_run_id": run.run_id, "dagster/root_run_id": run.run_id}
        tags = {BACKFILL_ID_TAG: backfill_id, **family}
        instance.create_run_for_job(job, tags=tags, parent_run_id=run.run_id, root_run_id=run.run_id)
    end(instance, backfill_id, *SEEN)
    return backfill_id


def age(instance: dg.DagsterInstance, backfill_id: str, seconds: float) -> None:
    instance.update_backfill(find(instance, backfill_id)._replace(backfill_end_timestamp=time.time() - seconds))


TAGS = {DOMAIN_TAG: "letters"}


@pytest.mark.parametrize(("seconds", "settled"), [(RETRY_SECONDS / 2, False), (30, True), (RECENT_SECONDS + 60, False)])
def test_recovering_settles_those_that_ended_lately(
    instance: dg.DagsterInstance, seconds: float, settled: bool
) -> None:
    backfill_id = ended(instance, *LATE)
    age(instance, backfill_id, seconds)
    assert recover(instance, GRAPH, TAGS, lock=no_lock) == []
    assert has_succeeded(find(instance, backfill_id)) is settled


def test_a_backfill_that_lost_the_retry_of_a_crashed_run_is_resumed_once(with_retries: dg.DagsterInstance) -> None:
    """The daemon looked between the failure of the run and the mark that it would be retried."""
    backfill_id = crashed(with_retries)
    age(with_retries, backfill_id, 30)
    [again] = recover(with_retries, GRAPH, TAGS, lock=no_lock)
    assert again.is_new
    assert targets(find(with_retries, again.backfill_id)) == {(k.to_user_string(), p) for k, p in LATE}
    end(with_retries, again.backfill_id)
    assert recover(with_retries, GRAPH, TAGS, lock=no_lock) == []


@pytest.mark.parametrize("how", [{"reason": "STEP_FAILURE"}, {"retried": True}], ids=["by its sentence", "retried"])
def test_one_that_failed_for_good_is_left_to_a_person(with_retries: dg.DagsterInstance, how: dict[str, Any]) -> None:
    backfill_id = crashed(with_retries, **how)
    age(with_retries, backfill_id, 30)
    assert recover(with_retries, GRAPH, TAGS, lock=no_lock) == []


def test_without_retries_none_is_lost(instance: dg.DagsterInstance) -> None:
    backfill_id = crashed(instance)
    age(instance, backfill_id, 30)
    assert recover(instance, GRAPH, TAGS, lock=no_lock) == []


def test_runs_that_succeed_without_a_partition_are_told_from_runs_that_fail(instance: dg.DagsterInstance) -> None:
    assert not all_runs_succeeded(instance, "it")
    job = dg.JobDefinition(graph_def=dg.GraphDefinition(name="job"))
    tags = {BACKFILL_ID_TAG: "it"}
    instance.create_run_for_job(job, tags=tags, status=dg.DagsterRunStatus.SUCCESS)
    assert all_runs_succeeded(instance, "it")
    instance.create_run_for_job(job, tags=tags, status=dg.DagsterRunStatus.FAILURE)
    assert not all_runs_succeeded(instance, "it")


def test_what_goes_on_with_the_rest_of_a_backfill_was_first_asked_for_with_that_one(
    instance: dg.DagsterInstance,
) -> None:
    first = ended(instance)
    again = resume(instance, GRAPH, first, lock=no_lock).backfill_id
    end(instance, again, status="COMPLETED_FAILED")
    once_more = resume(instance, GRAPH, again, lock=no_lock).backfill_id
    job = dg.JobDefinition(graph_def=dg.GraphDefinition(name="job"))
    moments = []
    for backfill_id in (first, again, once_more):
        run = instance.create_run_for_job(job, tags={BACKFILL_ID_TAG: backfill_id})
        assert began(instance, run) == launched_at(find(instance, backfill_id))
        moments.append(first_asked_for(instance, run))
    assert moments == [launched_at(find(instance, first))] * 3
    alone = instance.create_run_for_job(job)
    assert first_asked_for(instance, alone) >= moments[0]
