"""Two installations of Dagster on one queue in PostgreSQL, at once: each job is done once, whoever does it."""

import threading
from collections import Counter

import pytest

from backfill_assets.adapters.queue.passwords import Passwords
from backfill_assets.adapters.queue.sql import SqlQueue
from backfill_assets.core.jobs import Claimant, JobStatus
from backfill_assets.table_backfill.taking import Taking
from backfill_assets_tests.table_backfill.queues import InSql, a_job, in_sql
from backfill_assets_tests.table_backfill.test_taking import Runs

JOBS = 24
pytestmark = pytest.mark.timeout(120)


def work(url: str, engine: str, done: list[int], refused: list[int]) -> None:
    """Look at the queue and carry out what is asked for, until nothing is left."""
    queue, runs = SqlQueue(url, Passwords(None)), Runs(engine=engine)
    while queue.pending() or queue.executing():
        for wanted in Taking(queue=queue, runs=runs).look():
            if (run := runs.start(wanted)) is None:
                continue
            by = Claimant(engine=engine, run_id=run.run_id)
            if queue.claim(wanted.job.id, by) is None:
                refused.append(wanted.job.id)
            elif queue.complete(wanted.job.id, by, rows=1).value == "goes on":
                done.append(wanted.job.id)
            runs.end(run, has_succeeded=True)
    queue.close()


def test_each_job_is_done_once_whoever_does_it(database_url: str) -> None:
    with in_sql(database_url) as installation:
        put_jobs(installation)
        done: list[int] = []
        refused: list[int] = []
        engines = [
            threading.Thread(target=work, args=(database_url, name, done, refused)) for name in ("here", "there")
        ]
        for engine in engines:
            engine.start()
        for engine in engines:
            engine.join()
        assert Counter(done) == Counter(range(1, JOBS + 1))
        assert {job.status for job in installation.queue.jobs()} == {JobStatus.COMPLETED}


def put_jobs(installation: InSql) -> None:
    for number in range(1, JOBS + 1):
        table = "orders" if number % 2 else "other"
        installation.put(a_job(number, pipeline_id=2, table_name=table, filter_sql=f"id = {number}"))
