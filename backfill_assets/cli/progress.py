"""Waiting for a backfill with a progress bar."""

import time

from dagster import DagsterInstance, DagsterRunStatus
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from backfill_assets import launching
from backfill_assets.cli.command import Output
from backfill_assets.errors import PermanentError

POLL_SECONDS = 1.0


def bars(output: Output) -> Progress:
    """Progress bars that count partitions."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=output.console)


def until_ended(instance: DagsterInstance, backfill_id: str, output: Output) -> None:
    """Show the progress of a backfill until it has ended; raises `PermanentError` when not all of it was done."""
    if not launching.is_daemon_alive(instance):
        output.remark("no Dagster daemon runs on this instance: nothing begins before `dagster-daemon run` is started")
    with bars(output) as progress:
        bar = progress.add_task(launching.find(instance, backfill_id).title or backfill_id)
        while True:
            backfill = launching.find(instance, backfill_id)
            done, total = launching.progress(instance, backfill)
            progress.update(bar, completed=done, total=total)
            if launching.has_ended(backfill):
                break
            time.sleep(POLL_SECONDS)
    if not launching.has_succeeded(backfill):
        failed = launching.runs(instance, backfill_id, [DagsterRunStatus.FAILURE])
        raise PermanentError(
            f"backfill {backfill_id} ended {backfill.status.value}: {done} of {total} partitions are done and "
            f"{len(failed)} runs failed; the UI shows why, `backfill resume {backfill_id}` does the rest"
        )
