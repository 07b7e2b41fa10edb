"""The demo: the whole stack started, watched until all is backfilled, verified, and stopped again.

What the stack is belongs to `stack.py`, the comparison with the source to `verification.py`.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from dagster import DagsterInstance
from rich.progress import Progress, TaskID

from backfill_assets import following, launching
from backfill_assets.cli.command import Output
from backfill_assets.cli.instance import asset_graph
from backfill_assets.cli.progress import RECOVERY_SECONDS, bars
from backfill_assets.core.windows import utc_now
from backfill_assets.errors import BackfillError, PermanentError
from backfill_assets.following import Backfill
from backfill_assets.resources import open_wiring
from backfill_assets.sandbox.accounts import ACCOUNTS
from backfill_assets.sandbox.interrupts import Interrupts, Stopped
from backfill_assets.sandbox.spiffworkflow.showing import fill
from backfill_assets.sandbox.stack import Stack
from backfill_assets.sandbox.verification import verify
from backfill_assets.settings import Settings, load_settings, publish
from backfill_assets.tenant_history.committing import DOMAIN
from backfill_assets.tenant_history.onboarding import SCOPE_TAG, WHOLE
from backfill_assets.tenant_history.sync import sync

DETECTION_SECONDS = 120
SYNC_SECONDS = 600
CHANGED_LATELY = timedelta(days=90)
"""People change what is recent."""
Account = tuple[str, str]
"""A tenant and a service."""


@dataclass(frozen=True, kw_only=True)
class Demo:
    """One demo in the folder `home`, its UI on `port`."""

    home: Path
    port: int
    scale: int
    lookback_days: int | None
    services: tuple[str, ...] = tuple(ACCOUNTS)
    output: Output
    interrupts: Interrupts = field(default_factory=Interrupts)

    def run(self, *, once: bool) -> int:
        """Run until everything is verified (`once`) or until Ctrl-C; return the exit code."""
        stack = Stack(
            home=self.home,
            port=self.port,
            scale=self.scale,
            lookback_days=self.lookback_days,
            services=self.services,
            say=self.output.remark,
            shield=self.interrupts.shield,
            celery=True,
            metadata=True,
        )
        self.interrupts.listen()
        try:
            try:
                self._run(stack, once=once)
            finally:
                self.interrupts.deafen()
        except Stopped:
            return 1 if once else 0
        finally:
            self._stop(stack)
        return 0

    def _run(self, stack: Stack, *, once: bool) -> None:
        publish(stack.prepare())
        with DagsterInstance.from_config(str(self.home / "dagster")) as instance:
            stack.start()
            self.output.remark(f"the Dagster UI comes up at {stack.url}; records of the sources keep changing")
            stack.writer.start(_accounts(load_settings()), since=utc_now() - CHANGED_LATELY)
            try:
                self._watch(stack, instance)
                fill(stack.product, instance, self.output, look_after=lambda: self._look_after(stack))
                self._sync_and_verify(stack, instance)
            except BackfillError as error:
                if once:
                    raise
                self.output.remark(f"Error: {error}")
            self.output.remark(f"the Dagster UI is at {stack.url}; Ctrl-C stops everything")
            while not once:
                self._look_after(stack)
                time.sleep(1)

    def _watch(self, stack: Stack, instance: DagsterInstance) -> None:
        """Follow the backfills of the tenants' whole histories until each has ended, reviving what dies."""
        wanted = {(tenant, service) for tenant in stack.tenants for service in stack.services}
        with bars(self.output) as progress:
            tasks: dict[str, TaskID] = {}
            newest: Mapping[Account, Backfill] = {}
            deadline = time.monotonic() + DETECTION_SECONDS
            while newest.keys() < wanted or not all(map(_is_over, newest.values())):
                time.sleep(1)
                self._look_after(stack)
                newest = _newest_of_each_account(instance)
                for backfill in newest.values():
                    self._show(instance, backfill, progress, tasks)
                if newest.keys() < wanted and time.monotonic() > deadline:
                    waiting = ", ".join(" ".join(account) for account in sorted(wanted - newest.keys()))
                    raise PermanentError(
                        f"nothing was launched for {waiting} within {DETECTION_SECONDS} s; the ticks of the sensor "
                        f"new_tenant_services in the UI and {stack.supervisor.log('daemon')} say why"
                    )
        if failed := [b.backfill_id for b in newest.values() if not following.has_succeeded(b)]:
            raise PermanentError(
                f"backfill {', '.join(failed)} did not succeed; `make demo` without ONCE keeps the UI open: see there "
                "why, and re-execute it from failure"
            )

    def _look_after(self, stack: Stack) -> None:
        self.interrupts.check()
        stack.supervisor.revive()

    def _show(
        self, instance: DagsterInstance, backfill: Backfill, progress: Progress, tasks: dict[str, TaskID]
    ) -> None:
        done, total = following.progress(instance, backfill)
        if backfill.backfill_id not in tasks:
            tasks[backfill.backfill_id] = progress.add_task(backfill.title or backfill.backfill_id, total=total)
            progress.console.print(f"detected {backfill.title}: {backfill.description}", soft_wrap=True)
            progress.console.print(f"  planned {total} partitions in backfill {backfill.backfill_id}")
        progress.update(tasks[backfill.backfill_id], completed=done)

    def _sync_and_verify(self, stack: Stack, instance: DagsterInstance) -> None:
        """Compare lake and sources while nobody changes these, after what was changed last has been synced."""
        stack.writer.pause()
        try:
            self._sync(stack, instance)
            self._verify(stack.sandbox_url)
        finally:
            stack.writer.go_on()

    def _sync(self, stack: Stack, instance: DagsterInstance) -> None:
        """Launch a sync of every service, as its schedule does every few minutes, and wait until all have ended."""
        self.output.remark(
            "syncing what was changed while history was read; the sources hold still for the comparison ..."
        )
        left = {(tenant, service) for tenant in stack.tenants for service in stack.services}
        launched: list[str] = []
        deadline = time.monotonic() + SYNC_SECONDS
        while left or not all(following.has_ended(following.find(instance, key)) for key in launched):
            self._look_after(stack)
            # A tenant whose last sync is still under way is synced when that has ended.
            for service in sorted({service for _, service in left}):
                with open_wiring(load_settings()) as wiring:
                    whose = [tenant for tenant, other in sorted(left) if other == service]
                    found = sync(wiring, instance, asset_graph(), service, requested_by="demo", tenants=whose)
                if found.launched is not None:
                    left -= {(plan.tenant, service) for plan in found.tenants}
                    launched.append(found.launched.backfill_id)
            if time.monotonic() > deadline:
                raise PermanentError(f"the sync did not end within {SYNC_SECONDS} s; the Runs page of the UI says why")
            time.sleep(2)
        if failed := [key for key in launched if not following.has_succeeded(following.find(instance, key))]:
            raise PermanentError(f"the sync {', '.join(failed)} did not succeed; the UI says why")

    def _verify(self, sandbox_url: str) -> None:
        self.output.remark("comparing every record in the lake with its source ...")
        report = verify(load_settings(), sandbox_url)
        self.output.table(report.rows(), report.table())
        if report.problem:
            raise PermanentError(report.problem)
        self.output.remark(
            f"all {report.records} records of the sources are in the lake, each version once, and current in the "
            "canonical tables"
        )

    def _stop(self, stack: Stack) -> None:
        self.output.remark("stopping ...")
        if left := stack.stop():
            self.output.remark(f"Error: processes {left} could not be stopped; end them by hand")


def _accounts(settings: Settings) -> list[tuple[str, str, list[str]]]:
    return [
        (service.spec.name, service.tenant, [table.name for table in service.spec.tables])
        for tenant in settings.tenants.values()
        for service in tenant.services.values()
    ]


def _is_over(backfill: Backfill) -> bool:
    """Whether nothing more will come of it: the sensor recovers within a minute what was called failed wrongly."""
    age = time.time() - (backfill.backfill_end_timestamp or 0)
    return following.has_ended(backfill) and (following.has_succeeded(backfill) or age > RECOVERY_SECONDS)


def _newest_of_each_account(instance: DagsterInstance) -> Mapping[Account, Backfill]:
    tags = {launching.DOMAIN_TAG: DOMAIN, SCOPE_TAG: WHOLE}
    # Newest first, so the newest of an account is what remains when they are taken from the end.
    found = reversed(following.backfills(instance, tags))
    return {(b.tags[launching.TENANT_TAG], b.tags[launching.SERVICE_TAG]): b for b in found}
