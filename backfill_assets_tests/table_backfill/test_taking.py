"""Which jobs get a run, wherever the one who decides dies, and how many of them there are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import pytest

from backfill_assets.core.jobs import Claimant, Job, JobQueue, JobStatus
from backfill_assets.table_backfill.taking import JobRun, Taking, Wanted
from backfill_assets_tests.table_backfill.queues import InMemory, a_job

HERE = "here"


@dataclass(kw_only=True)
class Runs:
    """The runs of an installation, which starts each key once, as Dagster does."""

    engine: str = HERE
    runs: list[tuple[int, JobRun]] = field(default_factory=list)

    def find(self, run_id: str) -> JobRun | None:
        return next((run for _, run in self.runs if run.run_id == run_id), None)

    def of_jobs(self, job_ids: Sequence[int]) -> Mapping[int, Sequence[JobRun]]:
        return {job_id: [run for of, run in reversed(self.runs) if of == job_id] for job_id in job_ids}

    def start(self, wanted: Wanted) -> JobRun | None:
        """A run under this key, unless there was one."""
        if any(run.key == wanted.key for _, run in self.runs):
            return None
        return self.add(wanted.job.id, wanted.key)

    def add(self, job_id: int, key: str | None) -> JobRun:
        """A run, which a person started where it has no key."""
        run = JobRun(
            run_id=f"{self.engine} {len(self.runs)}",
            key=key,
            has_ended=False,
            was_cancelled=False,
            has_succeeded=False,
            by_sensor=key is not None,
        )
        self.runs.append((job_id, run))
        return run

    def end(self, run: JobRun, **how: Any) -> None:
        """Let a run end: as failed, unless said otherwise."""
        self.runs = [
            (of, replace(other, has_ended=True, **how) if other.run_id == run.run_id else other)
            for of, other in self.runs
        ]


def look(queue: JobQueue, runs: Runs) -> list[JobRun]:
    """One look, whose runs are started; the new ones."""
    started = [runs.start(one) for one in Taking(queue=queue, runs=runs).look()]
    return [run for run in started if run is not None]


def status(queue: JobQueue, job_id: int = 7) -> JobStatus | str:
    job = queue.find(job_id)
    assert job is not None
    return job.status


def by(run: JobRun, engine: str = HERE) -> Claimant:
    return Claimant(engine=engine, run_id=run.run_id)


@pytest.fixture
def installation() -> InMemory:
    """A queue without jobs."""
    return InMemory()


def test_each_waiting_job_gets_one_run_oldest_first(installation: InMemory) -> None:
    runs = Runs()
    installation.put(a_job(8, pipeline_id=2, table_name="other"))
    installation.put(a_job(7, pipeline_id=2))
    wanted = Taking(queue=installation.queue, runs=runs).look()
    assert [one.key for one in wanted] == ["7:0", "8:0"]
    assert len(look(installation.queue, runs)) == 2
    assert look(installation.queue, runs) == []
    assert status(installation.queue) is JobStatus.PENDING


def test_jobs_of_one_destination_table_come_one_after_another(installation: InMemory) -> None:
    """Pipelines 1 and 2 write the same table of the same destination."""
    runs, queue = Runs(), installation.queue
    installation.put(a_job(1))
    installation.put(a_job(2, pipeline_id=2))
    installation.put(a_job(3, pipeline_id=2, table_name="other"))
    first, other = look(queue, runs)
    assert (first.key, other.key) == ("1:0", "3:0")
    queue.claim(1, by(first))
    assert look(queue, runs) == []
    queue.complete(1, by(first), rows=1)
    runs.end(first, has_succeeded=True)
    [second] = look(queue, runs)
    assert second.key == "2:0"


def test_a_job_under_way_elsewhere_keeps_its_table_busy(installation: InMemory) -> None:
    installation.put(a_job(1))
    installation.queue.claim(1, Claimant(engine="elsewhere", run_id="x"))
    installation.put(a_job(2, pipeline_id=2))
    assert look(installation.queue, Runs()) == []
    assert status(installation.queue, 1) is JobStatus.EXECUTING


def test_a_duplicate_does_not_wait_until_it_is_none_any_more(installation: InMemory) -> None:
    installation.put(a_job(1))
    installation.put(a_job(2))
    assert [run.key for run in look(installation.queue, Runs())] == ["1:0", "2:0"]


def test_a_job_whose_run_died_waits_again_and_gets_another(installation: InMemory) -> None:
    runs, queue = Runs(), installation.queue
    installation.put(a_job())
    for attempt in range(4):
        [run] = look(queue, runs)
        assert run.key == f"7:{attempt}"
        queue.claim(7, by(run))
        runs.end(run)
    assert look(queue, runs) == []
    job = queue.find(7)
    assert job is not None
    assert (job.status, job.resume_attempts) == (JobStatus.FAILED, 3)
    assert job.error_message == f"Maximum resume attempts exceeded: run {HERE} 3 died"


def test_a_run_that_dies_before_it_claims_loses_no_job(installation: InMemory) -> None:
    runs, queue = Runs(), installation.queue
    installation.put(a_job())
    for attempt in range(4):
        [run] = look(queue, runs)
        assert run.key == f"7:{attempt}"
        runs.end(run)
    assert look(queue, runs) == []
    assert status(queue) is JobStatus.FAILED


def test_a_terminated_run_means_cancelled(installation: InMemory) -> None:
    runs, queue = Runs(), installation.queue
    installation.put(a_job())
    [run] = look(queue, runs)
    queue.claim(7, by(run))
    runs.end(run, was_cancelled=True)
    assert look(queue, runs) == []
    assert status(queue) is JobStatus.CANCELLED


def test_a_run_deleted_from_dagster_is_as_dead_as_any(installation: InMemory) -> None:
    runs, queue = Runs(), installation.queue
    installation.put(a_job())
    [run] = look(queue, runs)
    queue.claim(7, by(run))
    runs.runs.clear()
    [again] = look(queue, runs)
    assert again.key == "7:1"


def test_a_run_of_another_installation_is_its_business(installation: InMemory) -> None:
    queue = installation.queue
    installation.put(a_job())
    queue.claim(7, Claimant(engine="elsewhere", run_id="x"))
    installation.put(a_job(8, status=JobStatus.EXECUTING))
    assert look(queue, Runs()) == []
    assert (status(queue), status(queue, 8)) == (JobStatus.EXECUTING, JobStatus.EXECUTING)


@pytest.mark.parametrize("rounds", [1, 5])
def test_a_job_that_another_program_lets_wait_again_gets_a_run_each_time(installation: InMemory, rounds: int) -> None:
    runs, queue = Runs(), installation.queue
    installation.put(a_job())
    for _ in range(rounds):
        [run] = look(queue, runs)
        queue.claim(7, by(run))
        queue.complete(7, by(run), rows=5)
        runs.end(run, has_succeeded=True)
        job = queue.find(7)
        assert job is not None
        installation.put(replace(job, status=JobStatus.PENDING))
    assert len(look(queue, runs)) == 1


def test_while_a_person_runs_it_the_sensor_does_not(installation: InMemory) -> None:
    runs, queue = Runs(), installation.queue
    installation.put(a_job())
    mine = runs.add(7, None)
    assert look(queue, runs) == []
    runs.end(mine)
    assert [run.key for run in look(queue, runs)] == ["7:0"]


class Killed(Exception):
    """The daemon is gone."""


@dataclass(frozen=True, kw_only=True)
class Killable:
    """A queue during whose use the daemon dies: at the call with this number, before it or after it."""

    queue: JobQueue
    at: int
    is_after: bool
    calls: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.queue, name)

        def call(*arguments: Any, **named: Any) -> Any:
            self.calls.append(name)
            dies = len(self.calls) == self.at
            if dies and not self.is_after:
                raise Killed
            result = method(*arguments, **named)
            if dies:
                raise Killed
            return result

        return call


@pytest.mark.parametrize("seed", range(40))
def test_wherever_the_daemon_dies_no_job_is_lost_and_none_is_run_twice(installation: InMemory, seed: int) -> None:
    random, runs, queue = Random(seed), Runs(), installation.queue
    for number in range(1, 9):
        installation.put(
            a_job(number, pipeline_id=2, table_name=random.choice(["orders", "other"]), filter_sql=str(number))
        )
    done: list[int] = []
    at_work: dict[str, Job] = {}
    for _ in range(400):
        killable = Killable(queue=queue, at=random.randint(1, 30), is_after=random.random() < 0.5)
        try:
            wanted = Taking(queue=killable, runs=runs).look()
        except Killed:
            continue
        # The daemon may also die between two of the runs that it starts.
        for one in wanted[: random.randint(0, len(wanted))]:
            runs.start(one)
        for job_id, run in list(runs.runs):
            if run.has_ended:
                continue
            if run.run_id not in at_work and random.random() < 0.7:
                claimed = queue.claim(job_id, by(run))
                if claimed is None:
                    runs.end(run, has_succeeded=True)
                    continue
                assert job_id not in {job.id for job in at_work.values()}, "two runs have one job"
                at_work[run.run_id] = claimed
            elif random.random() < 0.1 and queue.find(job_id).resume_attempts < 2:  # type: ignore[union-attr]
                at_work.pop(run.run_id, None)
                runs.end(run)
            elif run.run_id in at_work:
                del at_work[run.run_id]
                queue.complete(job_id, by(run), rows=1)
                done.append(job_id)
                runs.end(run, has_succeeded=True)
        if len(done) == 8:
            break
    assert sorted(done) == list(range(1, 9))


def test_two_installations_on_one_queue_share_its_jobs(installation: InMemory) -> None:
    queue, here, there = installation.queue, Runs(), Runs(engine="there")
    installation.put(a_job(7, pipeline_id=2))
    [mine], [theirs] = look(queue, here), look(queue, there)
    assert queue.claim(7, by(mine)) is not None
    assert queue.claim(7, by(theirs, "there")) is None
    there.end(theirs, has_succeeded=True)
    assert look(queue, there) == []
    queue.complete(7, by(mine), rows=1)
    here.end(mine, has_succeeded=True)
    assert (look(queue, here), look(queue, there)) == ([], [])
    assert status(queue) is JobStatus.COMPLETED
