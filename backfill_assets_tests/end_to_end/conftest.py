"""One real stack for all tests of this folder: PostgreSQL, sandbox, code server, daemon and UI.

Here belongs starting and stopping it. It starts with three tenants newly connected, whose history of three weeks the
sensor fills in; each test asks for an older range of its own, so that tests do not meet.
"""

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml
from dagster import DagsterInstance

from backfill_assets.sandbox.dataset import TENANTS
from backfill_assets.sandbox.ports import free_port
from backfill_assets.sandbox.postgres import EmbeddedPostgres
from backfill_assets_tests.end_to_end.moving import table_databases
from backfill_assets_tests.end_to_end.running import QuickStack, Running

HERE = Path(__file__).parent
NEW_DAYS = 14
NEVER = "0 0 29 2 *"
SERVICE: Mapping[str, Any] = {"chunks_per_run": 2, "sync_frequency": NEVER}
"""Small runs, of 8 weeks; sync has a stack of its own."""
RUNS_AT_ONCE = 3
"""Of history; one more for incremental sync."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """First whoever starts a stack of his own, then those who share one: never two at a time."""
    here = [item for item in items if item.path.is_relative_to(HERE)]
    own_first = sorted(here, key=lambda item: not _starts_its_own(item))
    items[:] = [item for item in items if item not in here] + own_first


def _starts_its_own(item: pytest.Item) -> bool:
    return item.get_closest_marker("own_stack") is not None


@pytest.fixture(scope="session", autouse=True)
def _only_one_worker(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Fails where the tests of this folder have been spread over workers: they would disturb each other."""
    if (worker := os.environ.get("PYTEST_XDIST_WORKER")) is not None:  # noqa: TID251 - pytest's own
        claim = tmp_path_factory.getbasetemp().parent / "end_to_end"
        with suppress(FileExistsError), claim.open("x") as mine:
            mine.write(worker)
        assert claim.read_text() == worker, "two workers have end-to-end tests"


@pytest.fixture(scope="package")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The running stack, which runs less at once than a real one."""
    with started(tmp_path_factory.mktemp("stack"), SERVICE, runs_at_once=RUNS_AT_ONCE, more=table_databases) as running:
        yield running


@contextmanager
def started(
    home: Path,
    service: Mapping[str, Any],
    *,
    runs_at_once: int | None = None,
    celery: bool = False,
    metadata: bool = False,
    tenants: Collection[str] = TENANTS,
    more: Callable[[EmbeddedPostgres], Mapping[str, str]] = lambda _postgres: {},
) -> Iterator[Running]:
    """A running stack with these settings of ConnectWise; when it is stopped, none of its processes is left.

    `more` makes databases beside those of the stack and returns the variables that name them.
    """
    around = {**os.environ, "BACKFILL_SERVICES_FILE": str(home / "services.yaml")}  # noqa: TID251
    stack = QuickStack(
        home=home,
        port=free_port(),
        services=("connectwise",),
        durable=False,
        celery=celery,
        metadata=metadata,
        environment=around,
    )
    try:
        stack.prepare()
        stack.variables.update(more(stack.postgres))
        environment = {**around, **stack.variables}
        stack.supervisor.environment = environment
        _connect(home / "tenants.yaml", tenants)
        if runs_at_once is not None:
            _let_fewer_run_at_once(home / "dagster" / "dagster.yaml", runs_at_once)
        (home / "services.yaml").write_text(yaml.safe_dump({"services": {"connectwise": dict(service)}}))
        stack.start()
        with _instance(stack) as instance, httpx.Client(base_url=stack.sandbox_url, timeout=60) as sandbox:
            running = Running(stack=stack, environment=environment, instance=instance, sandbox=sandbox)
            yield running
            running.end_commands()
    finally:
        left = stack.stop()
        stack.postgres.remove()
    assert not left
    assert not list(_processes_of(home))


def _connect(file: Path, tenants: Collection[str]) -> None:
    """Let only these tenants be there, and give each a short history."""
    written = yaml.safe_load(file.read_text())
    written["tenants"] = {tenant: written["tenants"][tenant] for tenant in tenants}
    for tenant in tenants:
        written["tenants"][tenant]["services"]["connectwise"]["lookback_days"] = NEW_DAYS
    file.write_text(yaml.safe_dump(written))


def _let_fewer_run_at_once(instance: Path, limit_of_all: int) -> None:
    """So that a small backfill suffices to have a run that waits; what one tenant gets stays as it is."""
    written = yaml.safe_load(instance.read_text())
    runs = written["concurrency"]["runs"]
    runs["max_concurrent_runs"] = limit_of_all + 1
    for limit in runs["tag_concurrency_limits"]:
        limit["limit"] = min(limit["limit"], limit_of_all)
    instance.write_text(yaml.safe_dump(written))


def _instance(stack: QuickStack) -> DagsterInstance:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stack.variables.items():
            patch.setenv(name, value)
        return DagsterInstance.from_config(stack.variables["DAGSTER_HOME"])


def _processes_of(home: Path) -> Iterator[psutil.Process]:
    for process in psutil.process_iter(["cmdline", "environ", "status"]):
        about = [*(process.info["cmdline"] or []), (process.info["environ"] or {}).get("DAGSTER_HOME", "")]
        if process.info["status"] != psutil.STATUS_ZOMBIE and any(str(home) in text for text in about):
            yield process
