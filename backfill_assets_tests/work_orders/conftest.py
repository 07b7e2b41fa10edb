"""Sources and targets of work orders, in memory and real."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from uuid import uuid4

import pytest

from backfill_assets.adapters.snowflake.memory import MemorySource
from backfill_assets.adapters.snowflake.opening import open_source
from backfill_assets.adapters.work_orders.memory import MemoryOrders
from backfill_assets.adapters.work_orders.opening import open_orders
from backfill_assets.adapters.work_orders.schema import initialise
from backfill_assets.core.enriched import OrderTarget
from backfill_assets.core.orders import OrderSource
from backfill_assets.sandbox.snowflake.server import SnowflakeServer
from backfill_assets_tests.work_orders.orders import THEIRS, Row, theirs

MakeSource = Callable[[Sequence[Row]], OrderSource]
DIMENSIONS = 8


@pytest.fixture(scope="session")
def snowflake() -> Iterator[SnowflakeServer]:
    """The stand-in for Snowflake, one for each pytest-xdist worker."""
    with SnowflakeServer() as server:
        yield server


@pytest.fixture(params=["memory", "snowflake"])
def make_source(request: pytest.FixtureRequest) -> Iterator[MakeSource]:
    """Makes a source that holds these records."""
    if request.param == "memory":
        yield MemorySource
        return
    server: SnowflakeServer = request.getfixturevalue("snowflake")
    with ExitStack() as opened:

        def make(rows: Sequence[Row]) -> OrderSource:
            database = f"db_{uuid4().hex}"
            server.load(database, "notification_text", theirs(rows))
            return opened.enter_context(
                open_source(server.account(database), table="notification_text", columns=THEIRS)
            )

        yield make


@pytest.fixture
def orders_url(database_url: str) -> str:
    """The URL of a database whose tables are made."""
    initialise(database_url, dimensions=DIMENSIONS)
    return database_url


@pytest.fixture(params=["memory", "postgres"])
def target(request: pytest.FixtureRequest) -> Iterator[OrderTarget]:
    """Empty tables."""
    if request.param == "memory":
        yield MemoryOrders(dimensions=DIMENSIONS)
        return
    with open_orders(request.getfixturevalue("orders_url")) as opened:
        yield opened
