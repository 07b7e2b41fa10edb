"""The command that compares a table with its source again.

Here belongs what is asked for and what is told; what is compared belongs to the domain.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from backfill_assets.cli.command import BackfillCommand, Output
from backfill_assets.cli.tables import JOB_PREFIX, filter_option, opened
from backfill_assets.errors import PermanentError

if TYPE_CHECKING:
    from backfill_assets.table_backfill.reconciling import Compared


@click.command("table", cls=BackfillCommand)
@click.argument("pipeline_id", type=click.IntRange(min=1))
@click.argument("table_name", metavar="TABLE")
@filter_option
@click.option("--repair", is_flag=True, help="Queue the rows again where a destination differs.")
@click.pass_obj
def table(output: Output, /, *, pipeline_id: int, table_name: str, filters: Sequence[str], repair: bool) -> None:
    """Compare TABLE of pipeline PIPELINE_ID with its source; exit code 1 where a destination differs."""
    from rich.table import Table

    from backfill_assets.core.jobs import Options
    from backfill_assets.table_backfill.reconciling import TableReconcile
    from backfill_assets.table_backfill.requesting import asked_from, filter_text

    text = filter_text([asked_from(one) for one in filters])
    with opened() as (wiring, queue):
        reconcile = TableReconcile(
            queue=queue, open_source=wiring.table_source, open_destination=wiring.table_destination
        )
        found = list(reconcile.compare(pipeline_id, table_name, text))
        faults = [f"{one.destination}: {_fault(one)}" for one in found if not one.is_equal]
        shown = Table("destination", "rows at the source", "ranges that differ", "missing", "different", "problem")
        for one in found:
            shown.add_row(one.destination, *map(str, _numbers(one)), one.problem)
        output.table([_facts(one) for one in found], shown)
        if faults and repair:
            job = queue.add(pipeline_id=pipeline_id, table_name=table_name, filter_sql=text, options=Options())
            output.remark(f"queued {JOB_PREFIX}{job.id} to bring the rows again")
    if faults:
        advice = "" if repair else ". Run it again with --repair to queue the rows"
        raise PermanentError("; ".join(faults) + advice)


def _numbers(one: "Compared") -> tuple[object, ...]:
    if one.verdict is None:
        return ("not compared", "", "", "")
    short = one.verdict.short
    return (
        one.verdict.source_rows,
        len(short),
        sum(span.missing for span in short),
        sum(span.different for span in short),
    )


def _facts(one: "Compared") -> dict[str, Any]:
    verdict = one.verdict
    ranges = (
        [{"range": str(s.span), "missing": s.missing, "different": s.different} for s in verdict.short]
        if verdict
        else []
    )
    return {
        "destination": one.destination,
        "is_equal": one.is_equal,
        "source_rows": verdict.source_rows if verdict else None,
        "ranges": ranges,
        "problem": one.problem,
    }


def _fault(one: "Compared") -> str:
    if one.verdict is None:
        return one.problem
    return "; ".join(map(str, one.verdict.short[:5]))
