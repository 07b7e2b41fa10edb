"""Waiting for a backfill with a progress bar."""

import time

from dagster import DagsterInstance, DagsterRunStatus
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from backfill_assets import following
from backfill_assets.cli.command import Output
from backfill_assets.cli.instance import asset_graph
from backfill_assets.errors import PermanentError
from backfill_assets.following import Backfill
from backfill_assets.pausing import is_paused, paused_until

POLL_SECONDS = 1.0
RECOVERY_SECONDS = 75.0


def bars(output: Output) -> Progress:
    """Progress bars that count partitions."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=output.console)


def until_ended(instance: DagsterInstance, backfill_id: str, output: Output) -> None:
    """Show the progress of a backfill until it has ended; raises `PermanentError` when not all of it was done.

    One that lost the retry of a crashed run is followed into the backfill that goes on with the rest; one that is
    paused is not waited for.
    """
    if not following.is_daemon_alive(instance):
        output.remark("no Dagster daemon runs on this instance: nothing begins before `dagster-daemon run` is started")
    with bars(output) as progress:
        backfill = _follow(instance, backfill_id, progress)
        while not following.has_succeeded(backfill) and (successor := _successor(instance, backfill)):
            backfill = _follow(instance, successor.backfill_id, progress)
    if not following.has_succeeded(backfill):
        backfill = following.settle(instance, asset_graph(), backfill)
    if is_paused(backfill):
        until = f"{paused_until(backfill):%Y-%m-%d %H:%M} UTC"
        raise PermanentError(
            f"backfill {backfill.backfill_id} is paused until {until} and goes on by itself; "
            f"`backfill cancel {backfill.backfill_id}` keeps it from that"
        )
    if not following.has_succeeded(backfill):
        done, total = following.progress(instance, backfill)
        failed = following.runs(instance, backfill.backfill_id, [DagsterRunStatus.FAILURE])
        raise PermanentError(
            f"backfill {backfill.backfill_id} ended {backfill.status.value}: {done} of {total} partitions are done and "
            f"{len(failed)} runs failed; the UI shows why, `backfill resume {backfill.backfill_id}` does the rest"
        )


def _follow(instance: DagsterInstance, backfill_id: str, progress: Progress) -> Backfill:
    bar = progress.add_task(following.find(instance, backfill_id).title or backfill_id)
    while True:
        backfill = following.find(instance, backfill_id)
        done, total = following.progress(instance, backfill)
        progress.update(bar, completed=done, total=total)
        if following.has_ended(backfill):
            return backfill
        time.sleep(POLL_SECONDS)


def _successor(instance: DagsterInstance, backfill: Backfill) -> Backfill | None:
    """The backfill that the sensor launches, within a minute, for one that lost the retry of a crashed run."""
    deadline = time.monotonic() + RECOVERY_SECONDS
    while following.lost_retries(instance, backfill) and time.monotonic() < deadline:
        if resumed := following.resumptions(instance, backfill):
            return resumed[0]
        time.sleep(POLL_SECONDS)
    return None
