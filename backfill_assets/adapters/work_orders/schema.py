"""Makes and migrates the tables of work orders.

Here belongs running the packaged revisions, nothing that a run needs: only `backfill init` and tests import this
module, and with it Alembic.
"""

from collections.abc import Sequence
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, NullPool, create_engine, inspect, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateSchema

from backfill_assets.adapters.work_orders.connecting import SECONDS_TO_CONNECT, VARIABLE, location
from backfill_assets.adapters.work_orders.opening import DIMENSIONS
from backfill_assets.adapters.work_orders.tables import SCHEMA, VERSION_TABLE
from backfill_assets.errors import ConfigurationError

MIGRATIONS = "backfill_assets.adapters.work_orders:migrations"
ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtextextended('backfill_assets work_orders schema', 0))")
MOST_DIMENSIONS = 2000
"""What an HNSW index of pgvector can hold."""


def initialise(url: str, *, dimensions: int) -> Sequence[str]:
    """Create the tables or migrate them to this version, all or nothing; return the revisions that were applied.

    Embeddings have so many dimensions from then on. Safe when two do it at once. Raises `ConfigurationError` when the
    database is out of reach, lacks pgvector, is newer than we are or holds embeddings of other dimensions.
    """
    if not 1 <= dimensions <= MOST_DIMENSIONS:
        raise ConfigurationError(
            f"BACKFILL_AI_EMBEDDING_DIMENSIONS is {dimensions}; an index of pgvector holds 1 to {MOST_DIMENSIONS}"
        )
    parsed = make_url(url).set(drivername="postgresql+psycopg2")
    arguments = {"connect_timeout": SECONDS_TO_CONNECT, "application_name": "backfill"}
    engine = create_engine(parsed, poolclass=NullPool, hide_parameters=True, connect_args=arguments)
    try:
        with engine.begin() as connection:
            return _upgrade(connection, url, dimensions)
    except DBAPIError as error:
        raise ConfigurationError(
            f"The database of work orders ({location(url)}) cannot be made ready: {_reason(error, parsed)}. Check "
            f"{VARIABLE}, that the database runs, and that its user may create a schema and the extension vector."
        ) from None
    finally:
        engine.dispose()


def _upgrade(connection: Connection, url: str, dimensions: int) -> Sequence[str]:
    connection.execute(ONE_AT_A_TIME)
    _require_vectors(connection, url)
    if not inspect(connection).has_schema(SCHEMA):
        connection.execute(CreateSchema(SCHEMA))
    config, applied = Config(), list[str]()
    config.set_main_option("script_location", MIGRATIONS)
    _refuse_newer(connection, config, url)

    def note(*, step: Any, **_: Any) -> None:
        applied.append(step.up_revision_id)

    config.attributes.update(connection=connection, on_version_apply=note, dimensions=dimensions)
    command.upgrade(config, "head")
    found = connection.execute(text(DIMENSIONS)).scalar_one()
    if found != dimensions:
        raise ConfigurationError(
            f"The embeddings in {location(url)} have {found} dimensions, and BACKFILL_AI_EMBEDDING_DIMENSIONS is "
            f"{dimensions}. Set it to {found}; or, to embed everything anew, drop table "
            f"work_orders.semantic_embeddings and make it with vector({dimensions})."
        )
    return applied


def _require_vectors(connection: Connection, url: str) -> None:
    """Create pgvector where it is not; asked first, since its creation needs rights that using it does not."""
    found = "SELECT count(*) FROM {} WHERE {} = 'vector'"
    if connection.execute(text(found.format("pg_extension", "extname"))).scalar_one():
        return
    if not connection.execute(text(found.format("pg_available_extensions", "name"))).scalar_one():
        raise ConfigurationError(
            f"The server of {location(url)} has no pgvector; install its package for this version of PostgreSQL, then "
            "run `backfill init` again."
        )
    connection.execute(text("CREATE EXTENSION vector SCHEMA public"))


def _refuse_newer(connection: Connection, config: Config, url: str) -> None:
    if not inspect(connection).has_table(VERSION_TABLE, schema=SCHEMA):
        return
    found = connection.execute(text(f"SELECT version_num FROM {SCHEMA}.{VERSION_TABLE}")).scalar()  # noqa: S608
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise ConfigurationError(
            f"The tables of work orders in {location(url)} are at revision {found}, which this version of the program "
            "does not know: a newer one has migrated them. Update this program."
        )


def _reason(error: DBAPIError, url: URL) -> str:
    line = (str(error.orig).strip().splitlines() or ["no reason was given"])[0].rstrip(".")
    return line.replace(url.password, "***") if url.password else line
