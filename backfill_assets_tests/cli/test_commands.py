"""What the commands do and print when all is well; how a launched backfill runs belongs to the end-to-end tests."""

import json
import re
import subprocess
import sys

import pytest
from click.testing import CliRunner
from dagster import DagsterInstance

from backfill_assets.adapters.state.database import StateDatabase
from backfill_assets.cli.main import main
from backfill_assets.core.pacing import Pace
from backfill_assets.launching import KEY_TAG
from backfill_assets_tests.cli.conftest import Shell

SPAN = ("--start-date", "2024-01-07", "--end-date", "2024-03-03")
ACME = ("trigger", "--tenant-id", "acme", "--service", "connectwise")


def test_a_dry_run_prints_the_plan_and_launches_nothing(shell: Shell) -> None:
    result = shell.run(*ACME, *SPAN, "--dry-run")
    assert result.exit_code == 0
    assert result.stdout == "nothing was launched (--dry-run)\n"
    assert result.stderr == (
        "4 tables x 8 weekly windows (2024-01-07 to 2024-03-03) = 32 partitions, in 1 run, chunks of 28 days\n"
    )
    assert shell.backfills() == []


def test_a_dry_run_as_json_has_the_plan_in_numbers(shell: Shell) -> None:
    assert shell.json(*ACME, *SPAN, "--table-name", "company_contacts", "--chunk-size-days", "7", "--dry-run") == {
        "tables": ["company/contacts"],
        "start": "2024-01-07T00:00:00+00:00",
        "end": "2024-03-03T00:00:00+00:00",
        "partitions": 8,
        "runs": 1,
        "chunk_days": 7,
    }


def test_a_trigger_launches_a_backfill_that_says_who_asked_and_why(shell: Shell) -> None:
    told = shell.json(*ACME, *SPAN)
    (backfill,) = shell.backfills()
    assert (told["backfill_id"], told["is_new"]) == (backfill.backfill_id, True)
    assert backfill.title == "acme connectwise: 2024-01-07 to 2024-03-03"
    assert backfill.description == "asked for by backfill trigger"
    assert backfill.tags["backfill/requested_by"].endswith("(backfill trigger)")
    assert backfill.asset_backfill_data is not None
    assert backfill.asset_backfill_data.target_subset.num_partitions_and_non_partitioned_assets == 32


def test_the_same_target_asked_for_twice_while_active_starts_once(shell: Shell) -> None:
    first, second = shell.json(*ACME, *SPAN), shell.json(*ACME, *SPAN)
    assert (first["is_new"], second["is_new"]) == (True, False)
    assert first["backfill_id"] == second["backfill_id"]
    assert "nothing was launched" in shell.run(*ACME, *SPAN).stdout
    assert len(shell.backfills()) == 1


def test_a_time_zone_in_a_date_counts(shell: Shell) -> None:
    # Midnight of Sunday in Berlin is still Saturday in UTC: another window.
    told = shell.json(*ACME, "--start-date", "2024-01-07T00:00:00+01:00", "--end-date", "2024-01-08", "--dry-run")
    assert told["start"] == "2023-12-31T00:00:00+00:00"


def test_auto_detect_launches_what_can_be_read_and_names_what_cannot(shell: Shell) -> None:
    result = shell.run("trigger", "--auto-detect", "--json")
    facts = json.loads(result.stdout)
    (launched,) = shell.backfills()
    assert result.exit_code == 1
    assert facts["launched"] == [launched.backfill_id]
    assert launched.tags["backfill/tenant"] == "acme"
    assert [problem.split(":")[0] for problem in facts["problems"]] == ["globex connectwise", "hooli connectwise"]
    assert result.stderr.startswith("Error: globex connectwise: ")
    assert result.stderr.count("\n") == 1


def test_auto_detect_tells_launched_from_already_under_way(shell: Shell) -> None:
    """Somebody else may launch the same between the decision and the launch."""
    first = shell.json(*ACME)["backfill_id"]
    # Without its scope it is not known as a backfill of acme's history, but it has the target that is asked for.
    with DagsterInstance.from_config(str(shell.home)) as instance:
        backfill = instance.get_backfill(first)
        assert backfill is not None
        instance.run_storage.wipe()
        instance.add_backfill(backfill._replace(backfill_id="otherone", tags={KEY_TAG: backfill.tags[KEY_TAG]}))
    facts = json.loads(shell.run("trigger", "--auto-detect", "--json").stdout)
    assert (facts["launched"], facts["already_under_way"]) == ([], ["otherone"])
    told = shell.run("trigger", "--auto-detect").stdout
    assert told == "nothing was launched; already under way: otherone\n"


