"""`backfill reconcile trigger`: what it tells, how it ends, and what it refuses."""

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from backfill_assets.core.chunks import ChunkTarget
from backfill_assets.resources import Wiring, open_wiring
from backfill_assets.settings import load_settings
from backfill_assets.tenant_history.assets import table_backfill
from backfill_assets.tenant_history.backfill import TableBackfill, WindowDone
from backfill_assets.tenant_history.plan import calendar_of
from backfill_assets_tests.cli.conftest import Shell

TABLE = "service/tickets"
HERE = ("reconcile", "trigger", "--tenant-id", "acme", "--service", "connectwise", "--table-name", TABLE)


@pytest.fixture
def wiring(shell: Shell) -> Iterator[Wiring]:
    with open_wiring(load_settings()) as wiring:
        yield wiring


@pytest.fixture
def lake(wiring: Wiring) -> Path:
    """The folder of acme's tickets, of which six weeks have been filled in."""
    account = wiring.tenant_service("acme", "connectwise")
    table = account.spec.table(TABLE)
    assert table is not None
    now = wiring.clock()
    with closing(wiring.connect(account)) as source:
        backfill = table_backfill(wiring, "acme", "connectwise", table, source, job_id="job", run_id="run")
        assert isinstance(backfill, TableBackfill)
        windows = calendar_of(account.spec).windows(now - timedelta(weeks=6), now)
        assert all(isinstance(done, WindowDone) for done in backfill.fill(windows, ChunkTarget(days=28)))
        return Path(wiring.lake.place(backfill.raw, now.date())).parent


def facts(shell: Shell, *arguments: str, code: int) -> dict[str, Any]:
    result = shell.run(*HERE, *arguments, "--json")
    assert result.exit_code == code, result.output
    [found] = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


def test_a_history_that_is_all_there_ends_with_zero(shell: Shell, lake: Path) -> None:
    found = facts(shell, "--deep", code=0)
    assert found["is_equal"]
    assert found["source_records"] == found["lake_records"] > 0
    table = shell.run(*HERE)
    assert table.exit_code == 0
    assert TABLE in table.stdout
    assert "unread" in table.stdout, "without --deep the files are not read"


def test_a_lost_file_ends_with_one_and_a_sentence_until_it_is_repaired(shell: Shell, lake: Path) -> None:
    lost = sorted(lake.glob("*.parquet"))[3]
    lost.unlink()
    result = shell.run(*HERE)
    assert result.exit_code == 1
    assert "records are missing in the lake" in result.stderr
    assert "Run it again with --repair" in result.stderr
    deep = shell.run(*HERE, "--deep")
    assert str(lost) in deep.stderr
    found = facts(shell, "--deep", "--repair", code=0)
    assert (found["refilled"], found["missing"], found["changed"]) == (1, [], [])
    assert lost.exists()


def test_a_table_that_was_never_read_is_named(shell: Shell) -> None:
    result = shell.run(*HERE)
    assert result.exit_code == 1
    assert f"{TABLE}: no history of {TABLE} of connectwise for acme has been read yet" in result.stderr
    assert "--repair" not in result.stderr


def test_one_unread_table_does_not_hide_the_others(shell: Shell, lake: Path) -> None:
    result = shell.run("reconcile", "trigger", "--tenant-id", "acme", "--service", "connectwise", "--json")
    assert result.exit_code == 1
    found = {row["table"]: row["is_equal"] for row in json.loads(result.stdout)}
    assert found.pop(TABLE) is True
    assert set(found.values()) == {False}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--tenant-id", "nobody"], "there is no tenant 'nobody'"),
        (["--service", "jira"], "there is no service 'jira'"),
        (["--tenant-id", "umbrella"], "is switched off"),
        (["--tenant-id", "initech"], "cannot be read: set BACKFILL_INITECH_CONNECTWISE"),
        (["--table-name", "service/nothing"], "connectwise has no table 'service/nothing'; it has"),
        (["--start-date", "yesterday"], "--start-date 'yesterday' is no ISO 8601 date"),
        (["--end-date", "2024-13-01"], "--end-date '2024-13-01' is no ISO 8601 date"),
        (["--start-date", "2999-01-01"], "lies in the future"),
        (["--start-date", "2024-02-01", "--end-date", "2024-01-01"], "is not after --start-date"),
        (["--start-date", "2024-02-01", "--end-date", "2024-02-01"], "is not after --start-date"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_sentence(shell: Shell, arguments: list[str], told: str) -> None:
    result = shell.run(*HERE, *arguments)
    assert result.exit_code == 2, result.output
    assert told in result.stderr


def test_what_sync_has_yet_to_read_cannot_be_asked_for(shell: Shell, wiring: Wiring, lake: Path) -> None:
    result = shell.run(*HERE, "--start-date", (wiring.clock() - timedelta(minutes=1)).isoformat())
    assert result.exit_code == 2
    assert "left to incremental sync" in result.stderr


@pytest.mark.parametrize("missing", ["--tenant-id", "--service"])
def test_whose_history_it_is_has_to_be_said(shell: Shell, missing: str) -> None:
    place = HERE.index(missing)
    result = shell.run(*HERE[:place], *HERE[place + 2 :])
    assert result.exit_code == 2
    assert missing in result.stderr


def test_a_refused_credential_is_a_sentence(shell: Shell, lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKFILL_ACME_CONNECTWISE_PRIVATE_KEY", "WRONG-SECRET")
    result = shell.run(*HERE)
    assert result.exit_code == 1
    assert "BACKFILL_ACME_CONNECTWISE_PRIVATE_KEY" in result.stderr
