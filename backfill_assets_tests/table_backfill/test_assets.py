"""What Dagster sees: ticks of the sensor, runs of jobs, and the job that asks for one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterEventType, DagsterRunStatus
from dagster._core.errors import DagsterExecutionInterruptedError

from backfill_assets.adapters.lake.folder import Folder
from backfill_assets.adapters.lake.raw import RawLake
from backfill_assets.core.certificates import MemoryCertificates
from backfill_assets.core.dead_letters import MemoryDeadLetters
from backfill_assets.core.handoff import MemoryHandoffs
from backfill_assets.core.jobs import Job, JobQueue, JobStatus
from backfill_assets.core.switches import MemorySwitches
from backfill_assets.core.tables import OnConflict
from backfill_assets.errors import PermanentError
from backfill_assets.resources import Wiring
from backfill_assets.run_coordinator import missing_tags
from backfill_assets.settings import Settings
from backfill_assets.table_backfill.assets import table_rows
from backfill_assets.table_backfill.automation import RUN_JOB, take
from backfill_assets.table_backfill.partitions import JOBS_NAME, KEY
from backfill_assets.table_backfill.request_job import request_table_backfill
from backfill_assets_tests.table_backfill.queues import InMemory, a_job
from backfill_assets_tests.table_backfill.shelves import Shelf, Shop, Target

ROWS = dict.fromkeys(range(1, 31), "eu")


class World:
    """A queue, a shop with thirty rows, and an instance of Dagster."""

    def __init__(self, instance: dg.DagsterInstance, folder: Path) -> None:
        self.instance = instance
        self.installation = InMemory()
        self.queue = self.installation.queue
        self.shop = Shop(queue=self.queue, source=Shelf(rows=dict(ROWS)), targets={"lake": Target(), "mart": Target()})
        mutex: Any = Lock()
        self.wiring = Wiring(
            settings=Settings(table_batch_size=10),
            lake=RawLake(Folder(folder), lock=lambda name: mutex),
            dead_letters=MemoryDeadLetters(),
            switches=MemorySwitches(),
            certificates=MemoryCertificates(),
            handoffs=MemoryHandoffs(),
            lock=lambda name: mutex,
            connect=_no_source,
            probe=_no_source,
            queue=self._opened,
            table_source=self.shop.open_source,
            table_destination=self.shop.open_destination,
        )
        self.definitions = dg.Definitions(
            assets=[table_rows],
            jobs=[RUN_JOB, request_table_backfill],
            resources={"wiring": self.wiring},
            executor=dg.in_process_executor,
        )

    @contextmanager
    def _opened(self) -> Iterator[JobQueue]:
        yield self.queue

    def tick(self) -> list[dg.ExecuteInProcessResult]:
        """Look at the queue, and run what is asked for to its end."""
        wanted, _ = take(self.instance, self.queue)
        tags = [{"dagster/run_key": one.key, "dagster/sensor_name": "queued_tables"} for one in wanted]
        return [self.run(one.job.id, more) for one, more in zip(wanted, tags, strict=True)]

    def run(self, job_id: int, tags: dict[str, str] | None = None) -> dg.ExecuteInProcessResult:
        """A run of a partition; without tags a person's."""
        if not self.instance.has_dynamic_partition(JOBS_NAME, str(job_id)):
            self.instance.add_dynamic_partitions(JOBS_NAME, [str(job_id)])
        return self.definitions.resolve_job_def("table_backfill").execute_in_process(
            instance=self.instance, partition_key=str(job_id), tags=tags, raise_on_error=False
        )

    def job(self, job_id: int = 7) -> Job:
        """The job as it stands."""
        job = self.queue.find(job_id)
        assert job is not None
        return job

    def materialised(self) -> dict[str, Any]:
        """The newest numbers of each partition."""
        records = self.instance.fetch_materializations(KEY, limit=100).records
        found = [record.asset_materialization for record in records if record.asset_materialization]
        return {str(each.partition): {name: v.value for name, v in each.metadata.items()} for each in found}


def _no_source(_: object) -> Any:
    raise AssertionError("nothing is read from a service")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world without jobs."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield World(instance, tmp_path)


def failure(result: dg.ExecuteInProcessResult) -> str:
    """What the run failed with."""
    events = [event for event in result.all_events if event.event_type is DagsterEventType.STEP_FAILURE]
    return "\n".join(
        str(event.step_failure_data.user_failure_data or event.step_failure_data.error) for event in events
    )


def test_a_row_in_the_queue_becomes_a_run_and_a_materialised_partition(world: World) -> None:
    world.installation.put(a_job())
    [result] = world.tick()
    assert result.success
    assert world.job().status is JobStatus.COMPLETED
    assert world.shop.targets["lake"].rows == ROWS
    numbers = world.materialised()["7"]
    assert {name: numbers[name] for name in ("rows", "source_rows", "rows_rejected", "complete", "destinations")} == {
        "rows": 30,
        "source_rows": 30,
        "rows_rejected": 0,
        "complete": True,
        "destinations": 2,
    }
    [check] = result.get_asset_check_evaluations()
    assert check.passed
    assert world.tick() == []


def test_a_job_that_fails_fails_its_run_and_the_check(world: World) -> None:
    world.shop.targets["mart"].prepare_fails = PermanentError("there is no table")
    world.installation.put(a_job())
    [result] = world.tick()
    assert not result.success
    assert "job 7 failed: Destination mart: there is no table" in failure(result)
    assert world.materialised() == {}
    [check] = result.get_asset_check_evaluations()
    assert not check.passed
    assert "job 7 (orders): Destination mart" in str(check.description)
    # Nobody but a person tries it again.
    assert world.tick() == []
    world.shop.targets["mart"].prepare_fails = None
    again = world.run(7)
    assert again.success
    assert world.job().status is JobStatus.COMPLETED
    [check] = again.get_asset_check_evaluations()
    assert check.passed


