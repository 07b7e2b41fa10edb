"""Two databases for each test that asks."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from backfill_assets.sandbox.postgres import EmbeddedPostgres
from backfill_assets_tests.adapters.tables.ends import Ends, conninfo


@pytest.fixture
def ends(postgres: EmbeddedPostgres) -> Iterator[Ends]:
    """Empty databases, dropped after the test."""
    names = [f"test_{uuid4().hex}" for _ in range(2)]
    for name in names:
        postgres.create_database(name)
    source, destination = (conninfo(postgres.url(name)) for name in names)
    yield Ends(source=source, destination=destination)
    for name in names:
        postgres.drop_database(name)
