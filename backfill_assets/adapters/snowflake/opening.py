"""Opening the source of work orders.

Here belongs putting its parts together; nothing is asked of Snowflake yet.
"""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager

from backfill_assets.adapters.snowflake.connecting import Account, connect
from backfill_assets.adapters.snowflake.orders import SnowflakeOrders
from backfill_assets.adapters.snowflake.statements import Statements, source_columns
from backfill_assets.core.orders import OrderSource


@contextmanager
def open_source(account: Account, *, table: str, columns: Mapping[str, str]) -> Iterator[OrderSource]:
    """The table of work orders; `columns` are its names by those of `BACKFILL_WORK_ORDERS_COLUMNS`."""
    statements = Statements(table=table, columns=source_columns(columns))
    with closing(SnowflakeOrders(account, statements, connect=connect)) as source:
        yield source
