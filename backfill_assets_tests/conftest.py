"""The PostgreSQL that tests share, and a database of it for each test that asks.

Here belongs what tests of several folders need; what one folder needs belongs to its own conftest.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from backfill_assets.sandbox.postgres import EmbeddedPostgres


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A running server, one for each pytest-xdist worker."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"), durable=False)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def database_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The URL of an empty database, dropped after the test."""
    name = f"test_{uuid4().hex}"
    postgres.create_database(name)
    yield postgres.url(name)
    postgres.drop_database(name)


def _is_without_browser() -> bool:
    """Whether there is no Chromium, and nothing says that there must be one."""
    required = os.environ.get("BACKFILL_REQUIRE_SERVICES") == "1"  # noqa: TID251 - says what the machine must have
    return not required and not Path("/usr/bin/chromium").exists()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the tests out that need a browser where there is none; the summary says so."""
    left_out = [item for item in items if _is_without_browser() and item.get_closest_marker("browser")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what this machine could not test."""
    if _is_without_browser():
        terminalreporter.write_line("NOT TESTED: browser (no Chromium)")
