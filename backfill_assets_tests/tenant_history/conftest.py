"""The world that tests of tenant history begin with; how it is made belongs to `worlds.py`."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from backfill_assets_tests.tenant_history.worlds import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A world without tenants."""
    return World(root=tmp_path / "lake")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance in memory."""
    with dg.DagsterInstance.ephemeral() as ephemeral:
        # A database in memory is not told, as a new one on disk is, that backfills can be found by their tags.
        ephemeral.run_storage.migrate()
        yield ephemeral
