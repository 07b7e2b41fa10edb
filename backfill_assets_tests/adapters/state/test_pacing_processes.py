"""Eight processes at one limit, with the real client against a sandbox that has the same limit, over real HTTP."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from subprocess import PIPE

import pytest

from backfill_assets.adapters.state.schema import initialise
from backfill_assets.core.pacing import Pace
from backfill_assets.sandbox.connectwise.account import credentials
from backfill_assets.sandbox.server import SandboxConfig, SandboxServer
from backfill_assets.sandbox.traffic import Allowance
from backfill_assets_tests.adapters.state import asking

PROCESSES = 8

Answers = Sequence[tuple[float, int]]


def sandbox(pace: Pace) -> SandboxServer:
    return SandboxServer(
        SandboxConfig(
            since=asking.START,
            until=datetime(2024, 2, 1, tzinfo=UTC),
            allowances={
                "connectwise": Allowance(
                    requests=int(pace.requests_per_minute * pace.interval_seconds / 60), seconds=pace.interval_seconds
                )
            },
        )
    )


def ask_at_once(state_url: str, base_url: str, pace: Pace, *, seconds: float) -> tuple[float, Answers]:
    """When the processes began, and what they were answered."""
    facts = json.dumps(credentials("acme")), json.dumps(asdict(pace)), str(seconds)
    command = [sys.executable, "-m", asking.__name__, state_url, base_url, *facts]
    with ExitStack() as ends:
        several = [ends.enter_context(_Asking(command, stdin=PIPE, stdout=PIPE, text=True)) for _ in range(PROCESSES)]
        for process in several:
            assert process.said() == "ready\n"
        began = time.time()
        for process in several:
            process.go()
        return began, sorted(answer for process in several for answer in process.answers())


class _Asking(subprocess.Popen[str]):
    """One of the processes; it ends with its context."""

    def said(self) -> str:
        assert self.stdout
        return self.stdout.readline()

    def go(self) -> None:
        assert self.stdin
        self.stdin.write("go\n")
        self.stdin.flush()

    def answers(self) -> Answers:
        return [(at, status) for at, status in json.loads(self.communicate()[0])]

    def __exit__(self, *error: object) -> None:
        self.kill()
        super().__exit__(None, None, None)


@pytest.mark.parametrize(
    ("window", "per_minute"),
    [
        (10, 600),
        pytest.param(60, 200, marks=[pytest.mark.proof, pytest.mark.timeout(400)]),
        pytest.param(60, 12, marks=[pytest.mark.proof, pytest.mark.timeout(400)]),
    ],
)
def test_eight_processes_use_the_allowance_of_a_service_and_never_exceed_it(
    database_url: str, window: float, per_minute: int
) -> None:
    initialise(database_url)
    pace = Pace(requests_per_minute=per_minute, interval_seconds=window)
    with sandbox(pace) as server:
        began, answers = ask_at_once(
            database_url, server.base_url("connectwise", "acme"), pace, seconds=window * 3 + 0.5
        )
    later = [status for at, status in answers if began + window <= at < began + 3 * window]
    used = later.count(200) / (2 * per_minute * window / 60)
    print(f"{len(answers)} answers, {used:.1%} of the allowance used, 429s: {[s for _, s in answers].count(429)}")
    assert [status for _, status in answers if status != 200] == []
    assert used >= (0.95 if per_minute * window >= 1200 else 0.9)  # of few, one more or less is much
