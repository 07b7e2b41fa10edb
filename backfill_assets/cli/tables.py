"""Commands about jobs of tables: queue one, list them, say how they stand, stop, resume, remove them.

Here belongs what is asked for and what is told. The queue belongs to `core.jobs`, what a job may ask to the domain.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from backfill_assets.cli.command import BackfillCommand, Output
from backfill_assets.errors import ConfigurationError, PermanentError, UsageError

if TYPE_CHECKING:
    from backfill_assets.core.jobs import Job, JobQueue
    from backfill_assets.resources import Wiring

JOB_PREFIX = "job-"
POLL_SECONDS = 1.0
STATUSES = ("PENDING", "EXECUTING", "COMPLETED", "FAILED", "CANCELLED")
ON_CONFLICT = ("newest", "keep", "overwrite")

filter_option = click.option(
    "--filter", "filters", multiple=True, metavar='"COLUMN OPERATOR [VALUE]"', help="Only such rows; at most five."
)
on_conflict_option = click.option(
    "--on-conflict", type=click.Choice(ON_CONFLICT), default="overwrite", show_default=True, help="Rows there already."
)
version_option = click.option("--version-column", help="Tells which of two rows is newer; with --on-conflict newest.")
create_option = click.option("--create-table", is_flag=True, help="Make the table where a destination lacks it.")


@click.command(cls=BackfillCommand)
@click.argument("pipeline_id", type=click.IntRange(min=1))
@click.argument("table_name", metavar="TABLE")
@filter_option
@on_conflict_option
@version_option
@create_option
@click.option("--wait", is_flag=True, help="Show progress until it has ended.")
@click.pass_obj
def table(output: Output, /, *, pipeline_id: int, table_name: str, wait: bool, **how: Any) -> None:
    """Queue rows of TABLE for every destination of pipeline PIPELINE_ID."""
    from backfill_assets.table_backfill.requesting import Requesting

    with opened() as (wiring, queue):
        request = _request(pipeline_id, table_name, **how)
        job = Requesting(queue=queue, open_source=wiring.table_source).add(request)
        output.facts(
            facts_of(job), text=f"queued {JOB_PREFIX}{job.id}; `backfill status {JOB_PREFIX}{job.id}` follows it"
        )
        if wait:
            _until_ended(queue, job.id, output)


def _request(
    pipeline_id: int,
    table_name: str,
    *,
    filters: Sequence[str],
    on_conflict: str,
    version_column: str | None,
    create_table: bool,
) -> Any:
    from backfill_assets.core.jobs import Options
    from backfill_assets.core.tables import OnConflict
    from backfill_assets.table_backfill.requesting import Request, asked_from

    return Request(
        pipeline_id=pipeline_id,
        table=table_name,
        filters=[asked_from(text) for text in filters],
        options=Options(on_conflict=OnConflict(on_conflict), version_column=version_column, create_table=create_table),
    )


@click.command(cls=BackfillCommand)
@click.argument("pipeline_id", type=click.IntRange(min=1))
@click.pass_obj
def tables(output: Output, pipeline_id: int) -> None:
    """List the tables, and their columns, that can be queued for pipeline PIPELINE_ID."""
    from rich.table import Table

    with opened() as (wiring, queue):
        server, names = queue.pipeline_source(pipeline_id), queue.tables_of(pipeline_id)
        with wiring.table_source(server) as source:
            shapes = [(name, source.shape(name)) for name in names]
    rows: list[dict[str, Any]] = [
        {
            "table": name,
            "exists": shape is not None,
            "key": list(shape.key) if shape else [],
            "columns": [{"name": column.name, "type": column.type} for column in (shape.columns if shape else ())],
        }
        for name, shape in shapes
    ]
    shown = Table("table", "key", "columns")
    for row in rows:
        columns = ", ".join(f"{column['name']} {column['type']}" for column in row["columns"])
        shown.add_row(row["table"], ", ".join(row["key"]) or "none", columns or "not there at the source")
    output.table(rows, shown)


@click.command(cls=BackfillCommand)
@click.option("--pipeline", "pipeline_id", type=click.IntRange(min=1), help="Only jobs of this pipeline.")
@click.option("--status", type=click.Choice(STATUSES, case_sensitive=False), help="Only jobs in this status.")
@click.pass_obj
def jobs(output: Output, pipeline_id: int | None, status: str | None) -> None:
    """List the jobs of tables, newest first."""
    from backfill_assets.core.jobs import JobStatus

    with opened() as (_, queue):
        found = queue.jobs(pipeline_id=pipeline_id, status=JobStatus(status.upper()) if status else None)
    _tell(output, found)


@click.command(cls=BackfillCommand)
@click.argument("job_id", metavar="ID")
@click.pass_obj
def delete(output: Output, job_id: str) -> None:
    """Remove the job ID from the queue, with what is kept of it; rows that were brought stay."""
    with opened() as (_, queue):
        job = queue.delete(job_id_from(job_id))
    output.facts({"job_id": job.id, "status": str(job.status)}, text=f"removed {JOB_PREFIX}{job.id} ({job.status})")


@click.command(cls=BackfillCommand)
@click.argument("job_id", metavar="ID")
@click.option("--watch", is_flag=True, help="Show progress until it has ended.")
@click.pass_obj
def status(output: Output, job_id: str, watch: bool) -> None:
    """Say how the job ID stands."""
    with opened() as (_, queue):
        if watch:
            _until_ended(queue, job_id_from(job_id), output)
        _tell(output, [_required(queue, job_id_from(job_id))])


def cancel_job(output: Output, job_id: str) -> None:
    """Stop a job at its next commit."""
    with opened() as (_, queue):
        job = queue.cancel(job_id_from(job_id))
    text = f"cancelled {job_id}; its run stops at the next commit, `backfill resume {job_id}` goes on"
    output.facts(facts_of(job), text=text)


def resume_job(output: Output, job_id: str, *, wait: bool) -> None:
    """Let a job that failed or was cancelled go on where it was."""
    with opened() as (_, queue):
        job = queue.requeue(job_id_from(job_id))
        output.facts(facts_of(job), text=f"{job_id} waits again, and goes on after its last commit")
        if wait:
            _until_ended(queue, job.id, output)


def is_job(text: str) -> bool:
    """Whether an id is that of a job."""
    return text.startswith(JOB_PREFIX)


def job_id_from(text: str) -> int:
    """The number in an id like job-7."""
    number = text.removeprefix(JOB_PREFIX)
    if not number.isascii() or not number.isdigit() or len(number) > 18:
        raise UsageError(f"{text!r} is no id of a job; write it like {JOB_PREFIX}7")
    return int(number)


@contextmanager
def opened() -> "Iterator[tuple[Wiring, JobQueue]]":
    """The wiring and the queue."""
    from backfill_assets.configuration.domains import TABLE_BACKFILL
    from backfill_assets.configuration.table_backfill import QUEUE_DATABASE
    from backfill_assets.resources import open_wiring
    from backfill_assets.settings import load_settings

    settings = load_settings()
    if settings.queue_database_url is None:
        raise ConfigurationError(f"table backfill is switched off; set {QUEUE_DATABASE} to the queue's database")
    if TABLE_BACKFILL not in settings.domains:
        raise ConfigurationError(f"BACKFILL_DOMAINS leaves {TABLE_BACKFILL} out; name it there, and restart Dagster")
    with open_wiring(settings) as wiring, wiring.queue() as queue:
        yield wiring, queue


def facts_of(job: "Job") -> dict[str, Any]:
    """A job as facts, under the names that the platform's API gives them."""
    return {
        "id": job.id,
        "pipeline_id": job.pipeline_id,
        "source_id": job.source_id,
        "table_name": job.table_name,
        "filter_sql": job.filter_sql,
        "status": str(job.status),
        "count_record": job.count_record,
        "total_record": job.total_record,
        "is_error": job.is_error,
        "error_message": job.error_message,
        "resume_attempts": job.resume_attempts,
        "created_at": job.created_at.isoformat() if job.created_at else None,
        "updated_at": job.updated_at.isoformat() if job.updated_at else None,
    }


