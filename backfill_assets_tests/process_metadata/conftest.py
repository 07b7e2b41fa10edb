"""Databases of the product, of each kind."""

from pathlib import Path

import pytest

from backfill_assets_tests.process_metadata.products import KINDS, SQL_KINDS, InMemory, InSql, Product, url_of


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