def test_a_person_resumes_a_cancelled_job_and_the_sensor_does_not(world: World) -> None:
    world.installation.put(a_job())
    world.queue.cancel(7)
    by_sensor = world.run(7, {"dagster/sensor_name": "queued_tables"})
    assert by_sensor.success
    assert world.job().status is JobStatus.CANCELLED
    assert world.materialised() == {}
    assert world.run(7).success
    assert world.job().status is JobStatus.COMPLETED


def test_a_person_who_runs_what_is_done_hears_so(world: World) -> None:
    world.installation.put(a_job(status=JobStatus.COMPLETED))
    result = world.run(7)
    assert not result.success
    assert "job 7 is COMPLETED, so there is nothing to run" in failure(result)
    assert "job 9 is not in the queue" in failure(world.run(9))


def test_a_run_executed_again_resumes_although_the_first_was_the_sensors(world: World) -> None:
    world.installation.put(a_job(status=JobStatus.FAILED))
    first = world.run(7, {"dagster/sensor_name": "queued_tables"})
    run = world.instance.get_run_by_id(first.run_id)
    assert run is not None
    from backfill_assets.table_backfill.runs import is_started_by_sensor

    assert is_started_by_sensor(run)
    assert not is_started_by_sensor(run._replace(parent_run_id="x", root_run_id="x"))


def test_an_interrupted_run_leaves_the_job_to_the_sensor(world: World) -> None:
    def interrupt(number: int) -> None:
        if number == 2 and interrupts:
            interrupts.pop()
            raise DagsterExecutionInterruptedError

    interrupts = [1]
    world.shop.targets["lake"].before_batch = interrupt
    world.installation.put(a_job(pipeline_id=2))
    world.tick()
    assert world.job().status is JobStatus.EXECUTING
    assert world.job().count_record == 10
    [run] = world.instance.get_runs()
    # Nobody had asked for it, so Dagster says that it failed, and the job goes on.
    assert run.status is DagsterRunStatus.FAILURE
    [result] = world.tick()
    assert result.success
    assert (world.job().status, world.job().resume_attempts) == (JobStatus.COMPLETED, 1)
    assert world.shop.targets["lake"].rows == ROWS


def test_a_run_terminated_in_dagster_means_cancelled(world: World) -> None:
    def terminate(number: int) -> None:
        [run] = world.instance.get_runs()
        world.instance.report_run_canceling(run)
        raise DagsterExecutionInterruptedError

    world.shop.targets["lake"].before_batch = terminate
    world.installation.put(a_job(pipeline_id=2))
    world.tick()
    [run] = world.instance.get_runs()
    assert run.status is DagsterRunStatus.CANCELED
    assert world.tick() == []
    assert world.job().status is JobStatus.CANCELLED


def test_a_termination_whose_interrupt_is_lost_is_seen_at_the_next_commit(world: World) -> None:
    def terminate(number: int) -> None:
        if number == 2:
            [run] = world.instance.get_runs()
            world.instance.report_run_canceling(run)

    world.shop.targets["lake"].before_batch = terminate
    world.installation.put(a_job(pipeline_id=2))
    world.tick()
    assert world.job().status is JobStatus.CANCELLED
    assert len(world.shop.targets["lake"].rows) == 20
    assert world.tick() == []


def test_the_ui_asks_for_a_job_with_typed_config(world: World) -> None:
    config = {
        "pipeline_id": 2,
        "table": "orders",
        "filters": [
            {"column": "id", "operator": "IN", "value": "1, 2"},
            {"column": "region", "operator": "LIKE", "value": "e'u"},
        ],
        "on_conflict": "KEEP",
    }
    job = world.definitions.resolve_job_def("request_table_backfill")
    result = job.execute_in_process(instance=world.instance, run_config={"ops": {"request": {"config": config}}})
    job_id = result.output_for_node("request")
    queued = world.job(job_id)
    assert queued.filter_sql == "id IN ('1','2');region LIKE 'e''u'"
    assert world.queue.options(job_id).on_conflict is OnConflict.KEEP


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"pipeline_id": 9}, "Pipeline with id '9' not found"),
        ({"table": "nosuch"}, "synchronises no table 'nosuch'; it has orders, other"),
        ({"filters": [{"column": "nosuch", "operator": "EQUAL"}]}, "names column 'nosuch'"),
        ({"filters": [{"column": "id", "operator": "IS_NULL", "value": "5"}]}, "IS NULL takes no value"),
        ({"filters": [{"column": "id", "operator": "EQUAL", "value": "1"}] * 6}, "more than 5"),
        ({"on_conflict": "NEWEST"}, "newest needs to know"),
    ],
)
def test_what_the_ui_asks_for_in_vain_is_a_sentence(world: World, wrong: dict[str, Any], told: str) -> None:
    config = {"pipeline_id": 2, "table": "orders", **wrong}
    job = world.definitions.resolve_job_def("request_table_backfill")
    result = job.execute_in_process(
        instance=world.instance, run_config={"ops": {"request": {"config": config}}}, raise_on_error=False
    )
    assert told in failure(result)
    assert world.queue.jobs() == []


def test_every_run_of_a_job_is_tagged_whoever_starts_it() -> None:
    run = dg.DagsterRun(job_name="__ASSET_JOB", asset_selection=frozenset([KEY]), tags={"dagster/partition": "7"})
    assert missing_tags(run) == {
        "backfill/domain": "table_backfill",
        "dagster/max_retries": "0",
        "backfill/slot": "shared",
    }
