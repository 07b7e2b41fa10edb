"""Makes and migrates the schema of the state database.

Here belongs running the packaged revisions, nothing that a run needs: only `backfill init` and tests import this
module, and with it Alembic.
"""

from collections.abc import Sequence
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, NullPool, create_engine, inspect, text
from sqlalchemy.schema import CreateSchema

from backfill_assets.adapters.state.connecting import (
    engine_for,
    file_of,
    location,
    parse,
    revision_of,
    told_as_configuration,
)
from backfill_assets.adapters.state.tables import SCHEMA
from backfill_assets.errors import ConfigurationError

MIGRATIONS = "backfill_assets.adapters.state:migrations"
ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtextextended('backfill_assets schema', 0))")


def initialise(url: str) -> Sequence[str]:
    """Create the schema or migrate it to this version, all or nothing; return the revisions that were applied.

    Safe when two do it at once. Raises `ConfigurationError` when the database is out of reach or newer than we are.
    """
    parsed = parse(url)
    engine = engine_for(parsed, poolclass=NullPool)
    try:
        with told_as_configuration(parsed):
            _make_ready(engine)
            with engine.begin() as connection:
                return _upgrade(connection)
    finally:
        engine.dispose()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", MIGRATIONS)
    return config


def _make_ready(engine: Engine) -> None:
    """For SQLite: make the folder, and let readers and a writer work side by side, which the file remembers."""
    file = file_of(engine.url)
    if file is None:
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"The folder {file.parent} of the state database cannot be made: {error}.") from error
    plain = create_engine(engine.url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with plain.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode = WAL")


def _upgrade(connection: Connection) -> Sequence[str]:
    if connection.dialect.name == "postgresql":
        connection.execute(ONE_AT_A_TIME)
        # Asked first: IF NOT EXISTS needs the right to create schemas even where ours exists.
        if not inspect(connection).has_schema(SCHEMA):
            connection.execute(CreateSchema(SCHEMA))
    config, applied = _config(), list[str]()
    _refuse_newer(connection, config)

    def note(*, step: Any, **_: Any) -> None:
        applied.append(step.up_revision_id)

    config.attributes.update(connection=connection, on_version_apply=note)
    command.upgrade(config, "head")
    return applied


def _refuse_newer(connection: Connection, config: Config) -> None:
    found = revision_of(connection)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise ConfigurationError(
            f"The state database ({location(connection.engine.url)}) is at revision {found}, which this version of "
            "the program does not know: a newer one has migrated it. Update this program."
        )
