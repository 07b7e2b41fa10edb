"""Eight processes and one cap: what the server charges never passes it, whoever dies on the way."""

import json
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

from backfill_assets.adapters.state.database import StateDatabase
from backfill_assets.adapters.state.schema import initialise
from backfill_assets.sandbox.ai.server import AiServer
from backfill_assets_tests.adapters.ai import spending


@pytest.fixture
def state_url(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> str:
    is_sqlite = kind == "sqlite"
    url = f"sqlite:///{tmp_path / 'state.db'}" if is_sqlite else str(request.getfixturevalue("database_url"))
    initialise(url)
    return url


class Spending(subprocess.Popen[str]):
    """One of the processes; it ends with its context."""

    def __init__(self, *facts: str) -> None:
        super().__init__([sys.executable, "-m", spending.__name__, *facts], stdin=PIPE, stdout=PIPE, text=True)

    def go(self) -> None:
        assert self.stdin
        self.stdin.write("go\n")
        self.stdin.flush()

    def ready(self) -> None:
        assert self.stdout
        assert self.stdout.readline() == "ready\n"

    def outcome(self) -> dict[str, Any]:
        outcome: dict[str, Any] = json.loads(self.communicate()[0])
        return outcome

    def __exit__(self, *error: object) -> None:
        self.kill()
        super().__exit__(None, None, None)


@pytest.mark.parametrize(
    ("kind", "processes"), [("postgres", 8), ("sqlite", 3), pytest.param("sqlite", 8, marks=pytest.mark.proof)]
)
def test_processes_never_pass_the_cap_and_all_say_why_they_stopped(
    state_url: str, processes: int, server: AiServer
) -> None:
    cap = 0.2 * processes
    with ExitStack() as ends:
        facts = state_url, server.url, str(cap), "60", "openai"
        several = [ends.enter_context(Spending(*facts)) for _ in range(processes)]
        for process in several:
            process.ready()
        for process in several:
            process.go()
        while server.charges()["dollars"] < cap / 3:
            time.sleep(0.05)
        several[0].kill()  # with what it has reserved
        outcomes = [process.outcome() for process in several[1:]]
    charged = server.charges()
    with StateDatabase.open(state_url) as state:
        counted = state.budgets.spent()
    print(
        f"charged {charged['dollars']:.4f}, counted {counted.dollars:.4f} of {cap}, {charged['requests']['chat']} calls"
    )
    assert 0.8 * cap < charged["dollars"] <= counted.dollars <= cap
    assert [each["others"] for each in outcomes] == [[]] * (processes - 1)
    assert all("raise BACKFILL_AI_BUDGET_USD" in " ".join(each["told"]) for each in outcomes)
