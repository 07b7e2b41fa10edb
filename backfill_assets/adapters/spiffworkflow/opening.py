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


@contextmanager
def open_instances(url: str) -> Iterator[InstanceDatabase]:
    """The database at this URL, as `settings` gives it; it is reached when it is first asked."""
    engine = engine_for(make_url(url))
    if engine.dialect.name == "postgresql":
        database = SqlInstances(engine, work=PostgresWork, count=count_there)
    else:
        database = SqlInstances(engine, work=PortableWork, count=count_documents)
    with closing(database):
        yield database
