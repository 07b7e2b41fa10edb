"""Which database of the product a URL names.

Here belongs the choice between the implementations.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from sqlalchemy import make_url

from backfill_assets.adapters.spiffworkflow.connecting import engine_for
from backfill_assets.adapters.spiffworkflow.database import SqlInstances
from backfill_assets.adapters.spiffworkflow.portable import PortableWork, count_documents
from backfill_assets.adapters.spiffworkflow.postgres import PostgresWork, count_there
from backfill_assets.core.instances import InstanceDatabase

BATCHES_AT_ONCE = 2
"""While one is decoded here, the next is read and written there; SQLite has one writer at a time anyway."""


@contextmanager
def open_instances(url: str) -> Iterator[InstanceDatabase]:
    """The database at this URL, as `settings` gives it; it is reached when it is first asked."""
    engine = engine_for(make_url(url))
    match engine.dialect.name:
        case "postgresql":
            database = SqlInstances(engine, work=PostgresWork, count=count_there, batches_at_once=BATCHES_AT_ONCE)
        case "mysql":
            database = SqlInstances(engine, work=PortableWork, count=count_documents, batches_at_once=BATCHES_AT_ONCE)
        case _:
            database = SqlInstances(engine, work=PortableWork, count=count_documents, batches_at_once=1)
    with closing(database):
        yield database
