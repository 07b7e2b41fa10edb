"""What every queue does, in memory and in the platform's database, the oldest and the newest."""

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from backfill_assets.core.jobs import Claimant, JobStatus, Options, Standing
from backfill_assets.core.tables import OnConflict
from backfill_assets.errors import PermanentError, UsageError
from backfill_assets_tests.table_backfill.queues import (
    CUSTOM,
    LAKE,
    MART,
    SERVER,
    InMemory,
    InSql,
    Installation,
    a_job,
    in_sql,
)

ME = Claimant(engine="here", run_id="run 1")
OTHER = Claimant(engine="here", run_id="run 2")


@pytest.fixture(params=["memory", "newest", "oldest"])
def installation(request: pytest.FixtureRequest) -> Iterator[Installation]:
    """An installation without jobs."""
    if request.param == "memory":
        yield InMemory()
        return
    with in_sql(request.getfixturevalue("database_url"), oldest=request.param == "oldest") as opened:
        yield opened


def status_of(installation: Installation, job_id: int = 7) -> JobStatus | str:
    job = installation.queue.find(job_id)
    assert job is not None
    return job.status


def test_a_job_is_claimed_once(installation: Installation) -> None:
    installation.put(a_job())
    claimed = installation.queue.claim(7, ME)
    assert claimed is not None
    assert claimed.status is JobStatus.EXECUTING
    assert installation.queue.claim(7, OTHER) is None
    assert installation.queue.claimed_by(7) == ME
    [taken] = installation.queue.executing()
    assert (taken.job.id, taken.by) == (7, ME)
    assert installation.queue.pending() == []


def test_of_many_who_claim_at_once_one_has_it(installation: Installation) -> None:
    installation.put(a_job())
    got: list[object] = []
    ready = threading.Barrier(4)

    def claim(number: int) -> None:
        ready.wait()
        got.append(installation.queue.claim(7, Claimant(engine="here", run_id=str(number))))

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([one for one in got if one is not None]) == 1


def test_a_cancelled_job_is_not_claimed_unless_that_is_meant(installation: Installation) -> None:
    """The engine before overwrote a cancel between its look at the queue and its start."""
    installation.put(a_job())
    installation.queue.cancel(7)
    assert installation.queue.claim(7, ME) is None
    assert status_of(installation) is JobStatus.CANCELLED
    assert installation.queue.claim(7, ME, also=[JobStatus.CANCELLED]) is not None


def test_progress_is_shown_and_a_cancel_is_heard(installation: Installation) -> None:
    installation.put(a_job())
    queue = installation.queue
    queue.claim(7, ME)
    assert queue.advance(7, ME, rows=500, total=2500) is Standing.GOES_ON
    job = queue.find(7)
    assert job is not None
    assert job.count_record == 500
    queue.cancel(7)
    assert queue.advance(7, ME, rows=1000) is Standing.CANCELLED
    assert queue.complete(7, ME, rows=2500) is Standing.CANCELLED
    after = queue.find(7)
    assert after is not None
    assert (after.status, after.is_error, after.error_message) == (JobStatus.CANCELLED, False, None)
    # What was committed before the run heard of it is shown.
    assert after.count_record in (1000, 2500)


def test_a_deleted_job_is_heard_of(installation: Installation) -> None:
    installation.put(a_job())
    queue = installation.queue
    queue.claim(7, ME)
    with pytest.raises(UsageError, match=r"^Cannot delete job that is currently executing\. Cancel it first\.$"):
        queue.delete(7)
    queue.cancel(7)
    queue.delete(7)
    assert queue.advance(7, ME, rows=1) is Standing.DELETED
    assert queue.find(7) is None
    with pytest.raises(UsageError, match="'7' not found"):
        queue.delete(7)


def test_whoever_lost_the_job_changes_nothing_of_it(installation: Installation) -> None:
    installation.put(a_job())
    queue = installation.queue
    queue.claim(7, ME)
    queue.release(7, ME, "run 1 died")
    queue.claim(7, OTHER)
    assert queue.advance(7, ME, rows=9) is Standing.TAKEN
    assert queue.complete(7, ME, rows=9) is Standing.TAKEN
    assert queue.fail(7, ME, "late") is Standing.TAKEN
    assert queue.release(7, ME, "again") is None
    assert queue.complete(7, OTHER, rows=3) is Standing.GOES_ON
    job = queue.find(7)
    assert job is not None
    assert (job.status, job.count_record) == (JobStatus.COMPLETED, 3)


def test_a_job_whose_run_died_is_taken_up_three_times(installation: Installation) -> None:
    installation.put(a_job())
    queue = installation.queue
    for attempt in (1, 2, 3):
        queue.claim(7, ME)
        released = queue.release(7, ME, "run 1 died")
        assert released is not None
        assert (released.status, released.resume_attempts) == (JobStatus.PENDING, attempt)
    queue.claim(7, ME)
    failed = queue.release(7, ME, "run 1 died")
    assert failed is not None
    assert failed.status is JobStatus.FAILED
    # The oldest queue has no room for a reason.
    assert failed.error_message in (None, "Maximum resume attempts exceeded: run 1 died")
    # A person who asks for it again has it taken up as often anew.
    queue.claim(7, ME, also=[JobStatus.FAILED])
    again = queue.release(7, ME, "run 1 died")
    assert again is not None
    assert again.status is JobStatus.PENDING


