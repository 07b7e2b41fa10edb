"""The story of a person who knows only the Dagster UI."""

from collections.abc import Iterator

import pytest

from backfill_assets.sandbox.stack import WEBSERVER
from backfill_assets_tests.end_to_end.browsing import CHROMIUM, DagsterUi, open_ui
from backfill_assets_tests.end_to_end.running import Running

pytestmark = pytest.mark.browser

ASSET = "connectwise/company_companies"
WINDOWS = "[2023-04-02...2023-04-16]"
POISONED = {"from": "2023-04-09", "to": "2023-04-16"}


@pytest.fixture
def ui(running: Running) -> Iterator[DagsterUi]:
    assert CHROMIUM.exists(), "install Chromium, or unset BACKFILL_REQUIRE_SERVICES"
    running.stack.wait_for(WEBSERVER, running.stack.port)
    with open_ui(running.stack.url) as opened:
        yield opened


def test_a_backfill_launched_in_the_dialog_for_one_tenant_succeeds(ui: DagsterUi, running: Running) -> None:
    backfill_id = ui.launch(ASSET, "globex", WINDOWS)
    ui.open_backfill(backfill_id)
    ui.expect_counts(status="Succeeded", target=3, succeeded=3, failed=0)
    assert running.materialised(*running.runs(backfill_id)) == {
        ("company_companies", f"globex|{day}"): 1 for day in ("2023-04-02", "2023-04-09", "2023-04-16")
    }


def test_a_failed_window_is_seen_and_rerun_alone(ui: DagsterUi, running: Running) -> None:
    # Not 500, which is tried again for a while.
    poison = running.fault(kind="status", status=400, tenant="acme", table="company/companies", **POISONED)
    backfill_id = ui.launch(ASSET, "acme", WINDOWS)
    ui.open_backfill(backfill_id)
    ui.expect_counts(status="Failed", target=3, succeeded=2, failed=1)

    running.clear_fault(poison)
    again = ui.rerun_failed()
    ui.open_backfill(again)
    ui.expect_counts(status="Succeeded", target=1, succeeded=1, failed=0)
    assert running.materialised(*running.runs(again)) == {("company_companies", "acme|2023-04-09"): 1}
