"""Waiting for a backfill with a progress bar."""

import time

from dagster import DagsterInstance, DagsterRunStatus
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from backfill_assets import following
from backfill_assets.cli.command import Output
from backfill_assets.cli.instance import asset_graph
from backfill_assets.errors import PermanentError

POLL_SECONDS = 1.0


def bars(output: Output) -> Progress:
    """Progress bars that count partitions."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=output.console)


def until_ended(instance: DagsterInstance, backfill_id: str, output: Output) -> None:
    """Show the progress of a backfill until it has ended; raises `PermanentError` when not all of it was done."""
    if not following.is_daemon_alive(instance):
        output.remark("no Dagster daemon runs on this instance: nothing begins before `dagster-daemon run` is started")
    with bars(output) as progress:
        bar = progress.add_task(following.find(instance, backfill_id).title or backfill_id)
        while True:
            backfill = following.find(instance, backfill_id)
            done, total = following.progress(instance, backfill)
            progress.update(bar, completed=done, total=total)
            if following.has_ended(backfill):
                break
            time.sleep(POLL_SECONDS)
    if not following.has_succeeded(backfill):
        backfill = following.settle(instance, asset_graph(), backfill)
    if not following.has_succeeded(backfill):
        failed = following.runs(instance, backfill_id, [DagsterRunStatus.FAILURE])
        raise PermanentError(
            f"backfill {backfill_id} ended {backfill.status.value}: {done} of {total} partitions are done and "
            f"{len(failed)} runs failed; the UI shows why, `backfill resume {backfill_id}` does the rest"
        )
