"""A running stack as a test sees it: the command line, the Dagster instance, the sandbox, the lake.

Here belongs what is asked of it and waited for. Starting and stopping it belongs to `conftest.py`, what must hold to
the tests.
"""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx
from dagster import DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter
from dagster._core.execution.backfill import PartitionBackfill

from backfill_assets import following
from backfill_assets.resources import open_wiring
from backfill_assets.sandbox.stack import DAEMON, Stack
from backfill_assets.sandbox.verification import Compared, compare_table
from backfill_assets.settings import load_settings
from backfill_assets.tenant_history.plan import calendar_of

Found = TypeVar("Found")
PATIENCE = 120.0
"""Seconds after which a wait is given up; generous, since the machine may have other things to do."""


class QuickStack(Stack):
    """The stack with a daemon that looks for work more often."""

    def _arguments(self, name: str) -> list[str]:
        arguments = super()._arguments(name)
        return ["backfill_assets_tests.end_to_end.quick_daemon", *arguments[1:]] if name == DAEMON else arguments


def until(what: str, condition: Callable[[], Found | None], *, timeout: float = PATIENCE) -> Found:
    """Ask until the answer is true, and return it; fails after `timeout` seconds, saying what was waited for."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {timeout:.0f} s in vain for {what}"
        time.sleep(0.1)
    return found


@dataclass(frozen=True, kw_only=True)
class Running:
    """A running stack; `environment` is what its programs see."""

    stack: Stack
    environment: Mapping[str, str]
    instance: DagsterInstance
    sandbox: httpx.Client
    _started: list[subprocess.Popen[str]] = field(default_factory=list)

    def end_commands(self) -> None:
        """End the commands that a failed test did not wait for."""
        for process in self._started:
            with process:
                process.kill()

    def start_backfill(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the `backfill` command."""
        return self._popen("backfill_assets", *arguments)

    def backfill(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the `backfill` command to its end."""
        return self.run_module("backfill_assets", *arguments)

    def run_module(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a Python program to its end."""
        return finish(self._popen(*arguments))

    def trigger(self, tenant: str, *arguments: str) -> str:
        """Launch a backfill of the tenant's ConnectWise; return its id."""
        target = ("--tenant-id", tenant, "--service", "connectwise", *arguments)
        ended = self.backfill("trigger", *target, "--json")
        assert ended.returncode == 0, ended.stderr
        facts = json.loads(ended.stdout)
        assert facts["is_new"], "an earlier test asked for the same target"
        return str(facts["backfill_id"])

    def fault(self, **fault: Any) -> int:
        """Turn a fault on; return its id."""
        answer = self.sandbox.post("/_sandbox/faults", json=fault)
        return int(answer.raise_for_status().json()["id"])

    def hits(self, fault: int) -> int:
        """How often a fault has hit."""
        known = self.sandbox.get("/_sandbox/faults").raise_for_status().json()
        return next((int(each["hits"]) for each in known if each["id"] == fault), 0)

    def clear_fault(self, fault: int) -> None:
        """Turn a fault off."""
        self.sandbox.delete(f"/_sandbox/faults/{fault}").raise_for_status()

    def ended(self, backfill_id: str) -> PartitionBackfill:
        """Wait for the end of a backfill."""

        def found() -> PartitionBackfill | None:
            backfill = following.find(self.instance, backfill_id)
            return backfill if following.has_ended(backfill) else None

        return until(f"the end of backfill {backfill_id}", found)

    def runs(self, backfill_id: str, *statuses: DagsterRunStatus) -> Sequence[DagsterRun]:
        """The runs of a backfill in these states (any), oldest first."""
        return following.runs(self.instance, backfill_id, statuses or None)[::-1]

    def retry_of(self, run: DagsterRun) -> DagsterRun | None:
        """The run that Dagster started in place of a crashed one, when it has succeeded."""
        tags = {"dagster/parent_run_id": run.run_id}
        found = self.instance.get_runs(RunsFilter(tags=tags, statuses=[DagsterRunStatus.SUCCESS]))
        return found[0] if found else None

    def status(self, run: DagsterRun) -> DagsterRunStatus:
        """How a run stands."""
        found = self.instance.get_run_by_id(run.run_id)
        assert found is not None
        return found.status

    def failure(self, run: DagsterRun) -> str:
        """All that the run's events say of its failing."""
        kinds = {DagsterEventType.STEP_FAILURE, DagsterEventType.RUN_FAILURE}
        events = [e.dagster_event for e in self.instance.all_logs(run.run_id, of_type=kinds) if e.dagster_event]
        return "\n".join(f"{event.message} {event.event_specific_data}" for event in events)

    def pids(self, run: DagsterRun) -> list[int]:
        """The processes that said of themselves that they work for the run."""
        logged = self.instance.all_logs(run.run_id, of_type=DagsterEventType.ENGINE_EVENT)
        events = [entry.dagster_event for entry in logged if entry.dagster_event]
        return sorted({int(str(e.engine_event_data.metadata["pid"].value)) for e in events if _has_pid(e)})

    def materialised(self, *runs: DagsterRun) -> Counter[tuple[str, str]]:
        """How often the runs materialised which (table, partition)."""
        kind = DagsterEventType.ASSET_MATERIALIZATION
        logged = [entry for run in runs for entry in self.instance.all_logs(run.run_id, of_type=kind)]
        events = [entry.dagster_event for entry in logged if entry.dagster_event]
        return Counter((e.asset_key.path[-1], str(e.partition)) for e in events if e.asset_key)

    def sync_ticks(self) -> str:
        """What the ticks of ConnectWise's sync said, newest first."""
        [schedule] = (s for s in self.instance.all_instigator_state() if s.name == "connectwise_sync")
        ticks = self.instance.get_ticks(schedule.instigator_origin_id, schedule.selector_id)
        return "\n".join(tick.skip_reason or "" for tick in ticks)

    def compare(self, tenant: str, start: str, end: str) -> list[Compared]:
        """Compare the windows of all of a tenant's tables with the source."""
        settings = load_settings(self.environment)
        with open_wiring(settings) as wiring:
            service = wiring.tenant_service(tenant, "connectwise")
            windows = calendar_of(service.spec).windows(_utc(start), _utc(end))
            return [compare_table(wiring, self.sandbox, service, table, windows) for table in service.spec.tables]

    def _popen(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", *arguments]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, env=dict(self.environment), stdout=pipe, stderr=pipe, text=True, cwd=_ROOT)
        self._started.append(process)
        return process


_ROOT = Path(__file__).parents[2]


def finish(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """Wait for a program's end, and end it after too long."""
    with process:
        try:
            out, err = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def _has_pid(event: Any) -> bool:
    return "pid" in event.engine_event_data.metadata


def _utc(day: str) -> datetime:
    return datetime.fromisoformat(f"{day}T00:00:00+00:00")
