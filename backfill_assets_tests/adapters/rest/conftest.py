"""The running sandbox that the tests of the clients share."""

from collections.abc import Iterator

import pytest

from backfill_assets.sandbox.server import SandboxServer
from backfill_assets_tests.adapters.rest.stands import reset, running_sandbox


@pytest.fixture(scope="session")
def shared_sandbox() -> Iterator[SandboxServer]:
    """One server for all tests."""
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(shared_sandbox: SandboxServer) -> SandboxServer:
    """The server as it was started: no faults, no changes, no requests seen."""
    reset(shared_sandbox)
    return shared_sandbox
