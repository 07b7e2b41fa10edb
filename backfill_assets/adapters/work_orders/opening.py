"""Opening the tables of work orders, and refusing those that do not fit.

Here belongs what is asked before the first use. Making and migrating the tables belongs to `schema.py`.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg

from backfill_assets.adapters.work_orders.connecting import SECONDS_TO_CONNECT, conninfo, location, pool_for, told
from backfill_assets.adapters.work_orders.database import PostgresOrders
from backfill_assets.adapters.work_orders.tables import REVISION, SCHEMA, VERSION_TABLE
from backfill_assets.core.enriched import OrderTarget
from backfill_assets.errors import ConfigurationError

DIMENSIONS = """
SELECT atttypmod FROM pg_attribute
WHERE attrelid = 'work_orders.semantic_embeddings'::regclass AND attname = 'vector'
"""
FOUND_REVISION = f"SELECT version_num FROM {SCHEMA}.{VERSION_TABLE}"  # noqa: S608 - names of ours


@contextmanager
def open_orders(url: str) -> Iterator[OrderTarget]:
    """The tables in the database at this URL; `ConfigurationError` where they are not there or of another version."""
    dimensions = _dimensions(url)
    with closing(pool_for(url)) as pool:
        yield PostgresOrders(pool, url=url, dimensions=dimensions)


def _dimensions(url: str) -> int:
    """How many dimensions the embeddings have; on a connection of its own, whose failure says why."""
    with told(url), psycopg.connect(conninfo(url), connect_timeout=SECONDS_TO_CONNECT) as connection:
        tables = connection.execute("SELECT to_regclass(%s)", (f"{SCHEMA}.{VERSION_TABLE}",)).fetchone()
        row = connection.execute(FOUND_REVISION).fetchone() if tables and tables[0] else None
        found = row[0] if row else None
        if found != REVISION:
            state = "has no tables of work orders yet" if found is None else f"is at revision {found}"
            raise ConfigurationError(
                f"The database of work orders ({location(url)}) {state} and this version needs revision {REVISION}; "
                "run `backfill init`."
            )
        dimensions = connection.execute(DIMENSIONS).fetchone()
    return int(dimensions[0]) if dimensions else 0
