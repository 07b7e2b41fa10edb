"""Databases of the product, of each kind."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from backfill_assets_tests.process_metadata.products import KINDS, SQL_KINDS, InMemory, InSql, Product, url_of
from backfill_assets_tests.process_metadata.worlds import World


@pytest.fixture(params=KINDS)
def product(request: pytest.FixtureRequest, tmp_path: Path) -> Product:
    """An empty database, in memory or real."""
    if request.param == "memory":
        return InMemory()
    return InSql(url=url_of(request.param, request, tmp_path))


@pytest.fixture(params=SQL_KINDS)
def real_product(request: pytest.FixtureRequest, tmp_path: Path) -> InSql:
    """An empty database that is real."""
    return InSql(url=url_of(request.param, request, tmp_path))


@pytest.fixture
def on_postgres(database_url: str) -> InSql:
    """An empty database on PostgreSQL."""
    return InSql(url=database_url)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """An installation without models and instances."""
    root = tmp_path / "models"
    root.mkdir()
    return World(root=root)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance in memory."""
    with dg.DagsterInstance.ephemeral() as ephemeral:
        # A database in memory is not told, as a new one on disk is, that backfills can be found by their tags.
        ephemeral.run_storage.migrate()
        yield ephemeral
