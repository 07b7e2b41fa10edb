"""Whole jobs between real databases: what went wrong in the engine before, and that it does not here."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import uuid4

import pytest

from backfill_assets.adapters.queue.passwords import Passwords
from backfill_assets.adapters.queue.sql import SqlQueue
from backfill_assets.adapters.tables.opening import open_destination, open_source
from backfill_assets.core.jobs import RESUMABLE, Claimant, Job, JobStatus
from backfill_assets.sandbox.postgres import EmbeddedPostgres
from backfill_assets.sandbox.tables.platform import make_platform, postgres_target
from backfill_assets.sandbox.tables.source import LiveWriter, make_source
from backfill_assets.table_backfill.backfill import JobLeft, JobUnclaimed, Outcome, TableBackfill
from backfill_assets_tests.table_backfill.queues import execute, rows_of

ROWS, BATCH = 2500, 500
ME = Claimant(engine="here", run_id="run 1")
pytestmark = pytest.mark.timeout(120)


@dataclass(kw_only=True)
class Installation:
    """A platform, its source and one destination, each a database."""

    platform: str
    source: str
    lake: str
    queue: SqlQueue
    told: list[str] = field(default_factory=list)

    def run(self, job_id: int, *, stop_after: int | None = None, also: bool = False) -> Outcome:
        """Carry out a job, and be stopped after so many looks at the run."""
        looks = 0

        def is_stopping() -> bool:
            nonlocal looks
            looks += 1
            if stop_after is not None and looks > stop_after:
                raise Interrupted
            return False

        return TableBackfill(
            queue=self.queue,
            by=ME,
            open_source=open_source,
            open_destination=open_destination,
            batch_size=BATCH,
            log=self.told.append,
            is_stopping=is_stopping,
        ).run(job_id, also=RESUMABLE if also else ())

    def add(self, filter_sql: str | None = None) -> int:
        """Queue the table; it is made at the destination."""
        sql = (
            "INSERT INTO queue_backfill_data (pipeline_id, source_id, table_name, filter_sql, status, count_record) "
            "VALUES (1, 1, 'orders', :filter, 'PENDING', 0)"
        )
        execute(self.platform, [(sql, {"filter": filter_sql})])
        [(job_id,)] = rows_of(self.platform, "SELECT max(id) FROM queue_backfill_data")
        execute(
            self.platform, [("INSERT INTO backfill_job_options VALUES (:id, 'overwrite', NULL, true)", {"id": job_id})]
        )
        return int(job_id)

    def job(self, job_id: int) -> Job:
        """A job as it stands."""
        job = self.queue.find(job_id)
        assert job is not None
        return job

    def assert_equal(self, where: str = "true") -> None:
        """The destination holds exactly these rows of the source."""
        wanted = rows_of(self.source, f"SELECT t::text FROM orders t WHERE {where} ORDER BY id")
        assert wanted
        assert rows_of(self.lake, "SELECT t::text FROM orders t ORDER BY id") == wanted


class Interrupted(BaseException):
    """As Dagster's own: no Exception."""


@pytest.fixture
def installation(postgres: EmbeddedPostgres) -> Iterator[Installation]:
    """An installation whose table has 2500 rows."""
    names = [f"{what}_{uuid4().hex}" for what in ("platform", "shop", "lake")]
    for name in names:
        postgres.create_database(name)
    platform, source, lake = map(postgres.url, names)
    make_source(source, rows=ROWS)
    make_platform(platform, source=source, targets=[postgres_target("lake", lake)], tables=["orders"])
    queue = SqlQueue(platform, Passwords(None))
    yield Installation(platform=platform, source=source, lake=lake, queue=queue)
    queue.close()
    for name in names:
        postgres.drop_database(name)


