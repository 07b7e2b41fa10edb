"""One window that the service cannot deliver: it alone is missing, with the reason, and it alone is done again."""

import json

from dagster import DagsterRunStatus

from backfill_assets import following
from backfill_assets_tests.end_to_end.running import Running, finish


def test_a_poisoned_window_fails_alone_and_is_resumed_alone(running: Running) -> None:
    poison = running.fault(
        kind="status", status=500, tenant="acme", table="company/contacts", **{"from": "2023-03-12", "to": "2023-03-19"}
    )
    span = ("--start-date", "2023-03-05", "--end-date", "2023-03-26", "--chunk-size-days", "7")
    target = ("--tenant-id", "acme", "--service", "connectwise", "--table-name", "company/contacts")
    ended = finish(running.start_backfill("trigger", *target, *span, "--wait", "--json"))
    assert ended.returncode == 1
    backfill_id = json.loads(ended.stdout)["backfill_id"]
    assert f"backfill {backfill_id} ended COMPLETED_FAILED: 2 of 3 partitions are done" in ended.stderr
    assert "2/3" in ended.stderr
    assert "Traceback" not in ended.stderr

    (failed,) = running.runs(backfill_id)
    assert failed.status is DagsterRunStatus.FAILURE
    assert set(running.materialised(failed)) == {
        ("company_contacts", "acme|2023-03-05"),
        ("company_contacts", "acme|2023-03-19"),
    }
    told = running.failure(failed)
    assert "1 of 3 partitions failed; acme|2023-03-12: connectwise of tenant acme" in told
    assert "answered 500" in told
    # Its sentence says what a person must do, so Dagster does not try again by itself.
    assert not running.retry_of(failed)

    running.clear_fault(poison)
    resumed = running.backfill("resume", backfill_id, "--wait", "--json")
    assert resumed.returncode == 0, resumed.stderr
    rest = running.runs(json.loads(resumed.stdout)["backfill_id"])
    assert running.materialised(*rest) == {("company_contacts", "acme|2023-03-12"): 1}
    assert all(r.is_equal for r in running.compare("acme", "2023-03-05", "2023-03-26") if r.table == "company/contacts")
    assert following.find(running.instance, backfill_id).status.value == "COMPLETED_FAILED"
