"""What becomes of a job, whatever happens on its way."""

from collections.abc import Callable

import pytest

from backfill_assets.core.jobs import Claimant, Job, JobStatus, Options, Standing
from backfill_assets.errors import PermanentError, TransientError
from backfill_assets.table_backfill.backfill import JobDone, JobFailed, JobLeft, JobUnclaimed, job_key
from backfill_assets_tests.table_backfill.queues import LAKE, MART, InMemory, a_job
from backfill_assets_tests.table_backfill.shelves import ME, Shelf, Shop, Target

ROWS = {number: "eu" if number % 2 else "us" for number in range(1, 101)}
ODD = {number: region for number, region in ROWS.items() if region == "eu"}


@pytest.fixture
def installation() -> InMemory:
    """A queue without jobs."""
    return InMemory()


@pytest.fixture
def shop(installation: InMemory) -> Shop:
    """A hundred rows, and two destinations; the second takes odd ids only."""
    return Shop(queue=installation.queue, source=Shelf(rows=dict(ROWS)), targets={"lake": Target(), "mart": Target()})


def found(shop: Shop, job_id: int = 7) -> Job:
    job = shop.queue.find(job_id)
    assert job is not None
    return job


def test_a_job_brings_its_rows_to_every_destination(installation: InMemory, shop: Shop) -> None:
    installation.put(a_job())
    outcome = shop.backfill().run(7)
    assert isinstance(outcome, JobDone)
    assert shop.targets["lake"].rows == ROWS
    assert shop.targets["mart"].rows == ODD
    job = found(shop)
    assert (job.status, job.count_record, job.total_record, job.is_error) == (JobStatus.COMPLETED, 100, 100, False)
    assert (outcome.rows, outcome.source_rows, outcome.destinations) == (100, 100, 2)
    assert not shop.pauses
    assert [target.positions for target in shop.targets.values()] == [{}, {}]


def test_the_filter_of_the_job_and_that_of_the_destination_must_both_hold(installation: InMemory, shop: Shop) -> None:
    installation.put(a_job(filter_sql="id IN (1,2,3)"))
    shop.backfill().run(7)
    assert sorted(shop.targets["lake"].rows) == [1, 2, 3]
    assert sorted(shop.targets["mart"].rows) == [1, 3]


def test_the_total_is_known_before_the_first_batch(installation: InMemory, shop: Shop) -> None:
    seen: list[tuple[int, int]] = []
    shop.targets["lake"].before_batch = lambda _n: seen.append((found(shop).count_record, found(shop).total_record))
    installation.put(a_job(pipeline_id=2))
    shop.backfill().run(7)
    assert seen == [(done, 100) for done in range(0, 100, 10)]


def test_every_five_seconds_the_log_says_count_total_and_percent(installation: InMemory, shop: Shop) -> None:
    def pass_time(_number: int) -> None:
        shop.now += 2

    shop.targets["lake"].before_batch = pass_time
    installation.put(a_job(pipeline_id=2))
    shop.backfill().run(7)
    lines = [line for line in shop.told if "%" in line]
    assert lines == [
        "job 7: 0 of 100 rows (0 %)",
        "job 7: 30 of 100 rows (30 %)",
        "job 7: 60 of 100 rows (60 %)",
        "job 7: 90 of 100 rows (90 %)",
    ]


def test_a_cancel_is_seen_within_one_batch_and_the_job_goes_on_where_it_was(installation: InMemory, shop: Shop) -> None:
    target = shop.targets["lake"]
    target.before_batch = lambda number: None if number != 3 else void(shop.queue.cancel(7))
    installation.put(a_job(pipeline_id=2))
    assert shop.backfill().run(7) == JobLeft(job_id=7, standing=Standing.CANCELLED)
    job = found(shop)
    assert (job.status, job.count_record) == (JobStatus.CANCELLED, 30)
    assert len(target.rows) == 30
    outcome = shop.backfill(Claimant(engine="here", run_id="run 2")).run(7, also=[JobStatus.CANCELLED])
    assert isinstance(outcome, JobDone)
    assert target.batches == 10
    assert target.rows == ROWS
    assert found(shop).count_record == 100


def void(_: object) -> None:
    """Forget it."""


