"""What ends a command and what it lets be heard, whatever the command is."""

import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import httpx
import pytest
from click.testing import CliRunner, Result

from backfill_assets.cli.command import OUR_LOGGERS, BackfillCommand
from backfill_assets.cli.main import main
from backfill_assets.errors import ConfigurationError, UsageError
from backfill_assets.sandbox.connectwise import account as connectwise


@pytest.fixture(autouse=True)
def levels() -> Iterator[None]:
    """The levels of the loggers, given back after each test."""
    before = {name: logging.getLogger(name).level for name in OUR_LOGGERS}
    yield
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


def run(body: Callable[[], None], *arguments: str) -> Result:
    """Run a command with this body, and let through what would be a traceback."""
    command = BackfillCommand("try", callback=body)
    return CliRunner(catch_exceptions=False).invoke(command, list(arguments))


def raising(error: BaseException) -> Callable[[], None]:
    def body() -> None:
        raise error

    return body


AGAIN = "; run it again with --debug to see where\n"


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (ConfigurationError("no."), 1, "Error: no.\n"),
        (UsageError("no."), 2, "Error: no.\n"),
        (
            OverflowError("date value out of range"),
            1,
            f"Error: unexpected OverflowError: date value out of range{AGAIN}",
        ),
        (ValueError("first\nsecond"), 1, f"Error: unexpected ValueError: first{AGAIN}"),
        (ValueError("\n"), 1, f"Error: unexpected ValueError{AGAIN}"),
        (RuntimeError("x" * 999), 1, f"Error: unexpected RuntimeError: {'x' * 300}{AGAIN}"),
        (RecursionError(), 1, f"Error: unexpected RecursionError{AGAIN}"),
        (
            click.UsageError("click's own"),
            2,
            "Usage: try [OPTIONS]\nTry 'try --help' for help.\n\nError: click's own\n",
        ),
        (click.exceptions.Exit(7), 7, ""),
        (click.Abort(), 1, "Aborted!\n"),
        (KeyboardInterrupt(), 1, "\nAborted!\n"),
    ],
)
def test_every_error_ends_in_a_sentence_and_a_code(error: BaseException, code: int, told: str) -> None:
    result = run(raising(error))
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.removeprefix("\n") == told.removeprefix("\n")


@pytest.mark.parametrize("error", [ConfigurationError("no."), OverflowError("date value out of range")])
def test_debug_shows_where_an_error_came_from(error: Exception) -> None:
    with pytest.raises(type(error)):
        run(raising(error), "--debug")


@pytest.mark.parametrize(("arguments", "told"), [(["-v"], ["ours", "loud"]), ([], ["loud"])])
def test_verbose_lets_our_own_be_heard_and_no_library(
    arguments: list[str], told: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    def body() -> None:
        logging.getLogger("backfill_assets.core").info("ours")
        logging.getLogger("alembic.runtime.migration").info("Context impl SQLiteImpl.")
        logging.getLogger("backfill_assets.core").warning("loud")

    assert run(body, *arguments).exit_code == 0
    assert caplog.messages == told


def backfill(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the program as an operator does."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("BACKFILL_", "DAGSTER_"))}  # noqa: TID251 - what a shell hands on
    return subprocess.run(
        [sys.executable, "-m", "backfill_assets", *arguments],
        capture_output=True,
        text=True,
        env=inherited | environ,
        timeout=60,
    )


def test_a_verbose_init_prints_what_was_applied_and_nothing_else(tmp_path: Path) -> None:
    ended = backfill("init", "-v", BACKFILL_DATABASE_URL=f"sqlite:///{tmp_path}/state.db")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("applied 0001, 0002")


@pytest.mark.parametrize("content", ["storage: [", "a: b: c", "[" * 3000, "a: \x00"])
def test_a_dagster_yaml_that_is_no_yaml_is_told_with_its_name(tmp_path: Path, content: str) -> None:
    (tmp_path / "dagster.yaml").write_text(content)
    ended = backfill("services", "--no-check", DAGSTER_HOME=str(tmp_path))
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (1, "", 1), ended.stderr
    assert ended.stderr.startswith(f"Error: {tmp_path}/dagster.yaml")
    assert "cannot be read as YAML" in ended.stderr


@pytest.mark.parametrize("command", ["sandbox", "demo"])
@pytest.mark.parametrize("port", ["0", "99999", "-1", "http"])
def test_a_port_that_is_none_is_wrong_usage(command: str, port: str) -> None:
    result = CliRunner(catch_exceptions=False).invoke(main, [command, "--port", port])
    assert result.exit_code == 2
    assert "Invalid value for '--port'" in result.stderr


def test_a_sandbox_on_a_port_in_use_says_so_and_nothing_else() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = backfill("sandbox", "--port", str(port))
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (1, "", 1), ended.stderr
    assert ended.stderr.startswith(f"Error: The sandbox cannot use port {port} of 127.0.0.1: ")
    assert "--port" in ended.stderr


def system_info(port: int) -> int:
    """The status with which one request is answered."""
    keys = connectwise.credentials("acme")
    return httpx.get(
        f"http://127.0.0.1:{port}/connectwise/acme/v2024_1/apis/3.0/system/info",
        auth=(f"{keys['company_id']}+{keys['public_key']}", keys["private_key"]),
        headers={"clientId": keys["client_id"]},
        timeout=30,
    ).status_code


def test_a_sandbox_says_where_it_serves_once_it_does_and_limits_when_asked() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "backfill_assets", "sandbox", "--port", str(port), "--requests-per-minute", "2"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as program:
        try:
            assert program.stderr is not None
            assert program.stderr.readline() == f"serving http://127.0.0.1:{port}, Ctrl-C ends it\n"
            statuses = [system_info(port) for _ in range(3)]
            program.send_signal(signal.SIGINT)
            _, complaints = program.communicate(timeout=20)
        finally:
            program.kill()
    assert (statuses, program.returncode, complaints) == ([200, 200, 429], 0, "")
