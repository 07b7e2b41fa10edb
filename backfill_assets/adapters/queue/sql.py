"""The queue in the platform's own PostgreSQL database.

Here belong the statements behind `core.jobs.JobQueue`; what a pipeline reads and writes is looked up in `pipelines.py`.
Each change of a job is one transaction that holds its row.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, and_, delete, func, insert, inspect, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from backfill_assets.adapters.queue import pipelines
from backfill_assets.adapters.queue.connecting import SETTING, engine_for, location, told
from backfill_assets.adapters.queue.holding import hold
from backfill_assets.adapters.queue.options import read_options, write_options
from backfill_assets.adapters.queue.passwords import Passwords
from backfill_assets.adapters.queue.rows import (
    EXHAUSTED,
    MOST_PENDING,
    job_from,
    require,
    require_cancellable,
    require_deletable,
    require_resumable,
    shortened,
)
from backfill_assets.adapters.queue.tables import CLAIMS, OPTIONS, QUEUE
from backfill_assets.core.jobs import (
    ACTIVE,
    MOST_RESUMPTIONS,
    Claimant,
    Job,
    JobStatus,
    Options,
    Route,
    SourceServer,
    Standing,
    Taken,
)
from backfill_assets.errors import ConfigurationError


class SqlQueue:
    """A `JobQueue` on PostgreSQL."""

    def __init__(self, url: str, passwords: Passwords) -> None:
        self._url = url
        self._engine: Engine = engine_for(url)
        self._passwords = passwords

    def close(self) -> None:
        """See `JobQueue.close`."""
        self._engine.dispose()

    def check(self) -> None:
        """See `JobQueue.check`."""
        with self._begin():
            pass

    def pending(self) -> Sequence[Job]:
        """See `JobQueue.pending`."""
        with self._begin() as connection:
            rows = connection.execute(
                self._select().where(QUEUE.c.status == JobStatus.PENDING).order_by(QUEUE.c.id).limit(MOST_PENDING)
            )
            return [_job(row) for row in rows.mappings()]

    def executing(self) -> Sequence[Taken]:
        """See `JobQueue.executing`."""
        wanted = self._select().where(QUEUE.c.status == JobStatus.EXECUTING).order_by(QUEUE.c.id)
        with self._begin() as connection:
            return [Taken(job=_job(row), by=_claimant(row)) for row in connection.execute(wanted).mappings()]

    def find(self, job_id: int) -> Job | None:
        """See `JobQueue.find`."""
        with self._begin() as connection:
            return self._find(connection, job_id)

    def claimed_by(self, job_id: int) -> Claimant | None:
        """See `JobQueue.claimed_by`."""
        with self._begin() as connection:
            return self._claimant(connection, job_id)

    def claim(self, job_id: int, by: Claimant, *, also: Sequence[JobStatus] = ()) -> Job | None:
        """See `JobQueue.claim`."""
        with self._begin() as connection:
            job = self._find(connection, job_id, lock=True)
            if job is None or job.status not in (JobStatus.PENDING, *also):
                return None
            is_anew = job.status in also
            self._set(connection, job_id, status=JobStatus.EXECUTING, is_error=False, error_message=None)
            self._note_claim(connection, job_id, by, deaths=0 if is_anew else None)
            return self._find(connection, job_id)

    def advance(self, job_id: int, by: Claimant, *, rows: int, total: int | None = None) -> Standing:
        """See `JobQueue.advance`."""
        counted = {} if total is None else {"total_record": total}
        return self._mine(job_id, by, count_record=rows, **counted)

    def complete(self, job_id: int, by: Claimant, *, rows: int) -> Standing:
        """See `JobQueue.complete`."""
        return self._mine(job_id, by, status=JobStatus.COMPLETED, count_record=rows, is_error=False, error_message=None)

    def fail(self, job_id: int, by: Claimant, reason: str) -> Standing:
        """See `JobQueue.fail`."""
        return self._mine(job_id, by, status=JobStatus.FAILED, is_error=True, error_message=shortened(reason))

    def stop(self, job_id: int, by: Claimant) -> bool:
        """See `JobQueue.stop`."""
        return self._mine(job_id, by, status=JobStatus.CANCELLED) is Standing.GOES_ON

    def release(self, job_id: int, by: Claimant, reason: str) -> Job | None:
        """See `JobQueue.release`."""
        with self._begin() as connection:
            job = self._find(connection, job_id, lock=True)
            holder = self._claimant(connection, job_id)
            if job is None or job.status not in ACTIVE:
                return None
            if job.status == JobStatus.EXECUTING and holder != by:
                return None
            deaths = 1 + (connection.scalar(select(CLAIMS.c.deaths).where(CLAIMS.c.job_id == job_id)) or 0)
            self._note_claim(connection, job_id, by, deaths=deaths)
            if deaths > MOST_RESUMPTIONS:
                told = shortened(EXHAUSTED.format(reason=reason))
                self._set(connection, job_id, status=JobStatus.FAILED, is_error=True, error_message=told)
            else:
                self._set(connection, job_id, status=JobStatus.PENDING, resume_attempts=QUEUE.c.resume_attempts + 1)
            return self._find(connection, job_id)

    def active_like(self, job: Job) -> Job | None:
        """See `JobQueue.active_like`."""
        table = QUEUE.c
        wanted = self._select().where(
            table.id < job.id,
            table.table_name == job.table_name,
            table.pipeline_id == job.pipeline_id,
            table.status.in_(ACTIVE),
        )
        with self._begin() as connection:
            others = [_job(row) for row in connection.execute(wanted.order_by(table.id)).mappings()]
        return next((other for other in others if other.is_same_as(job)), None)

    def source(self, job: Job) -> SourceServer:
        """See `JobQueue.source`."""
        with self._begin() as connection:
            return pipelines.source(connection, self._passwords, job.pipeline_id)

    def routes(self, job: Job) -> Sequence[Route]:
        """See `JobQueue.routes`."""
        with self._begin() as connection:
            return pipelines.routes(connection, self._passwords, job)

    def pipeline_source(self, pipeline_id: int) -> SourceServer:
        """See `JobQueue.pipeline_source`."""
        with self._begin() as connection:
            pipelines.require(connection, pipeline_id)
            return pipelines.source(connection, self._passwords, pipeline_id)

    def tables_of(self, pipeline_id: int) -> Sequence[str]:
        """See `JobQueue.tables_of`."""
        with self._begin() as connection:
            pipelines.require(connection, pipeline_id)
            return pipelines.tables(connection, pipeline_id)

    def options(self, job_id: int) -> Options:
        """See `JobQueue.options`."""
        with self._begin() as connection:
            return read_options(connection, job_id)

    def add(self, *, pipeline_id: int, table_name: str, filter_sql: str | None, options: Options) -> Job:
        """See `JobQueue.add`."""
        with self._begin() as connection:
            row = {
                "pipeline_id": pipeline_id,
                "source_id": pipelines.require(connection, pipeline_id),
                "table_name": table_name,
                "filter_sql": filter_sql,
                "status": JobStatus.PENDING,
                "count_record": 0,
                "created_at": func.now(),
                **self._kept({"total_record": 0, "is_error": False, "resume_attempts": 0}),
            }
            job_id = connection.scalar(insert(QUEUE).values(**row).returning(QUEUE.c.id))
            write_options(connection, int(job_id or 0), options)
            return require(self._find(connection, int(job_id or 0)), int(job_id or 0))

    def jobs(self, *, pipeline_id: int | None = None, status: JobStatus | None = None) -> Sequence[Job]:
        """See `JobQueue.jobs`."""
        wanted = self._select().order_by(QUEUE.c.id.desc())
        if pipeline_id is not None:
            wanted = wanted.where(QUEUE.c.pipeline_id == pipeline_id)
        if status is not None:
            wanted = wanted.where(QUEUE.c.status == status)
        with self._begin() as connection:
            if pipeline_id is not None:
                pipelines.require(connection, pipeline_id)
            return [_job(row) for row in connection.execute(wanted).mappings()]

    def cancel(self, job_id: int) -> Job:
        """See `JobQueue.cancel`."""
        with self._begin() as connection:
            require_cancellable(require(self._find(connection, job_id, lock=True), job_id))
            self._set(connection, job_id, status=JobStatus.CANCELLED)
            return require(self._find(connection, job_id), job_id)

    def requeue(self, job_id: int) -> Job:
        """See `JobQueue.requeue`."""
        with self._begin() as connection:
            require_resumable(require(self._find(connection, job_id, lock=True), job_id))
            self._set(connection, job_id, status=JobStatus.PENDING, is_error=False, error_message=None)
            connection.execute(update(CLAIMS).where(CLAIMS.c.job_id == job_id).values(deaths=0))
            return require(self._find(connection, job_id), job_id)

    def delete(self, job_id: int) -> Job:
        """See `JobQueue.delete`."""
        with self._begin() as connection:
            job = require(self._find(connection, job_id, lock=True), job_id)
            require_deletable(job)
            for table, column in ((QUEUE, QUEUE.c.id), (OPTIONS, OPTIONS.c.job_id), (CLAIMS, CLAIMS.c.job_id)):
                connection.execute(delete(table).where(column == job_id))
            return job

    def hold(self, places: Sequence[str], *, keep_waiting: Callable[[], bool]) -> AbstractContextManager[bool]:
        """See `JobQueue.hold`."""
        return hold(self._url, places, keep_waiting)

    def _mine(self, job_id: int, by: Claimant, **values: Any) -> Standing:
        with self._begin() as connection:
            job = self._find(connection, job_id, lock=True)
            if job is None:
                return Standing.DELETED
            is_ours = self._claimant(connection, job_id) == by
            if job.status == JobStatus.CANCELLED and is_ours and "count_record" in values:
                # What was written before the run heard of it counts.
                self._set(connection, job_id, count_record=values["count_record"])
            if job.status == JobStatus.CANCELLED:
                return Standing.CANCELLED
            if job.status != JobStatus.EXECUTING or not is_ours:
                return Standing.TAKEN
            self._set(connection, job_id, **values)
        return Standing.GOES_ON

    def _find(self, connection: Connection, job_id: int, *, lock: bool = False) -> Job | None:
        if lock:
            connection.execute(select(QUEUE.c.id).where(QUEUE.c.id == job_id).with_for_update())
        row = connection.execute(self._select().where(QUEUE.c.id == job_id)).mappings().first()
        return None if row is None else _job(row)

    def _set(self, connection: Connection, job_id: int, **values: Any) -> None:
        known = {**self._kept(values), "updated_at": func.now()}
        connection.execute(update(QUEUE).where(QUEUE.c.id == job_id).values(**known))

    def _note_claim(self, connection: Connection, job_id: int, by: Claimant, *, deaths: int | None) -> None:
        values = {"engine": by.engine, "run_id": by.run_id, "claimed_at": func.now()}
        counted = {} if deaths is None else {"deaths": deaths}
        new = upsert(CLAIMS).values(job_id=job_id, **values, deaths=deaths or 0)
        connection.execute(new.on_conflict_do_update(index_elements=[CLAIMS.c.job_id], set_={**values, **counted}))

    def _claimant(self, connection: Connection, job_id: int) -> Claimant | None:
        row = connection.execute(select(CLAIMS).where(CLAIMS.c.job_id == job_id)).mappings().first()
        return None if row is None else Claimant(engine=row["engine"], run_id=row["run_id"])

    def _select(self) -> Any:
        columns = [column for column in QUEUE.c if column.name in self._columns]
        beside = (CLAIMS.c.engine, CLAIMS.c.run_id, CLAIMS.c.deaths)
        return select(*columns, *beside).select_from(QUEUE.outerjoin(CLAIMS, and_(CLAIMS.c.job_id == QUEUE.c.id)))

    def _kept(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """What this installation has columns for."""
        return {name: value for name, value in values.items() if name in self._columns}

    @contextmanager
    def _begin(self) -> Iterator[Connection]:
        _ = self._columns
        with told(self._engine.url), self._engine.begin() as connection:
            yield connection

    @cached_property
    def _columns(self) -> frozenset[str]:
        """The columns that the installation's queue has; looked up once."""
        with told(self._engine.url), self._engine.connect() as connection:
            looked_at = inspect(connection)
            lacking = [table.name for table in (QUEUE, OPTIONS, CLAIMS) if not looked_at.has_table(table.name)]
            if lacking:
                raise ConfigurationError(
                    f"The queue ({location(self._engine.url)}) has no table {', '.join(lacking)}; run `backfill init`, "
                    f"and check {SETTING}."
                )
            return frozenset(column["name"] for column in looked_at.get_columns(QUEUE.name))


def _job(row: RowMapping) -> Job:
    return job_from(dict(row), deaths=row["deaths"])


def _claimant(row: RowMapping) -> Claimant | None:
    return None if row["run_id"] is None else Claimant(engine=row["engine"], run_id=row["run_id"])
