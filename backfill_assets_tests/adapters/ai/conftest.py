"""The providers over real HTTP, and how they are opened."""

from collections.abc import Iterator

import pytest

from backfill_assets.sandbox.ai.server import AiServer, endpoints
from backfill_assets_tests.adapters.ai.rig import Rig


@pytest.fixture(scope="session")
def running() -> Iterator[AiServer]:
    """The stand-in, one for each pytest-xdist worker."""
    with AiServer() as server:
        yield server


@pytest.fixture
def server(running: AiServer) -> AiServer:
    """The stand-in without faults, that has charged nothing yet."""
    running.clear()
    return running


@pytest.fixture(params=["azure_openai", "openai"])
def remote(request: pytest.FixtureRequest, server: AiServer) -> Rig:
    """A provider that is asked over HTTP."""
    return Rig(endpoint=endpoints(server.url)[request.param])


@pytest.fixture(params=["azure_openai", "openai", "offline"])
def rig(request: pytest.FixtureRequest, server: AiServer) -> Rig:
    """Any provider."""
    return Rig(endpoint=endpoints(server.url).get(request.param))
