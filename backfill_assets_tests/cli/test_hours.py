"""What the commands say of backfill hours."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from backfill_assets.pausing import is_paused
from backfill_assets_tests.cli.conftest import Shell

ACME = ("trigger", "--tenant-id", "acme", "--service", "connectwise")
LATER = datetime.now(UTC) + timedelta(hours=5)
HOURS = {"start": LATER.hour, "end": (LATER + timedelta(hours=1)).hour}
OPENS = f"{LATER:%Y-%m-%d %H}:00"


@pytest.fixture
def closed(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """It is outside of acme's backfill hours, and the terminal is wide."""
    monkeypatch.setenv("COLUMNS", "250")
    tenants = shell.home / "tenants.yaml"
    said: dict[str, Any] = yaml.safe_load(tenants.read_text())
    said["tenants"]["acme"]["services"]["connectwise"]["backfill_hours"] = HOURS
    tenants.write_text(yaml.safe_dump(said))
    return shell


def test_what_is_triggered_outside_of_its_hours_waits_and_the_command_says_so(closed: Shell) -> None:
    result = closed.run(*ACME)
    (backfill,) = closed.backfills()
    assert result.exit_code == 0
    assert result.stdout == (
        f"launched backfill {backfill.backfill_id}, which is paused and goes on by itself at {OPENS} UTC\n"
    )
    assert f"acme is outside of its backfill hours: it waits until {OPENS} UTC" in result.stderr
    assert is_paused(backfill)
    again = closed.json(*ACME)
    assert (again["backfill_id"], again["is_new"]) == (backfill.backfill_id, False)
    assert again["paused_until"] == f"{LATER:%Y-%m-%dT%H}:00:00+00:00"


def test_a_dry_run_outside_of_its_hours_says_so_and_launches_nothing(closed: Shell) -> None:
    assert f"it waits until {OPENS} UTC" in closed.run(*ACME, "--dry-run").stderr
    assert closed.backfills() == []


def test_waiting_for_a_paused_backfill_ends_with_a_sentence(closed: Shell) -> None:
    result = closed.run(*ACME, "--wait")
    (backfill,) = closed.backfills()
    assert result.exit_code == 1
    assert f"backfill {backfill.backfill_id} is paused until {OPENS} UTC and goes on by itself" in result.stderr


def test_a_paused_backfill_can_be_cancelled_and_then_resumed_by_hand(closed: Shell) -> None:
    backfill_id = closed.json(*ACME)["backfill_id"]
    assert closed.json("cancel", backfill_id) == {"backfill_id": backfill_id, "runs_stopped": 0}
    (backfill,) = closed.backfills()
    assert not is_paused(backfill)
    assert closed.run("cancel", backfill_id).exit_code == 2
    assert closed.json("resume", backfill_id)["is_new"]


def test_services_shows_the_hours_and_when_what_waits_is_launched(closed: Shell) -> None:
    rows = {row["tenant"]: row for row in closed.json("services", "--no-check")}
    hours = f"{HOURS['start']:02}:00-{HOURS['end']:02}:00 UTC"
    assert (rows["acme"]["backfill_hours"], rows["globex"]["backfill_hours"]) == (hours, "")
    assert rows["acme"]["verdict"] == "waiting"
    assert f"it is launched at {OPENS} UTC" in rows["acme"]["reason"]
    assert "backfill hours" in closed.run("services", "--no-check").stdout
    closed.json(*ACME)
    [acme] = [row for row in closed.json("services", "--no-check") if row["tenant"] == "acme"]
    assert (acme["verdict"], acme["reason"]) == (
        "paused",
        f"its backfill is paused until {OPENS} UTC, and goes on by itself",
    )


def test_services_without_any_hours_has_no_column_for_them(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    assert "backfill hours" not in shell.run("services", "--no-check").stdout
