"""What a person does in the Dagster UI, in a real browser.

Here belongs where things are on its pages. What must come of a click belongs to the tests.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
QUIET = ("no-sandbox", "disable-gpu", "no-first-run", "disable-quic")
OFFLINE = ("disable-background-networking", "disable-component-update", "disable-sync")
PATIENCE_MS = 90_000


@dataclass(frozen=True, kw_only=True)
class DagsterUi:
    """The UI at `url`, in one tab."""

    page: Page
    url: str

    def launch(self, asset: str, tenant: str, windows: str) -> str:
        """Launch a backfill of one tenant's windows in the asset's dialog; return its id."""
        self.page.goto(f"{self.url}/assets/{asset}?view=partitions")
        self.page.get_by_role("button", name="Materialize").first.click()
        dialog = self.page.get_by_role("dialog").filter(has_text="Launch runs to materialize")
        # The field of the windows comes last; until then, the dialog has another shape.
        field = dialog.get_by_placeholder("ex: 2023-01-01")
        field.wait_for()
        dialog.get_by_text("Select a partition or create one").click()
        self.page.locator("label").get_by_title(tenant, exact=True).click()
        self.page.keyboard.press("Escape")
        field.fill(windows)
        field.press("Enter")
        expect(dialog.get_by_text("3 partitions")).to_be_visible()
        self.page.get_by_role("button", name="Launch backfill").click()
        return self._created()

    def open_backfill(self, backfill_id: str) -> None:
        """Show the page of a backfill."""
        self.page.goto(f"{self.url}/runs/b/{backfill_id}")

    def expect_counts(self, *, status: str, target: int, succeeded: int, failed: int) -> None:
        """The page of a backfill that has ended says so, and how many of its asset's partitions did what."""
        expect(self.page.get_by_text(status, exact=True).first).to_be_visible()
        counts = re.compile(rf"100% completed\s+{target}\s+0\s+{succeeded}\s+{failed}\b")
        expect(self.page.locator("body")).to_contain_text(counts, use_inner_text=True)

    def rerun_failed(self) -> str:
        """Choose "Re-execute from failure" on the page of a backfill; return the id of the new one."""
        self.page.locator("button:has([aria-label=expand_more])").click()
        self.page.get_by_role("menuitem", name="Re-execute from failure").click()
        return self._created()

    def _created(self) -> str:
        """What the UI says that it has created."""
        toast = self.page.get_by_text("Created backfill").locator("..")
        told = re.search(r"Created backfill\s+([a-z]+)", toast.first.inner_text())
        assert told is not None, toast.first.inner_text()
        return told[1]


@contextmanager
def open_ui(url: str) -> Iterator[DagsterUi]:
    """Open a browser on the UI."""
    arguments = [f"--{name}" for name in (*QUIET, *OFFLINE)]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        try:
            yield DagsterUi(page=page, url=url)
        finally:
            browser.close()
