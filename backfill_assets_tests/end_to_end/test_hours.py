"""A tenant closes while its history is read, and opens again."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from dagster import DagsterRunStatus

from backfill_assets.following import find, resumptions
from backfill_assets.pausing import is_paused
from backfill_assets_tests.end_to_end.running import Running, until

TABLE = "company/contacts"
SPAN = ("2023-06-04", "2023-11-19")
WINDOWS = 24
ENDS = {DagsterRunStatus.CANCELED, DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE}


def test_a_backfill_is_paused_at_closing_and_does_the_rest_at_opening(running: Running) -> None:
    start, end = SPAN
    slow = running.fault(kind="timeout", seconds=2, tenant="globex", table=TABLE, **{"from": start, "to": end})
    backfill_id = running.trigger("globex", "--start-date", start, "--end-date", end, "--table-name", TABLE)
    until("a commit", lambda: running.materialised(*running.runs(backfill_id)))

    tenants = running.stack.home / "tenants.yaml"
    in_half_a_day = (datetime.now(UTC).hour + 12) % 24
    try:
        set_hours(tenants, {"start": in_half_a_day, "end": f"{in_half_a_day:02}:01"})
        until("the pause", lambda: is_paused(find(running.instance, backfill_id)))
        running.ended(backfill_id)
    finally:
        running.clear_fault(slow)
        # As it was: the tests that follow read the history of this tenant too.
        closed_runs = running.runs(backfill_id)
        set_hours(tenants, None)
    assert {run.status for run in closed_runs} <= ENDS
    done = running.materialised(*closed_runs)
    assert set(done.values()) == {1}
    assert len(done) < WINDOWS

    [again] = until("its going on", lambda: resumptions(running.instance, find(running.instance, backfill_id)))
    assert running.ended(again.backfill_id).status.value == "COMPLETED_SUCCESS"
    rest = running.materialised(*running.runs(again.backfill_id))
    assert set((done + rest).values()) == {1}
    assert len(done + rest) == WINDOWS
    assert not is_paused(find(running.instance, backfill_id))
    assert [(row.source > 0, row.is_equal) for row in running.compare("globex", start, end) if row.table == TABLE] == [
        (True, True)
    ]


def set_hours(tenants: Path, hours: Any) -> None:
    """Let globex have these hours, as an operator edits the file: whole, or as it was."""
    said = yaml.safe_load(tenants.read_text())
    said["tenants"]["globex"]["services"]["connectwise"]["backfill_hours"] = hours or False
    written = tenants.with_suffix(".new")
    written.write_text(yaml.safe_dump(said))
    written.replace(tenants)
