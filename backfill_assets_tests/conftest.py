"""The PostgreSQL, the MariaDB and the AWS that tests share, and a database for each test that asks.

Here belongs what tests of several folders need; what one folder needs belongs to its own conftest.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from backfill_assets.sandbox.postgres import EmbeddedPostgres

if TYPE_CHECKING:
    from backfill_assets_tests.adapters.aws.server import Aws
    from backfill_assets_tests.adapters.spiffworkflow.mariadb import MariaDb


TOGETHER = ("end_to_end", "celery")
"""Folders whose tests go to one worker each: two cores carry no second stack."""

# How long an example takes is the machine's business: its first one loads libraries, and others run beside it.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


SHARED_DATA = Path(__file__).parents[1].parent / "shared" / "data"
"""What is kept beside the project and not in it."""


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


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator["MariaDb"]:
    """A running server, one for each pytest-xdist worker; its tests are marked `mariadb`."""
    from backfill_assets_tests.adapters.spiffworkflow.mariadb import running_mariadb

    with running_mariadb(tmp_path_factory.mktemp("mariadb")) as server:
        yield server


@pytest.fixture
def mariadb_url(mariadb: "MariaDb") -> Iterator[str]:
    """The URL of an empty database, dropped after the test."""
    name = f"test_{uuid4().hex}"
    mariadb.execute(f"CREATE DATABASE {name}")
    yield mariadb.url(name)
    mariadb.execute(f"DROP DATABASE {name}")


@pytest.fixture(scope="session")
def aws() -> Iterator["Aws"]:
    """A stand-in for AWS that checks keys, one for each pytest-xdist worker."""
    from backfill_assets_tests.adapters.aws.server import running_aws  # moto takes two seconds to load

    with running_aws() as server:
        yield server


class OneStackAtATime(LoadScopeScheduling):  # type: ignore[misc]
    """Keeps the tests of some folders together, and begins with them."""

    def _split_scope(self, nodeid: str) -> str:
        return next((folder for folder in TOGETHER if f"/{folder}/" in nodeid), nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneStackAtATime:
    """Not `xdist_group`: since pytest 9.2 it groups nothing, and says nothing of that."""
    return OneStackAtATime(config, log)


def _not_tested() -> Mapping[str, str]:
    """What this machine cannot test, by the mark of the tests: why."""
    required = os.environ.get("BACKFILL_REQUIRE_SERVICES") == "1"  # noqa: TID251 - says what the machine must have
    reasons = {
        "browser": "" if required or Path("/usr/bin/chromium").exists() else "browser (no Chromium)",
        "shared_data": "" if SHARED_DATA.exists() else "the product's own database (no shared data beside the project)",
        "mariadb": "" if required or Path("/usr/sbin/mariadbd").exists() else "MySQL (no MariaDB server)",
        "root": "" if os.geteuid() == 0 else "the account that PostgreSQL runs under when root starts it (not root)",
    }
    return {mark: reason for mark, reason in reasons.items() if reason}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the tests out that this machine cannot run; the summary says so."""
    marks = _not_tested()
    left_out = [item for item in items if any(item.get_closest_marker(mark) for mark in marks)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what this machine could not test."""
    for reason in _not_tested().values():
        terminalreporter.write_line(f"NOT TESTED: {reason}")
