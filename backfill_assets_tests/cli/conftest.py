"""The `backfill` command in this process, with an instance and a state database in SQLite and a sandbox over HTTP.

Here belongs what a command needs around it; which commands are run belongs to the tests. No daemon runs, so nothing
that is launched is ever done.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from click.testing import CliRunner, Result
from dagster import DagsterInstance
from dagster._core.execution.backfill import PartitionBackfill

from backfill_assets.adapters.state.schema import initialise
from backfill_assets.cli.main import main
from backfill_assets.sandbox.connectwise import account as connectwise
from backfill_assets.sandbox.server import SandboxConfig, SandboxServer

SECRETS = ("acme-private", "acme-public", "globex-private", "WRONG-SECRET")
UNREACHABLE = "http://127.0.0.1:1/connectwise/hooli"


@dataclass(kw_only=True)
class Shell:
    """Runs commands against the instance in `home`."""

    home: Path
    sandbox_url: str
    outputs: list[str] = field(default_factory=list)

    def run(self, *arguments: str) -> Result:
        """Run `backfill` with these arguments."""
        result = CliRunner(catch_exceptions=False).invoke(main, list(arguments))
        self.outputs.append(result.output)
        return result

    def json(self, *arguments: str) -> Any:
        """Run a command that succeeds, and return its facts."""
        result = self.run(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def truth(self, service: str, tenant: str, table: str, start: str, end: str) -> list[Any]:
        """Ids and versions that the sandbox holds."""
        url = f"{self.sandbox_url}/_sandbox/truth/{service}/{tenant}/{table}"
        lines = httpx.get(url, params={"from": start, "to": end}).raise_for_status().text.splitlines()
        return [json.loads(line) for line in lines]

    def backfills(self) -> list[PartitionBackfill]:
        """What has been launched so far."""
        with DagsterInstance.from_config(str(self.home)) as instance:
            return list(instance.get_backfills())


@pytest.fixture(scope="package")
def server() -> Iterator[SandboxServer]:
    """One sandbox for all tests."""
    with SandboxServer(SandboxConfig(until=datetime.now(UTC).replace(microsecond=0))) as running:
        yield running


@pytest.fixture(scope="package")
def made_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DAGSTER_HOME with an empty dagster.yaml, which means SQLite; made once, since making it takes seconds."""
    home = tmp_path_factory.mktemp("made")
    (home / "dagster.yaml").touch()
    initialise(f"sqlite:///{home}/backfill.sqlite3")
    with DagsterInstance.from_config(str(home)) as instance:
        instance.get_backfills()
        instance.get_runs()
    return home


@pytest.fixture
def shell(made_home: Path, server: SandboxServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Shell]:
    """The command line of an operator; no output of it may hold a secret or a traceback."""
    home = Path(shutil.copytree(made_home, tmp_path / "dagster"))
    tenants = {
        "acme": {"base_url": server.base_url("connectwise", "acme"), "lookback_days": 60},
        "globex": {"base_url": server.base_url("connectwise", "globex")},
        "initech": {"base_url": server.base_url("connectwise", "initech")},
        "hooli": {"base_url": UNREACHABLE},
        "umbrella": {"base_url": server.base_url("connectwise", "acme"), "enabled": False},
    }
    (home / "tenants.yaml").write_text(
        yaml.safe_dump({"tenants": {t: {"services": {"connectwise": s}} for t, s in tenants.items()}})
    )
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.setenv("BACKFILL_TENANTS_FILE", str(home / "tenants.yaml"))
    for tenant in ("acme", "globex", "hooli", "umbrella"):
        for name, value in connectwise.credentials(tenant).items():
            monkeypatch.setenv(f"BACKFILL_{tenant.upper()}_CONNECTWISE_{name.upper()}", value)
    monkeypatch.setenv("BACKFILL_GLOBEX_CONNECTWISE_PRIVATE_KEY", "WRONG-SECRET")
    shell = Shell(home=home, sandbox_url=server.url)
    yield shell
    told = "\n".join(shell.outputs)
    assert "Traceback" not in told
    assert not [secret for secret in SECRETS if secret in told]


@pytest.fixture
def fault(shell: Shell) -> Iterator[Callable[..., None]]:
    """Turns faults of the sandbox on; they are gone after the test."""
    with httpx.Client(base_url=shell.sandbox_url) as client:

        def turn_on(**fault: Any) -> None:
            client.post("/_sandbox/faults", json=fault).raise_for_status()

        yield turn_on
        client.delete("/_sandbox/faults").raise_for_status()