def test_a_dry_run_of_auto_detect_launches_nothing(shell: Shell) -> None:
    told = shell.json("trigger", "--auto-detect", "--dry-run")["would_launch"]
    assert "would launch acme connectwise: newly connected: the lake holds nothing of it" in told
    assert shell.backfills() == []


def test_services_tells_each_verdict_with_its_reason_and_connection(shell: Shell) -> None:
    rows = {row["tenant"]: row for row in shell.json("services")}
    assert rows["acme"]["verdict"] == "backfill"
    assert rows["acme"]["connection"].startswith("ConnectWise v2024.1 at 127.0.0.1")
    assert rows["globex"]["connection"].startswith("fails: connectwise of tenant globex")
    assert "cannot be reached" in rows["hooli"]["connection"]
    assert (rows["initech"]["verdict"], rows["initech"]["connection"]) == ("not configured", "not tried")
    assert (rows["umbrella"]["verdict"], rows["umbrella"]["connection"]) == ("off", "not tried")


@pytest.mark.parametrize(
    ("options", "works"), [((), "ConnectWise v2024.1 at 127.0.0.1"), (("--no-check",), "not tried")]
)
def test_services_tells_why_runs_do_not_use_a_connection(shell: Shell, options: tuple[str, ...], works: str) -> None:
    with StateDatabase.open(f"sqlite:///{shell.home}/backfill.sqlite3") as state:
        pacer = state.pacer("connectwise", "acme", Pace(requests_per_minute=60, breaker_failures=2))
        pacer.failed("it answered 502")
        pacer.failed("it answered 503")
    rows = {row["tenant"]: row["connection"] for row in shell.json("services", *options)}
    assert rows["acme"].startswith(works)
    assert re.search(
        r"; not used by runs since 20.* UTC: failed 2 times in a row, last: it answered 503$", rows["acme"]
    )
    assert "not used" not in rows["globex"]


def test_services_as_a_table_names_every_tenant(shell: Shell) -> None:
    result = shell.run("services", "--no-check")
    assert result.exit_code == 0
    assert [name for name in ("acme", "globex", "initech", "hooli", "umbrella") if name not in result.stdout] == []


def test_services_as_a_table_folds_what_is_too_long_and_cuts_nothing(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    result = shell.run("services", "--no-check")
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in result.stdout
    reasons = "".join(line.split("│")[4].strip() for line in lines if line.count("│") == 6)
    names = [
        f"BACKFILL_INITECH_CONNECTWISE_{name}" for name in ("COMPANY_ID", "PUBLIC_KEY", "PRIVATE_KEY", "CLIENT_ID")
    ]
    assert [name for name in names if name not in reasons] == []


def test_quiet_leaves_only_the_facts(shell: Shell) -> None:
    result = shell.run(*ACME, *SPAN, "--dry-run", "-q")
    assert (result.stdout, result.stderr) == ("nothing was launched (--dry-run)\n", "")


def test_a_backfill_that_has_not_ended_cannot_be_resumed(shell: Shell) -> None:
    backfill_id = shell.json(*ACME, *SPAN)["backfill_id"]
    result = shell.run("resume", backfill_id)
    assert result.exit_code == 2
    assert result.stderr == (
        f"Error: backfill {backfill_id} has not ended (REQUESTED); wait for it or run `backfill cancel {backfill_id}` "
        "first\n"
    )


def test_a_backfill_that_was_never_started_is_cancelled_at_once(shell: Shell) -> None:
    backfill_id = shell.json(*ACME, *SPAN)["backfill_id"]
    assert shell.json("cancel", backfill_id) == {"backfill_id": backfill_id, "runs_stopped": 0}
    assert shell.backfills()[0].status.value == "CANCELING"


def test_debug_shows_the_traceback(shell: Shell) -> None:
    with pytest.raises(Exception, match="there is no backfill"):
        shell.run("cancel", "nosuch", "--debug")


@pytest.mark.parametrize("command", [(), *((name,) for name in main.commands)])
def test_every_command_has_help(command: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, [*command, "--help"])
    assert result.exit_code == 0
    assert result.output.startswith("Usage: ")


def test_help_is_fast_since_it_loads_none_of_the_large_libraries() -> None:
    program = """
import sys
from backfill_assets.cli.main import main
for command in ([], *([name] for name in main.commands)):
    main([*command, "--help"], standalone_mode=False)
print([name for name in ("dagster", "sqlalchemy", "pyarrow", "pydantic", "httpx") if name in sys.modules])
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "[]"


def test_the_program_ends_with_the_commands_code_and_without_a_traceback(shell: Shell) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "backfill_assets", "cancel", "nosuch"], capture_output=True, text=True
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        "Error: there is no backfill 'nosuch' in this Dagster instance; the Backfills page of the UI lists the ids\n"
    )