def test_a_job_deleted_on_the_way_stops_and_leaves_no_cursor(installation: InMemory, shop: Shop) -> None:
    def delete(number: int) -> None:
        if number == 2:
            shop.queue.cancel(7)
            shop.queue.delete(7)

    shop.targets["lake"].before_batch = delete
    installation.put(a_job(pipeline_id=2))
    assert shop.backfill().run(7) == JobLeft(job_id=7, standing=Standing.DELETED)
    assert shop.targets["lake"].batches == 2
    assert shop.targets["lake"].positions == {}


def test_a_job_that_another_run_has_taken_over_is_left_alone(installation: InMemory, shop: Shop) -> None:
    def take_over(number: int) -> None:
        if number == 2:
            shop.queue.release(7, ME, "run 1 seems dead")
            shop.queue.claim(7, Claimant(engine="here", run_id="run 2"))

    shop.targets["lake"].before_batch = take_over
    installation.put(a_job(pipeline_id=2))
    assert shop.backfill().run(7) == JobLeft(job_id=7, standing=Standing.TAKEN)
    assert shop.targets["lake"].batches == 2
    assert found(shop).status is JobStatus.EXECUTING


def test_a_destination_that_fails_makes_the_job_failed_and_the_others_are_finished(
    installation: InMemory, shop: Shop
) -> None:
    """The engine before said COMPLETED of a job whose destination had no such table."""
    shop.targets["lake"].prepare_fails = PermanentError("there is no table orders")
    installation.put(a_job())
    outcome = shop.backfill().run(7)
    assert isinstance(outcome, JobFailed)
    job = found(shop)
    assert (job.status, job.is_error) == (JobStatus.FAILED, True)
    assert job.error_message == "Destination lake: there is no table orders"
    assert shop.targets["lake"].rows == {}
    assert shop.targets["mart"].rows == ODD


def test_a_failure_in_the_middle_is_told_too(installation: InMemory, shop: Shop) -> None:
    shop.targets["mart"].before_batch = raising(PermanentError("the disk is full"), at={2})
    installation.put(a_job())
    shop.backfill().run(7)
    assert found(shop).error_message == "Destination mart: the disk is full"
    assert len(shop.targets["mart"].rows) == 10
    assert shop.targets["lake"].rows == ROWS


def raising(error: Exception, *, at: set[int]) -> Callable[[int], None]:
    def before(number: int) -> None:
        if number in at:
            raise error

    return before


def test_what_passes_is_tried_again_from_the_cursor(installation: InMemory, shop: Shop) -> None:
    target = shop.targets["lake"]
    target.before_batch = raising(TransientError("The server restarts."), at={3, 4, 8})
    installation.put(a_job(pipeline_id=2))
    assert isinstance(shop.backfill().run(7), JobDone)
    assert target.rows == ROWS
    assert target.batches == 13
    assert len(shop.pauses) == 3


def test_what_does_not_pass_is_given_up_with_its_sentence(installation: InMemory, shop: Shop) -> None:
    shop.targets["lake"].before_batch = raising(TransientError("The server is away."), at=set(range(2, 99)))
    installation.put(a_job(pipeline_id=2))
    shop.backfill().run(7)
    assert found(shop).error_message == "Destination lake: The server is away."
    assert len(shop.pauses) == 5


def test_rows_that_did_not_arrive_make_the_job_failed_and_are_named(installation: InMemory, shop: Shop) -> None:
    shop.targets["lake"].loses = {40, 41}
    installation.put(a_job(pipeline_id=2))
    shop.backfill().run(7)
    job = found(shop)
    assert job.status is JobStatus.FAILED
    assert "(start, 41]: 2 missing, 0 different" in str(job.error_message)


@pytest.mark.parametrize(
    ("job", "told"),
    [
        (a_job(pipeline_id=9), "Pipeline with id '9' not found"),
        (a_job(pipeline_id=2, table_name="other"), "Table 'other' does not exist in source"),
        (a_job(table_name="nosuch"), "Table 'nosuch' is synchronised to no destination"),
        (a_job(filter_sql="id = abc"), "The filter compares id, which is integer, with 'abc'"),
        (a_job(filter_sql="id = 1 OR 1=1"), "The filter cannot be read"),
    ],
)
def test_what_cannot_be_done_fails_with_a_sentence_and_moves_nothing(
    installation: InMemory, shop: Shop, job: Job, told: str
) -> None:
    installation.put(job)
    shop.backfill().run(7)
    failed = found(shop)
    assert failed.status is JobStatus.FAILED
    assert str(failed.error_message).startswith(told)
    assert shop.targets["lake"].rows == {}


