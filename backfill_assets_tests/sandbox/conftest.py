"""A sandbox over real HTTP, and clients that sign in as each service wants it.

Here belongs what the tests of the sandbox's services share; what only one module needs stays there.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest

from backfill_assets.sandbox.server import SandboxConfig, SandboxServer
from backfill_assets_tests.sandbox.account import Account
from backfill_assets_tests.sandbox.instance import Instance
from backfill_assets_tests.sandbox.organisation import Organisation

UNTIL = datetime(2025, 6, 30, 15, 30, tzinfo=UTC)


@pytest.fixture(scope="package")
def server() -> Iterator[SandboxServer]:
    """One sandbox for all tests; each test leaves it as it found it."""
    with SandboxServer(SandboxConfig(until=UNTIL)) as running:
        yield running


@pytest.fixture
def sandbox(server: SandboxServer) -> Iterator[httpx.Client]:
    """What is asked of the sandbox itself; faults and changes are gone after the test."""
    with httpx.Client(base_url=f"{server.url}/_sandbox", timeout=30) as client:
        yield client
        for path in ("/faults", "/records", "/requests"):
            client.delete(path).raise_for_status()


@pytest.fixture
def acme(server: SandboxServer) -> Iterator[Account]:
    """Acme's account at ConnectWise."""
    with Account(server, "acme") as account:
        yield account


@pytest.fixture
def instance(server: SandboxServer) -> Iterator[Instance]:
    """Acme's instance at ServiceNow."""
    with Instance(server, "acme") as opened:
        yield opened


@pytest.fixture
def organisation(server: SandboxServer) -> Iterator[Organisation]:
    """Acme's organisation at Salesforce, signed in."""
    with Organisation(server, "acme") as opened:
        yield opened
