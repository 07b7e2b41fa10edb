"""Pausing backfills: what is written down of it, and who goes on with what."""

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus
from dagster._core.storage.tags import BACKFILL_ID_TAG

from backfill_assets.errors import UsageError
from backfill_assets.following import find, has_ended
from backfill_assets.launching import Launched, cancel, launch, recover, resume
from backfill_assets.pausing import (
    PAUSED_TAG,
    PAUSED_UNTIL_TAG,
    STOPPED_TAG,
    is_paused,
    pause_mark,
    paused_until,
    stopped_runs,
    was_paused,
)
from backfill_assets_tests.test_following import RETRIES, TAGS, age, crashed
from backfill_assets_tests.test_launching import GRAPH, ONE, end, no_lock, request, start, targets
from backfill_assets_tests.test_launching_cancel import Coordinator, no_sleep, run_of
from backfill_assets_tests.test_launching_cancel import instance as instance

# Dagster writes queries that SQLAlchemy grumbles about.
pytestmark = pytest.mark.filterwarnings("ignore:Coercing Subquery:sqlalchemy.exc.SAWarning")

UNTIL = datetime(2030, 1, 1, 22, tzinfo=UTC)


@pytest.fixture
def coordinator() -> Coordinator:
    return Coordinator()


def pause(instance: dg.DagsterInstance, backfill_id: str, *, ended: bool = True) -> None:
    mark = pause_mark(find(instance, backfill_id), UNTIL)
    cancel(instance, backfill_id, sleep=no_sleep, mark=mark)
    if ended:
        end(instance, backfill_id, (ONE, "a"), status="CANCELED")


def go_on(instance: dg.DagsterInstance, backfill_id: str) -> Launched:
    return resume(instance, GRAPH, backfill_id, lock=no_lock)


def test_a_paused_backfill_says_until_when_also_while_it_is_being_stopped(instance: dg.DagsterInstance) -> None:
    backfill_id = start(instance).backfill_id
    assert not is_paused(find(instance, backfill_id))
    queued = run_of(instance, backfill_id, "QUEUED")
    pause(instance, backfill_id, ended=False)
    stopping = find(instance, backfill_id)
    assert (stopping.status, is_paused(stopping)) == (BulkActionStatus.CANCELING, True)
    found = instance.get_run_by_id(queued)
    assert found is not None
    assert found.status is dg.DagsterRunStatus.CANCELED
    end(instance, backfill_id, status="CANCELED")
    paused = find(instance, backfill_id)
    assert is_paused(paused)
    assert paused_until(paused) == UNTIL


def test_a_daemon_that_writes_back_what_it_read_before_does_not_undo_a_pause(instance: dg.DagsterInstance) -> None:
    backfill_id = start(instance).backfill_id
    read, late = find(instance, backfill_id), [True]

    def daemon(_: float) -> None:
        if late.pop() if late else False:
            instance.update_backfill(read)

    cancel(instance, backfill_id, sleep=daemon, mark=pause_mark(read, UNTIL))
    assert is_paused(find(instance, backfill_id))


@pytest.mark.parametrize("ended", [True, False])
def test_a_person_who_cancels_a_paused_backfill_takes_the_pause_away(instance: dg.DagsterInstance, ended: bool) -> None:
    backfill_id = start(instance).backfill_id
    pause(instance, backfill_id, ended=ended)
    assert cancel(instance, backfill_id, sleep=no_sleep) == 0
    cancelled = find(instance, backfill_id)
    assert (is_paused(cancelled), was_paused(cancelled)) == (False, True)
    if ended:
        with pytest.raises(UsageError, match=r"has ended \(CANCELED\); there is nothing to stop"):
            cancel(instance, backfill_id)
        assert go_on(instance, backfill_id).is_new


def test_a_paused_backfill_that_goes_on_does_the_rest_and_is_paused_no_more(instance: dg.DagsterInstance) -> None:
    backfill_id = start(instance).backfill_id
    pause(instance, backfill_id)
    resumed = find(instance, go_on(instance, backfill_id).backfill_id)
    assert targets(resumed) == {("one", x) for x in "bcd"} | {("two", x) for x in "ab"}
    assert not {PAUSED_TAG, PAUSED_UNTIL_TAG} & resumed.tags.keys()
    assert not is_paused(find(instance, backfill_id))


def test_the_same_target_asked_for_while_it_is_paused_is_the_paused_one(instance: dg.DagsterInstance) -> None:
    backfill_id = start(instance).backfill_id
    pause(instance, backfill_id)
    assert start(instance) == Launched(backfill_id=backfill_id, is_new=False)
    cancel(instance, backfill_id)
    assert start(instance).is_new


def test_a_backfill_can_be_launched_as_a_paused_one(instance: dg.DagsterInstance) -> None:
    launched = launch(instance, GRAPH, request(paused_until=UNTIL), lock=no_lock)
    waiting = find(instance, launched.backfill_id)
    assert (launched.is_new, has_ended(waiting), is_paused(waiting), paused_until(waiting)) == (True, True, True, UNTIL)
    assert start(instance) == Launched(backfill_id=launched.backfill_id, is_new=False)
    resumed = find(instance, go_on(instance, launched.backfill_id).backfill_id)
    assert targets(resumed) == {("one", x) for x in "abcd"} | {("two", x) for x in "ab"}


def test_a_reexecution_onto_which_dagster_copies_the_tags_is_not_paused(instance: dg.DagsterInstance) -> None:
    backfill_id = start(instance).backfill_id
    pause(instance, backfill_id)
    copied = start(instance, key="other", tags=find(instance, backfill_id).tags).backfill_id
    end(instance, copied, status="COMPLETED_FAILED")
    again = find(instance, copied)
    assert again.tags[PAUSED_TAG] == backfill_id
    assert (is_paused(again), was_paused(again)) == (False, False)


def test_one_that_was_paused_and_has_succeeded_after_all_is_not_paused(instance: dg.DagsterInstance) -> None:
    backfill_id = start(instance).backfill_id
    pause(instance, backfill_id, ended=False)
    end(instance, backfill_id, status="COMPLETED_SUCCESS")
    assert not is_paused(find(instance, backfill_id))


@pytest.mark.parametrize("stopped", [True, False])
def test_a_lost_retry_of_a_backfill_that_stopped_by_itself_is_not_recovered_before_it_may_go_on(
    tmp_path: Path, stopped: bool
) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides=RETRIES) as with_retries:
        backfill_id = crashed(with_retries)
        if stopped:
            job = dg.JobDefinition(graph_def=dg.GraphDefinition(name="job"))
            tags = {BACKFILL_ID_TAG: backfill_id, STOPPED_TAG: "backfill_hours"}
            with_retries.create_run_for_job(job, tags=tags, status=dg.DagsterRunStatus.FAILURE)
        age(with_retries, backfill_id, 30)
        assert len(stopped_runs(with_retries, find(with_retries, backfill_id))) == int(stopped)
        assert len(recover(with_retries, GRAPH, TAGS, lock=no_lock)) == int(not stopped)
