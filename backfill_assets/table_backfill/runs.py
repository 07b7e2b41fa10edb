"""Runs of jobs, as this installation of Dagster knows them.

Here belongs what is asked of Dagster about them. What follows for a job belongs to `taking.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dagster as dg
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.storage.tags import (
    MAX_RETRIES_TAG,
    PARTITION_NAME_TAG,
    RUN_KEY_TAG,
    SENSOR_NAME_TAG,
)

from backfill_assets.configuration.domains import TABLE_BACKFILL
from backfill_assets.errors import ConfigurationError
from backfill_assets.launching import DOMAIN_TAG
from backfill_assets.table_backfill.partitions import KEY
from backfill_assets.table_backfill.taking import JobRun

AT_ONCE = 500

TAGS: Mapping[str, str] = {
    DOMAIN_TAG: TABLE_BACKFILL,
    # The queue counts how often a run of a job died; Dagster's own retry would come in between.
    MAX_RETRIES_TAG: "0",
}
"""On every run of a job."""


def engine_of(instance: DagsterInstance) -> str:
    """What tells this installation from another one that works on the same queue."""
    # Deferred: it brings in Alembic, which the code location can load without.
    from dagster._core.storage.runs.sql_run_storage import SqlRunStorage

    storage = instance.run_storage
    if not isinstance(storage, SqlRunStorage):
        raise ConfigurationError(
            f"dagster.yaml keeps runs in {type(storage).__name__}, which has no name of its own; table backfill needs "
            "PostgreSQL, MySQL or SQLite there"
        )
    name: str = storage.get_run_storage_id()
    return name


def is_started_by_sensor(run: DagsterRun) -> bool:
    """Whether nobody asked for just this run; one that is executed again has the tags of the first."""
    return SENSOR_NAME_TAG in run.tags and run.parent_run_id is None


def is_stopping(instance: DagsterInstance, run: DagsterRun) -> bool:
    """Whether somebody has asked for the end of the run."""
    now = instance.get_run_by_id(run.run_id)
    return now is None or now.status in (DagsterRunStatus.CANCELING, DagsterRunStatus.CANCELED)


def is_of_a_job(run: DagsterRun) -> bool:
    """Whether the run carries out jobs, whoever started it."""
    return run.asset_selection == {KEY}


@dataclass(frozen=True, kw_only=True)
class DagsterRuns:
    """The runs of jobs in a Dagster instance."""

    instance: dg.DagsterInstance

    @property
    def engine(self) -> str:
        """See `engine_of`."""
        return engine_of(self.instance)

    def find(self, run_id: str) -> JobRun | None:
        """The run with this id; None where it was deleted."""
        run = self.instance.get_run_by_id(run_id)
        return None if run is None else _job_run(run)

    def of_jobs(self, job_ids: Sequence[int]) -> Mapping[int, Sequence[JobRun]]:
        """The runs of these jobs, newest first."""
        found: dict[int, list[JobRun]] = {}
        for start in range(0, len(job_ids), AT_ONCE):
            keys = [str(job_id) for job_id in job_ids[start : start + AT_ONCE]]
            tags = {DOMAIN_TAG: TABLE_BACKFILL, PARTITION_NAME_TAG: keys}
            for run in self.instance.get_runs(filters=RunsFilter(tags=tags)):
                found.setdefault(int(run.tags[PARTITION_NAME_TAG]), []).append(_job_run(run))
        return found


def _job_run(run: DagsterRun) -> JobRun:
    return JobRun(
        run_id=run.run_id,
        key=run.tags.get(RUN_KEY_TAG),
        has_ended=run.status in FINISHED_STATUSES,
        was_cancelled=run.status is DagsterRunStatus.CANCELED,
        has_succeeded=run.is_success,
        by_sensor=is_started_by_sensor(run),
    )
