"""The demo: the whole stack started, watched until all is backfilled, verified, and stopped again.

What the stack is belongs to `stack.py`, the comparison with the source to `verification.py`.
"""

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dagster import DagsterInstance
from dagster._core.execution.backfill import PartitionBackfill
from rich.progress import Progress, TaskID

from backfill_assets import launching
from backfill_assets.cli.command import Output
from backfill_assets.cli.progress import bars
from backfill_assets.errors import BackfillError, PermanentError
from backfill_assets.sandbox.stack import Stack
from backfill_assets.sandbox.verification import verify
from backfill_assets.settings import load_settings, publish
from backfill_assets.tenant_history.backfill import DOMAIN

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """Ctrl-C, or being told to end; not an Exception, so that nothing takes it for an error."""


class Interrupts:
    """Turns the first signal into `Stopped` and is deaf from then on, so that stopping is never cut short."""

    def __init__(self) -> None:
        self._shields = 0
        self._is_pending = False

    def listen(self) -> None:
        """Take over the signals that end the demo."""
        for number in SIGNALS:
            signal.signal(number, self._hear)

    @contextmanager
    def shield(self) -> Iterator[None]:
        """Hold a signal back until the end of the block."""
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1
        if self._is_pending and not self._shields:
            raise Stopped

    def deafen(self) -> None:
        """Hear no signal any more."""
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    def _hear(self, _number: int, _frame: Any) -> None:
        self.deafen()
        self._is_pending = True
        if not self._shields:
            raise Stopped


@dataclass(frozen=True, kw_only=True)
class Demo:
    """One demo in the folder `home`, its UI on `port`."""

    home: Path
    port: int
    scale: int
    lookback_days: int | None
    output: Output

    def run(self, *, once: bool) -> int:
        """Run until everything is verified (`once`) or until Ctrl-C; return the exit code."""
        interrupts = Interrupts()
        stack = Stack(
            home=self.home,
            port=self.port,
            scale=self.scale,
            lookback_days=self.lookback_days,
            say=self.output.remark,
            shield=interrupts.shield,
        )
        interrupts.listen()
        try:
            self._run(stack, once=once)
        except Stopped:
            return 1 if once else 0
        except BackfillError as error:
            self.output.remark(f"Error: {error}")
            return 1
        finally:
            interrupts.deafen()
            self._stop(stack)
        return 0

    def _run(self, stack: Stack, *, once: bool) -> None:
        publish(stack.prepare())
        with DagsterInstance.from_config(str(self.home / "dagster")) as instance:
            stack.start()
            self.output.remark(f"the Dagster UI comes up at {stack.url}")
            self._watch(stack, instance)
            self._verify(stack.sandbox_url)
            if not once:
                self.output.remark(f"the Dagster UI is at {stack.url}; Ctrl-C stops everything")
            while not once:
                stack.supervisor.revive()
                time.sleep(1)

    def _watch(self, stack: Stack, instance: DagsterInstance) -> None:
        """Follow the backfills until each tenant's has ended, reviving what dies."""
        with bars(self.output) as progress:
            tasks: dict[str, TaskID] = {}
            newest: list[PartitionBackfill] = []
            while len(newest) < len(stack.tenants) or not all(map(launching.has_ended, newest)):
                time.sleep(1)
                stack.supervisor.revive()
                newest = list(_newest_of_each_target(launching.backfills(instance, {launching.DOMAIN_TAG: DOMAIN})))
                for backfill in newest:
                    self._show(instance, backfill, progress, tasks)
        if failed := [backfill.backfill_id for backfill in newest if not launching.has_succeeded(backfill)]:
            raise PermanentError(
                f"backfill {', '.join(failed)} did not succeed; start `make demo` again, see in the UI why, and "
                f"re-execute it there from failure"
            )

    def _show(
        self, instance: DagsterInstance, backfill: PartitionBackfill, progress: Progress, tasks: dict[str, TaskID]
    ) -> None:
        done, total = launching.progress(instance, backfill)
        if backfill.backfill_id not in tasks:
            tasks[backfill.backfill_id] = progress.add_task(backfill.title or backfill.backfill_id, total=total)
            progress.console.print(f"detected {backfill.title}: {backfill.description}", soft_wrap=True)
            progress.console.print(f"  planned {total} partitions in backfill {backfill.backfill_id}")
        progress.update(tasks[backfill.backfill_id], completed=done)

    def _verify(self, sandbox_url: str) -> None:
        self.output.remark("comparing every record in the lake with its source ...")
        report = verify(load_settings(), sandbox_url)
        self.output.table(report.rows(), report.table())
        if report.problem:
            raise PermanentError(report.problem)
        self.output.remark(f"all {report.records} records of the sources are in the lake, each version once")

    def _stop(self, stack: Stack) -> None:
        self.output.remark("stopping ...")
        if left := stack.stop():
            self.output.remark(f"Error: processes {left} could not be stopped; end them by hand")


def _newest_of_each_target(found: Sequence[PartitionBackfill]) -> Iterator[PartitionBackfill]:
    seen = set()
    for backfill in found:
        if (target := backfill.tags.get(launching.KEY_TAG)) not in seen:
            seen.add(target)
            yield backfill
