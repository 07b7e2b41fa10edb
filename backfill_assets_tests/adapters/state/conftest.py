"""State databases of both kinds.

Here belong databases that tests of this folder start from; PostgreSQL itself comes from the conftest of all tests.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from backfill_assets.adapters.state.database import StateDatabase
from backfill_assets.adapters.state.schema import initialise


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database that holds nothing yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'state' / 'state.db'}"
    return str(request.getfixturevalue("database_url"))


@pytest.fixture
def state_url(empty_url: str) -> str:
    """The URL of a database whose schema is there."""
    initialise(empty_url)
    return empty_url


@pytest.fixture
def state(state_url: str) -> Iterator[StateDatabase]:
    """An open state database."""
    with StateDatabase.open(state_url) as database:
        yield database


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def state_or_none(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StateDatabase | None]:
    """An open state database of each kind, and none for the in-memory twins."""
    if request.param == "memory":
        yield None
        return
    is_sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path / 'state.db'}" if is_sqlite else str(request.getfixturevalue("database_url"))
    initialise(url)
    with StateDatabase.open(url) as database:
        yield database
