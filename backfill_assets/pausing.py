"""What the tags of a backfill and of its runs say of their having been stopped.

Here belongs how it is written down that a backfill is paused, which is one that goes on by itself later. Stopping and
going on belongs to `launching.py`, when to do so to the domains.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.execution.backfill import BulkActionStatus

from backfill_assets.following import Backfill, find, has_ended, has_succeeded, runs

STOPPED_TAG = "backfill/stopped"
"""On a run that stopped by itself at a commit: why."""
OUTSIDE_HOURS, TIMEOUT = "backfill_hours", "timeout_hours"
"""The reasons, by the setting that they go by."""

PAUSED_TAG, PAUSED_UNTIL_TAG = "backfill/paused", "backfill/paused_until"
"""On a backfill that goes on by itself: its own id, since Dagster copies tags onto a re-execution; and when. The second
is on runs that stopped by themselves too."""
TIMED_OUT_TAG = "backfill/timed_out"
"""On a backfill that was stopped since it took too long: in words."""


def is_paused(backfill: Backfill) -> bool:
    """Whether it was stopped, or is being stopped, to go on by itself later; an active one can be paused no more."""
    is_stopping = has_ended(backfill) or backfill.status is BulkActionStatus.CANCELING
    return is_stopping and not has_succeeded(backfill) and backfill.tags.get(PAUSED_TAG) == backfill.backfill_id


def was_paused(backfill: Backfill) -> bool:
    """Whether it is paused, or was and has been seen to."""
    return backfill.tags.get(PAUSED_TAG, "").endswith(backfill.backfill_id)


def paused_until(backfill: Backfill) -> datetime:
    """When a paused backfill goes on."""
    return datetime.fromisoformat(backfill.tags[PAUSED_UNTIL_TAG])


def stopped_runs(instance: DagsterInstance, backfill: Backfill) -> Sequence[DagsterRun]:
    """Runs of the backfill that stopped by themselves before all was done."""
    failed = runs(instance, backfill.backfill_id, [DagsterRunStatus.FAILURE])
    return [run for run in failed if STOPPED_TAG in run.tags]


def pause_mark(backfill: Backfill, until: datetime) -> Mapping[str, str]:
    """The tags of a paused backfill."""
    return {PAUSED_TAG: backfill.backfill_id, PAUSED_UNTIL_TAG: until.isoformat()}


def marked(backfill: Backfill, mark: Mapping[str, str]) -> Backfill:
    """The backfill with these tags for what it said before of its stopping."""
    return backfill._replace(tags={**unmarked(backfill.tags), **mark})


def end_pause(instance: DagsterInstance, backfill_id: str) -> None:
    """See to it that a paused backfill does not go on by itself; do nothing for any other."""
    backfill = find(instance, backfill_id)
    if is_paused(backfill):
        # A trace is left, so that its runs, which say that they are paused, do not make it a paused one again.
        instance.update_backfill(marked(backfill, {PAUSED_TAG: f"no more: {backfill_id}"}))


def unmarked(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags without what they say of a backfill's stopping."""
    marks = (PAUSED_TAG, PAUSED_UNTIL_TAG, TIMED_OUT_TAG)
    return {name: value for name, value in tags.items() if name not in marks}