def test_conditions_joined_by_or_end_with_their_rows(installation: Installation) -> None:
    """It never ended: 25032 of 2 rows when it was stopped."""
    conditions = '{"column": "id", "operator": "=", "value": "7"}, {"column": "zip", "operator": "=", "value": "02222"}'
    job_id = installation.add(f'{{"version": 2, "groups": [{{"conditions": [{conditions}], "intraLogic": "OR"}}]}}')
    installation.run(job_id)
    job = installation.job(job_id)
    assert (job.status, job.count_record, job.total_record) == (JobStatus.COMPLETED, 2, 2)
    installation.assert_equal("id IN (7, 2222)")


def test_a_graceful_stop_in_the_middle_is_not_completed(installation: Installation) -> None:
    """It said COMPLETED of 500 of 2500."""
    job_id = installation.add()
    with pytest.raises(Interrupted):
        installation.run(job_id, stop_after=2)
    job = installation.job(job_id)
    assert job.status is JobStatus.EXECUTING
    assert 0 < job.count_record < ROWS
    released = installation.queue.release(job_id, ME, "run 1 died")
    assert released is not None
    installation.run(job_id)
    done = installation.job(job_id)
    assert (done.status, done.count_record, done.resume_attempts) == (JobStatus.COMPLETED, ROWS, 1)
    installation.assert_equal()


def test_a_cancel_before_the_start_is_not_overwritten(installation: Installation) -> None:
    """It became EXECUTING, and COMPLETED 2500."""
    job_id = installation.add()
    installation.queue.cancel(job_id)
    assert isinstance(installation.run(job_id), JobUnclaimed)
    assert installation.job(job_id).status is JobStatus.CANCELLED
    assert rows_of(installation.lake, "SELECT to_regclass('orders')") == [(None,)]


@pytest.mark.parametrize("text", ["customer = 'O'Brien 14'", "customer = 'O''Brien 14'"])
def test_a_quote_in_a_value_is_a_quote(installation: Installation, text: str) -> None:
    """It ended with a parser error."""
    job_id = installation.add(text)
    installation.run(job_id)
    assert installation.job(job_id).status is JobStatus.COMPLETED
    installation.assert_equal("customer = 'O''Brien 14'")


def test_a_cancelled_job_resumes_and_counts_every_row_once(installation: Installation) -> None:
    job_id = installation.add()
    advance = installation.queue.advance

    def advance_and_cancel(job_id: int, by: Claimant, *, rows: int, total: int | None = None) -> object:
        if rows >= 1000:
            installation.queue.advance = advance  # type: ignore[method-assign]
            installation.queue.cancel(job_id)
        return advance(job_id, by, rows=rows, total=total)

    installation.queue.advance = advance_and_cancel  # type: ignore[assignment]
    assert isinstance(installation.run(job_id), JobLeft)
    halted = installation.job(job_id)
    assert (halted.status, halted.count_record) == (JobStatus.CANCELLED, 1000)
    installation.run(job_id, also=True)
    done = installation.job(job_id)
    assert (done.status, done.count_record, done.total_record) == (JobStatus.COMPLETED, ROWS, ROWS)
    installation.assert_equal()


def test_hostile_filters_harm_nothing(installation: Installation) -> None:
    before = rows_of(installation.source, "SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM orders t")
    for text in (
        "customer = 'x'; DROP TABLE orders; --'",
        "customer = 'x' OR 'a'='a'",
        "id = 1 UNION SELECT 1",
        "customer = 'x\\'; DELETE FROM orders; --'",
        "zip LIKE '%' || pg_sleep(9) || '%'",
    ):
        job_id = installation.add(text)
        installation.run(job_id)
        job = installation.job(job_id)
        assert job.status is JobStatus.FAILED or job.count_record == 0
    assert rows_of(installation.source, "SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM orders t") == before


def test_a_source_that_lives_is_copied_while_it_does(installation: Installation) -> None:
    job_id = installation.add()
    with LiveWriter(installation.source, rows=ROWS) as writer:
        while not writer.changes:
            time.sleep(0.01)
        installation.run(job_id)
    job = installation.job(job_id)
    assert (job.status, job.error_message) == (JobStatus.COMPLETED, None)
