"""A service that a package of somebody else's adds: found, read, filled in; and what a broken package leads to."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner
from dagster import DagsterInstance

from backfill_assets.adapters.rest.registry import RESERVED, connectors
from backfill_assets.adapters.state.schema import initialise
from backfill_assets.cli.main import main
from backfill_assets.settings import load_settings
from backfill_assets.tenant_history.definitions import build
from backfill_assets_tests.extending import helpdesk as module
from backfill_assets_tests.extending.serving import TOKEN, Helpdesk, serving

ROOT = Path(__file__).parents[2]
SUNDAY = datetime(2024, 1, 7, tzinfo=UTC)
WEEK = timedelta(days=7)


def install(site: Path, source: str, *, name: str = "helpdesk", target: str = "CONNECTOR") -> None:
    """Lay a package out as pip does: its module, and the folder that says what it is."""
    about = site / f"{name}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[backfill_assets.connectors]\n{name} = {name}:{target}\n")
    (site / f"{name}.py").write_text(source)


def source_of_helpdesk() -> str:
    return Path(module.__file__).read_text()


@dataclass(frozen=True, kw_only=True)
class Shell:
    """Programs of an installation to which the package was added."""

    home: Path
    variables: Mapping[str, str]

    def run(self, *arguments: str) -> str:
        """Run a module; return what it prints."""
        command = [sys.executable, "-m", *arguments]
        ran = subprocess.run(command, env=dict(self.variables), cwd=self.home, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout


@pytest.fixture(scope="module")
def helpdesk() -> Iterator[Helpdesk]:
    requests = [
        {"id": n, "updated_at": (SUNDAY + n * timedelta(hours=8)).isoformat(), "subject": f"no. {n}", "minutes": n / 4}
        for n in range(1, 60)
    ]
    with serving(Helpdesk(tables={"requests": requests, "requests/replies": []})) as running:
        yield running


@pytest.fixture(scope="module")
def shell(helpdesk: Helpdesk, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    home = tmp_path_factory.mktemp("home")
    install(home / "site", source_of_helpdesk())
    (home / "dagster.yaml").touch()
    tenants = {"acme": {"services": {"helpdesk": {"base_url": helpdesk.url}}}}
    (home / "tenants.yaml").write_text(yaml.safe_dump({"tenants": tenants}))
    initialise(f"sqlite:///{home}/backfill.sqlite3")
    with DagsterInstance.from_config(str(home)) as instance:
        instance.add_dynamic_partitions("helpdesk_tenants", ["acme"])
    variables = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": f"{ROOT}:{home / 'site'}",
        "DAGSTER_HOME": str(home),
        "BACKFILL_TENANTS_FILE": str(home / "tenants.yaml"),
        "BACKFILL_ACME_HELPDESK_API_TOKEN": TOKEN,
    }
    return Shell(home=home, variables=variables)


def test_the_command_line_lists_the_service_and_reaches_it(shell: Shell, helpdesk: Helpdesk) -> None:
    [row] = json.loads(shell.run("backfill_assets", "services", "--json"))
    assert (row["tenant"], row["service"], row["verdict"]) == ("acme", "helpdesk", "backfill")
    assert row["connection"] == f"Helpdesk at {helpdesk.url.removeprefix('http://')} as Robin"


def test_dagsters_own_command_materialises_a_week_into_the_lake(shell: Shell, helpdesk: Helpdesk) -> None:
    select = ("--select", "helpdesk/requests", "-m", "backfill_assets.definitions")
    shell.run("dagster", "asset", "materialize", "--partition", f"acme|{SUNDAY:%Y-%m-%d}", *select)
    files = sorted((shell.home / "lake" / "acme" / "raw" / "helpdesk" / "requests").glob("*.parquet"))
    rows = [row for file in files for row in pq.read_table(file).to_pylist()]
    expected = [r for r in helpdesk.tables["requests"] if datetime.fromisoformat(r["updated_at"]) < SUNDAY + WEEK]
    assert len(files) == 7
    assert [(row["id"], row["subject"], row["minutes"]) for row in rows] == [
        (r["id"], r["subject"], r["minutes"]) for r in expected
    ]


RAISES = "raise ImportError('no module named of_the_vendor\\nmore about that')"
NO_CONNECTOR = "CONNECTOR = 'helpdesk'"
KNOWN = source_of_helpdesk().replace('name="helpdesk"', 'name="connectwise"')
UNFIT = source_of_helpdesk().replace('name="helpdesk"', 'name="Help desk"')
TAKEN = source_of_helpdesk().replace('name="helpdesk"', 'name="canonical"')


@pytest.mark.parametrize(
    ("name", "source", "told"),
    [
        ("raises", RAISES, r"cannot be loaded \(ImportError: no module named of_the_vendor\)"),
        ("malformed", "def (", r"cannot be loaded \(SyntaxError: invalid syntax \(malformed\.py, line 1\)\)"),
        ("empty", "", r"cannot be loaded \(AttributeError: .*CONNECTOR'\)"),
        ("text", NO_CONNECTOR, r"is no Connector but str"),
        ("known", KNOWN, r"is a second connector for connectwise; uninstall one of them"),
        ("unfit", UNFIT, r"calls its service 'Help desk'; a name has lower-case letters, digits and _, begins .*"),
        ("taken", TAKEN, r"calls its service 'canonical'; .* is none of canonical, process_metadata, .*"),
    ],
)
def test_a_package_that_is_no_use_stops_every_command_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, source: str, told: str
) -> None:
    install(tmp_path, source, name=name)
    monkeypatch.syspath_prepend(tmp_path)
    result = CliRunner().invoke(main, ["services"])
    sys.modules.pop(name, None)
    assert result.exit_code == 1
    entry = rf"Error: The entry point {name} = {name}:CONNECTOR \(backfill_assets\.connectors\) of {name} "
    assert re.fullmatch(f"{entry}{told}\n", result.output), result.output


def test_the_settings_know_the_service_and_its_tables_are_assets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = set(connectors())
    install(tmp_path, source_of_helpdesk())
    monkeypatch.syspath_prepend(tmp_path)
    settings = load_settings({})
    assert set(settings.services) - before == {"helpdesk"}
    keys = {key.to_user_string() for asset in build(settings).assets or () for key in asset.keys}  # type: ignore[union-attr]
    assert {key for key in keys if key.startswith("helpdesk")} == {"helpdesk/requests", "helpdesk/requests_replies"}
    shutil.rmtree(tmp_path / "helpdesk-1.0.dist-info")
    sys.modules.pop("helpdesk", None)
    assert set(connectors()) == before
    assert not RESERVED & before


def test_the_guide_quotes_the_code_that_is_tested_here() -> None:
    guide = (ROOT / "docs" / "new_service.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```$", guide, flags=re.DOTALL | re.MULTILINE)
    assert blocks == [source_of_helpdesk()]
