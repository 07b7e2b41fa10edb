"""What Dagster says of a backfill is corrected by what its runs did."""

import time
from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus
from dagster._core.storage.tags import BACKFILL_ID_TAG

from backfill_assets.errors import UsageError
from backfill_assets.following import RECENT_SECONDS, find, has_succeeded, settle, settle_recent
from backfill_assets.launching import DOMAIN_TAG, resume
from backfill_assets_tests.test_launching import GRAPH, ONE, TWO, end, materialise, no_lock, start, targets

# Dagster writes queries that SQLAlchemy grumbles about.
pytestmark = pytest.mark.filterwarnings("ignore:Coercing Subquery:sqlalchemy.exc.SAWarning")

SEEN = [(ONE, "a"), (ONE, "b"), (TWO, "a")]
LATE = [(ONE, "c"), (ONE, "d"), (TWO, "b")]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        ephemeral.run_storage.migrate()
        yield ephemeral


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


def test_who_looks_at_all_of_them_settles_those_that_ended_lately(instance: dg.DagsterInstance) -> None:
    backfill_id = ended(instance, *LATE)
    tags = {DOMAIN_TAG: "letters"}
    for age, settled in ((RECENT_SECONDS + 60, False), (10, True)):
        instance.update_backfill(find(instance, backfill_id)._replace(backfill_end_timestamp=time.time() - age))
        settle_recent(instance, GRAPH, tags)
        assert has_succeeded(find(instance, backfill_id)) is settled
