"""Asking for a job from the UI: a Dagster job whose launchpad shows what can be set, with its types.

Here belongs the form; what is checked belongs to `requesting.py`.
"""

import dagster as dg
from dagster import OpExecutionContext
from pydantic import Field

from backfill_assets.core.jobs import Options
from backfill_assets.core.tables import OnConflict, Operator
from backfill_assets.errors import BackfillError
from backfill_assets.resources import Wiring
from backfill_assets.table_backfill.requesting import Asked, Request, Requesting, values_from


class FilterConfig(dg.Config):
    """A column compared with a value: a comma list for IN, two joined by AND for BETWEEN, none for the null tests."""

    column: str
    operator: Operator
    value: str = ""


class RequestConfig(dg.Config):
    """The job to put into the queue; at most five filters, all of which must hold."""

    pipeline_id: int
    table: str
    filters: list[FilterConfig] = Field(default_factory=list)
    on_conflict: OnConflict = OnConflict.OVERWRITE
    version_column: str | None = None
    create_table: bool = False


@dg.op(name="request", description="Puts a job into the queue when the table takes what is asked.")
def request(context: OpExecutionContext, config: RequestConfig, wiring: dg.ResourceParam[Wiring]) -> int:
    """Add the job; its id is the output, and the partition of `table_backfill/table_rows`."""
    try:
        asked = [
            Asked(column=one.column, operator=one.operator, values=values_from(one.operator, one.value))
            for one in config.filters
        ]
        with wiring.queue() as queue:
            job = Requesting(queue=queue, open_source=wiring.table_source).add(
                Request(
                    pipeline_id=config.pipeline_id,
                    table=config.table,
                    filters=asked,
                    options=Options(
                        on_conflict=config.on_conflict,
                        version_column=config.version_column,
                        create_table=config.create_table,
                    ),
                )
            )
    except BackfillError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    context.log.info(f"job {job.id} waits in the queue")
    return job.id


@dg.job(description="Asks for a table's rows: the job waits in the queue, and the sensor starts it within seconds.")
def request_table_backfill() -> None:
    """One step, which puts the job into the queue."""
    request()
