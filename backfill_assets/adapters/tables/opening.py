"""Which source and which destination the platform's settings name.

Here belongs the choice between the implementations, and that each driver is loaded by those only who need it.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from backfill_assets.core.jobs import Route, SourceServer
from backfill_assets.core.tables import TableDestination, TableSource
from backfill_assets.errors import PermanentError

POSTGRES, PARQUET = "POSTGRES", "PARQUET"


@contextmanager
def open_source(server: SourceServer) -> Iterator[TableSource]:
    """The database that a pipeline reads; it is reached when it is first asked."""
    from psycopg.conninfo import make_conninfo

    from backfill_assets.adapters.tables.postgres_source import PostgresTables

    conninfo = make_conninfo(
        host=server.host, port=server.port, dbname=server.database, user=server.user, password=server.password
    )
    with closing(PostgresTables(conninfo)) as source:
        yield source


@contextmanager
def open_destination(route: Route) -> Iterator[TableDestination]:
    """Where a route leads; it is reached when it is first asked."""
    if route.kind == PARQUET:
        with closing(_folder(route)) as folder:
            yield folder
        return
    if route.kind != POSTGRES:
        raise PermanentError(
            f"destination {route.name} is of type {route.kind}; rows can be brought to {POSTGRES} and {PARQUET}"
        )
    from psycopg.conninfo import make_conninfo

    from backfill_assets.adapters.tables.postgres_destination import PostgresDestination

    config = route.config
    lacking = [name for name in ("host", "database", "user") if not config.get(name)]
    if lacking:
        raise PermanentError(f"the config of destination {route.name} has no {', '.join(lacking)}; add that")
    conninfo = make_conninfo(
        host=config["host"],
        port=config.get("port", 5432),
        dbname=config["database"],
        user=config["user"],
        password=config.get("password", ""),
    )
    with closing(PostgresDestination(conninfo)) as destination:
        yield destination


def _folder(route: Route) -> TableDestination:
    from pathlib import Path

    from backfill_assets.adapters.lake.opening import open_storage
    from backfill_assets.adapters.tables.parquet import ParquetDestination

    root = route.config.get("path")
    if not root:
        raise PermanentError(f"the config of destination {route.name} has no path; name a folder or s3://bucket")
    place = root if str(root).startswith("s3://") else Path(str(root))
    return ParquetDestination(open_storage(place, endpoint_url=route.config.get("endpoint_url")))