def _tell(output: Output, found: "Sequence[Job]") -> None:
    from rich.table import Table

    shown = Table("id", "pipeline", "table", "filter", "status", "rows", "of", "reason")
    for job in found:
        texts = (job.pipeline_id, job.table_name, job.filter_sql or "", job.status, job.count_record, job.total_record)
        shown.add_row(f"{JOB_PREFIX}{job.id}", *map(str, texts), job.error_message or "")
    output.table([facts_of(job) for job in found], shown)
    output.remark(f"{len(found)} jobs")


def _required(queue: "JobQueue", job_id: int) -> "Job":
    if (job := queue.find(job_id)) is None:
        raise UsageError(f"there is no job {JOB_PREFIX}{job_id}; `backfill jobs` lists those that there are")
    return job


def _until_ended(queue: "JobQueue", job_id: int, output: Output) -> None:
    from backfill_assets.cli.progress import bars
    from backfill_assets.core.jobs import ACTIVE, JobStatus

    with bars(output) as progress:
        bar = progress.add_task(f"{JOB_PREFIX}{job_id}", total=None)
        while (job := _required(queue, job_id)).status in ACTIVE:
            progress.update(bar, completed=job.count_record, total=job.total_record or None)
            time.sleep(POLL_SECONDS)
        progress.update(bar, completed=job.count_record, total=job.count_record or None)
    if job.status != JobStatus.COMPLETED:
        reason = f": {job.error_message}" if job.error_message else ""
        raise PermanentError(f"{JOB_PREFIX}{job_id} ended {job.status}{reason}")
