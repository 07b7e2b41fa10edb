"""What cannot be done is refused with one sentence, and nothing is launched."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backfill_assets_tests.cli.conftest import Shell

ACME = ("trigger", "--tenant-id", "acme", "--service", "connectwise")
TOMORROW = (datetime.now(UTC) + timedelta(days=1)).date().isoformat()


def trigger(tenant: str, *more: str) -> tuple[str, ...]:
    return ("trigger", "--tenant-id", tenant, "--service", "connectwise", *more)


def refused(shell: Shell, arguments: tuple[str, ...], code: int, told: str) -> None:
    """Run a command that must end with this exit code and one sentence that holds `told`."""
    result = shell.run(*arguments)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1, result.stderr
    assert result.stderr.splitlines()[-1] == errors[0]
    assert told in errors[0]
    assert shell.backfills() == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("trigger",), "--tenant-id and --service, or --auto-detect"),
        (("trigger", "--service", "connectwise"), "--tenant-id and --service, or --auto-detect"),
        (("trigger", "--tenant-id", "acme"), "--tenant-id and --service, or --auto-detect"),
        (("trigger", "--auto-detect", "--tenant-id", "acme"), "leave out --tenant-id"),
        (("trigger", "--auto-detect", "--chunk-size-days", "3"), "leave out --chunk-size-days"),
        (trigger("nobody"), "there is no tenant 'nobody' in the tenants file; it has acme, globex, hooli, initech"),
        (("trigger", "--tenant-id", "acme", "--service", "jira"), "there is no service 'jira'; known are connectwise"),
        ((*ACME, "--table-name", "sales/orders"), "connectwise has no table 'sales/orders'; it has service/tickets"),
        ((*ACME, "--start-date", "yesterday"), "--start-date 'yesterday' is no ISO 8601 date; write 2024-01-31"),
        ((*ACME, "--start-date", ""), "--start-date '' is no ISO 8601 date; write 2024-01-31"),
        ((*ACME, "--end-date", ""), "--end-date '' is no ISO 8601 date; write 2024-01-31"),
        ((*ACME, "--end-date", "2024-13-01"), "--end-date '2024-13-01' is no ISO 8601 date"),
        ((*ACME, "--start-date", "2024-02-01", "--end-date", "2024-01-01"), "--end-date 2024-01-01T00:00:00+00:00 is"),
        ((*ACME, "--start-date", "2024-02-01", "--end-date", "2024-02-01"), "is not after the start 2024-02-01"),
        ((*ACME, "--start-date", TOMORROW), "lies in the future; history ends now"),
        ((*ACME, "--start-date", "2019-01-01"), "lies before 2023-01-01, where the history of connectwise begins"),
        ((*ACME, "--chunk-size-days", "0"), "'--chunk-size-days': 0 is not in the range x>=1"),
        (trigger("umbrella"), "connectwise of tenant 'umbrella' is switched off; switch it on in the tenants file"),
        (trigger("initech"), "set BACKFILL_INITECH_CONNECTWISE_COMPANY_ID, BACKFILL_INITECH_CONNECTWISE_PUBLIC_KEY"),
        (("cancel", "nosuch"), "there is no backfill 'nosuch' in this Dagster instance"),
        (("resume", "nosuch"), "there is no backfill 'nosuch' in this Dagster instance"),
        (("cancel",), "Missing argument 'ID'"),
        (("trigger", "--tenant", "acme"), "No such option '--tenant'"),
        (("launch",), "No such command 'launch'"),
    ],
)
def test_wrong_usage_ends_with_a_sentence_and_code_2(shell: Shell, arguments: tuple[str, ...], told: str) -> None:
    refused(shell, arguments, 2, told)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (trigger("globex"), "Check BACKFILL_GLOBEX_CONNECTWISE_COMPANY_ID, BACKFILL_GLOBEX_CONNECTWISE_PUBLIC_KEY"),
        (
            trigger("hooli"),
            "connectwise of tenant hooli at 127.0.0.1:1, GET login/companyinfo/hooli, cannot be",
        ),
    ],
)
def test_a_service_that_cannot_be_read_is_told_before_anything_is_launched(
    shell: Shell, arguments: tuple[str, ...], told: str
) -> None:
    refused(shell, arguments, 1, told)


def test_a_dry_run_of_a_wrong_target_is_refused_too(shell: Shell) -> None:
    refused(shell, (*ACME, "--dry-run", "--start-date", TOMORROW), 2, "lies in the future")


def test_without_a_dagster_home_nothing_can_be_launched(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME")
    result = shell.run(*ACME)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "DAGSTER_HOME must be a folder that holds dagster.yaml" in result.stderr


def test_a_dagster_home_without_dagster_yaml_is_refused(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(empty))
    result = shell.run("services")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "DAGSTER_HOME must be a folder that holds dagster.yaml" in result.stderr
    assert list(empty.iterdir()) == []


def test_a_dagster_storage_that_is_away_is_told(shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    storage = {"env": "BACKFILL_DAGSTER_DATABASE_URL"}
    (tmp_path / "dagster.yaml").write_text(f"storage: {{postgres: {{postgres_url: {storage}}}}}")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    for url in ("", "postgresql://user:WRONG-SECRET@127.0.0.1:1/dagster"):
        monkeypatch.setenv("BACKFILL_DAGSTER_DATABASE_URL", url)
        result = shell.run("services")
        assert (result.exit_code, result.stderr.count("\n")) == (1, 1), result.output
        assert "check its dagster.yaml and that BACKFILL_DAGSTER_DATABASE_URL is set" in result.stderr


def test_a_state_database_that_was_never_made_is_told_with_the_command_that_makes_it(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BACKFILL_DATABASE_URL", f"sqlite:///{tmp_path}/new.sqlite3")
    refused(shell, ACME, 1, "`backfill init`")
    first, second = shell.json("init"), shell.json("init")
    assert first["applied"]
    assert second["applied"] == []
    assert shell.run("init").stdout == "the state database is up to date\n"
    assert shell.json(*ACME)["is_new"]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://user:WRONG-SECRET@127.0.0.1:1/backfill", "127.0.0.1"),
        ("postgresql://user:WRONG-SECRET@127.0.0.1:port/backfill", "BACKFILL_DATABASE_URL is not a SQLAlchemy URL"),
        ("mysql://user:WRONG-SECRET@127.0.0.1/backfill", "BACKFILL_DATABASE_URL cannot be a mysql database"),
    ],
)
@pytest.mark.parametrize("arguments", [ACME, ("services",), ("init",)])
def test_a_state_database_out_of_reach_is_told(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], url: str, told: str
) -> None:
    monkeypatch.setenv("BACKFILL_DATABASE_URL", url)
    result = shell.run(*arguments)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1), result.output
    assert told in result.stderr


def test_a_tenants_file_that_is_wrong_is_told(shell: Shell) -> None:
    (shell.home / "tenants.yaml").write_text("tenants: {acme: {services: {connectwize: {}}}}")
    refused(shell, ACME, 1, "connectwize")


def test_a_refused_credential_at_the_first_request_launches_nothing(shell: Shell, fault: Callable[..., None]) -> None:
    fault(kind="status", status=403, tenant="acme")
    refused(shell, ACME, 1, "answered 403")