def test_a_failure_says_so_and_a_new_start_forgets_it() -> None:
    installation = InMemory()
    installation.put(a_job())
    queue = installation.queue
    queue.claim(7, ME)
    queue.fail(7, ME, "x" * 900)
    job = queue.find(7)
    assert job is not None
    assert (job.status, job.is_error, len(job.error_message or "")) == (JobStatus.FAILED, True, 500)
    queue.claim(7, ME, also=[JobStatus.FAILED])
    anew = queue.find(7)
    assert anew is not None
    assert (anew.is_error, anew.error_message) == (False, None)


def test_a_terminated_run_means_cancelled(installation: Installation) -> None:
    installation.put(a_job())
    queue = installation.queue
    queue.claim(7, ME)
    assert not queue.stop(7, OTHER)
    assert queue.stop(7, ME)
    assert status_of(installation) is JobStatus.CANCELLED


def test_what_a_pipeline_reads_and_writes_is_found(installation: Installation) -> None:
    queue = installation.queue
    assert queue.source(a_job()) == SERVER
    assert list(queue.routes(a_job())) == [LAKE, MART]
    assert list(queue.routes(a_job(table_name="views"))) == [CUSTOM]
    assert list(queue.tables_of(1)) == ["orders", "views"]
    assert "hidden" not in repr(queue.source(a_job()))
    assert "'p'" not in repr(queue.routes(a_job()))


@pytest.mark.parametrize(
    ("job", "told"),
    [
        (a_job(pipeline_id=9), "^Pipeline with id '9' not found$"),
        (a_job(table_name="nosuch"), "Table 'nosuch' is synchronised to no destination of pipeline 'first'"),
        (a_job(pipeline_id=3), "Pipeline 'bare' has no destination"),
    ],
)
def test_a_job_that_leads_nowhere_is_a_sentence(installation: Installation, job: object, told: str) -> None:
    with pytest.raises(PermanentError, match=told):
        installation.queue.routes(job)  # type: ignore[arg-type]


def test_options_are_the_defaults_unless_said(installation: Installation) -> None:
    said = Options(on_conflict=OnConflict.NEWEST, version_column="v", create_table=True)
    installation.put(a_job(7))
    installation.put(a_job(8), said)
    assert installation.queue.options(7) == Options()
    assert installation.queue.options(8) == said


def test_a_job_that_is_added_waits(installation: Installation) -> None:
    said = Options(on_conflict=OnConflict.KEEP)
    job = installation.queue.add(pipeline_id=1, table_name="orders", filter_sql="id = '5'", options=said)
    assert [one.id for one in installation.queue.pending()] == [job.id]
    assert (job.source_id, job.filter_sql, job.count_record) == (1, "id = '5'", 0)
    assert installation.queue.options(job.id) == said
    with pytest.raises(UsageError, match="Pipeline with id '9' not found"):
        installation.queue.add(pipeline_id=9, table_name="orders", filter_sql=None, options=Options())


def test_jobs_are_listed_newest_first(installation: Installation) -> None:
    for job in (a_job(1), a_job(2, pipeline_id=2), a_job(3, status=JobStatus.COMPLETED), a_job(4, status="ODD")):
        installation.put(job)
    queue = installation.queue
    assert [job.id for job in queue.jobs()] == [4, 3, 2, 1]
    assert [job.id for job in queue.jobs(pipeline_id=2)] == [2]
    assert [job.id for job in queue.jobs(status=JobStatus.COMPLETED)] == [3]
    assert [job.id for job in queue.pending()] == [1, 2]


def test_only_what_may_be_is_cancelled_and_resumed(installation: Installation) -> None:
    installation.put(a_job(7, status=JobStatus.COMPLETED))
    installation.put(a_job(8, status=JobStatus.FAILED))
    queue = installation.queue
    with pytest.raises(UsageError, match=r"^Cannot cancel job with status COMPLETED$"):
        queue.cancel(7)
    with pytest.raises(UsageError, match="Cannot resume job with status COMPLETED"):
        queue.requeue(7)
    assert queue.requeue(8).status is JobStatus.PENDING


def test_an_older_active_job_that_asks_for_the_same_is_found(installation: Installation) -> None:
    job = a_job(8, filter_sql="a = '1'")
    installation.put(a_job(5, filter_sql="a = '1'", status=JobStatus.COMPLETED))
    installation.put(a_job(6, filter_sql="a = '2'"))
    installation.put(job)
    installation.put(a_job(9, filter_sql="a = '1'"))
    assert installation.queue.active_like(job) is None
    installation.put(replace(job, id=4))
    found = installation.queue.active_like(job)
    assert found is not None
    assert found.id == 4


def test_one_at_a_time_writes_a_place_and_others_go_on(installation: Installation) -> None:
    queue = installation.queue
    refused = iter([True, False])
    with queue.hold(["1:a", "2:b"], keep_waiting=lambda: False) as first:
        assert first
        with queue.hold(["3:c"], keep_waiting=lambda: False) as beside:
            assert beside
        with queue.hold(["1:a"], keep_waiting=lambda: next(refused)) as second:
            assert not second
    with queue.hold(["1:a"], keep_waiting=lambda: False) as third:
        assert third


def test_a_claim_is_all_or_nothing_for_the_oldest(database_url: str) -> None:
    """It has neither reasons nor attempts; what it has is written."""
    with in_sql(database_url, oldest=True) as installation:
        installation.put(a_job())
        installation.queue.claim(7, ME)
        assert installation.queue.fail(7, ME, "reason") is Standing.GOES_ON
        job = installation.queue.find(7)
        assert job is not None
        assert (job.status, job.total_record, job.error_message) == (JobStatus.FAILED, 0, None)
        assert isinstance(installation, InSql)