def test_custom_sql_fails_its_destination(installation: InMemory, shop: Shop) -> None:
    shop.source.shapes["views"] = shop.source.shapes["orders"]
    installation.put(a_job(table_name="views"))
    shop.backfill().run(7)
    assert str(found(shop).error_message).startswith("Destination mart: the table is synchronised by custom_sql")


def test_a_duplicate_of_an_active_job_fails_with_the_platforms_sentence(installation: InMemory, shop: Shop) -> None:
    installation.put(a_job(5, status=JobStatus.EXECUTING))
    installation.put(a_job(6, filter_sql="id = 1"))
    installation.put(a_job())
    shop.backfill().run(7)
    assert str(found(shop).error_message).startswith("An active backfill job already exists for table 'orders'")


@pytest.mark.parametrize("status", [JobStatus.COMPLETED, JobStatus.CANCELLED, JobStatus.EXECUTING])
def test_a_job_that_does_not_wait_is_not_touched(installation: InMemory, shop: Shop, status: JobStatus) -> None:
    """A cancel between the look at the queue and the start was overwritten by the engine before."""
    installation.put(a_job(status=status))
    outcome = shop.backfill().run(7)
    assert isinstance(outcome, JobUnclaimed)
    assert found(shop).status is status
    assert shop.targets["lake"].rows == {}
    assert shop.backfill().run(99) == JobUnclaimed(job_id=99, job=None)


def test_what_nobody_foresaw_fails_the_job_and_the_run(installation: InMemory, shop: Shop) -> None:
    shop.targets["lake"].before_batch = raising(KeyError("secret"), at={1})
    installation.put(a_job())
    with pytest.raises(KeyError):
        shop.backfill().run(7)
    job = found(shop)
    assert job.status is JobStatus.FAILED
    assert job.error_message == "unexpected KeyError; the log of run run 1 says where"


class Interrupted(BaseException):
    """As Dagster's own: no Exception."""


def test_a_run_that_is_stopped_leaves_the_job_resumable_and_never_completed(installation: InMemory, shop: Shop) -> None:
    """The engine before said COMPLETED of 500 of 2500 when it was stopped."""

    def interrupt(number: int) -> None:
        if number == 4:
            raise Interrupted

    target = shop.targets["lake"]
    target.before_batch = interrupt
    installation.put(a_job(pipeline_id=2))
    with pytest.raises(Interrupted):
        shop.backfill().run(7)
    job = found(shop)
    assert (job.status, job.count_record) == (JobStatus.EXECUTING, 30)
    shop.queue.release(7, ME, "run 1 died")
    assert isinstance(shop.backfill().run(7), JobDone)
    assert target.batches == 11
    assert (found(shop).count_record, found(shop).resume_attempts) == (100, 1)


def test_jobs_of_one_destination_table_come_one_after_another(installation: InMemory, shop: Shop) -> None:
    installation.put(a_job(pipeline_id=2))
    with shop.queue.hold([LAKE.place], keep_waiting=lambda: False):
        # It waits as EXECUTING, and hears a cancel meanwhile.
        original = shop.queue.advance

        def advance(job_id: int, by: Claimant, *, rows: int, total: int | None = None) -> Standing:
            shop.queue.cancel(7)
            return original(job_id, by, rows=rows, total=total)

        installation.queue.advance = advance  # type: ignore[method-assign]
        assert shop.backfill().run(7) == JobLeft(job_id=7, standing=Standing.CANCELLED)
    assert shop.targets["lake"].rows == {}


def test_a_job_that_asks_for_something_else_begins_anew() -> None:
    job = a_job()
    keys = {
        job_key(job, LAKE),
        job_key(job, MART),
        job_key(a_job(filter_sql="id = 1"), LAKE),
        job_key(a_job(8), LAKE),
    }
    assert len(keys) == 4
    assert job_key(a_job(count_record=5, status=JobStatus.FAILED), LAKE) == job_key(job, LAKE)


def test_options_reach_the_destination(installation: InMemory, shop: Shop) -> None:
    loads: list[bool] = []
    shop.targets["lake"].prepare = lambda load: loads.append(load.create_table)  # type: ignore[method-assign]
    installation.put(a_job(pipeline_id=2), Options(create_table=True))
    shop.backfill().run(7)
    assert loads == [True]
