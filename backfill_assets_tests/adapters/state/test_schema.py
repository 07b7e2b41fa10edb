"""Making, migrating and refusing schemas, on both kinds of database."""

import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, NullPool, create_engine, inspect, text

from backfill_assets.adapters.state.connecting import engine_for, parse, revision_of
from backfill_assets.adapters.state.database import StateDatabase
from backfill_assets.adapters.state.schema import MIGRATIONS, initialise
from backfill_assets.adapters.state.tables import METADATA, SCHEMA, SCHEMA_REVISION, VERSION_TABLE
from backfill_assets.core.pacing import Pace
from backfill_assets.errors import ConfigurationError

REVISIONS = ["0001", "0002", "0003", "0004", "0005"]


def run_sql(url: str, statement: str) -> None:
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()


def version_table(url: str) -> str:
    return VERSION_TABLE if url.startswith("sqlite") else f"{SCHEMA}.{VERSION_TABLE}"


def test_the_code_asks_for_the_newest_revision() -> None:
    packaged = Config()
    packaged.set_main_option("script_location", MIGRATIONS)
    assert ScriptDirectory.from_config(packaged).get_current_head() == SCHEMA_REVISION


def test_making_it_twice_changes_nothing(empty_url: str) -> None:
    assert initialise(empty_url) == REVISIONS
    assert initialise(empty_url) == []


def test_a_migrated_database_is_what_the_code_declares(state_url: str) -> None:
    declared = METADATA
    if state_url.startswith("sqlite"):
        declared = MetaData()
        for table in METADATA.tables.values():
            table.to_metadata(declared, schema=None)  # type: ignore[arg-type]
    engine = create_engine(state_url, poolclass=NullPool)
    with engine.connect() as connection:
        options = {
            "include_schemas": True,
            "include_name": lambda name, kind, _: kind != "schema" or name in (None, SCHEMA),
            "version_table_schema": None if state_url.startswith("sqlite") else SCHEMA,
        }
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, declared) == []
        schema = None if state_url.startswith("sqlite") else SCHEMA
        ours = {"budgets", "certificates", "dead_letters", "handoffs", "metadata_fields", "paces", "process_models"}
        tables = {*ours, "service_switches", "alembic_version"}
        assert set(inspect(connection).get_table_names(schema=schema)) == tables
    engine.dispose()


def test_two_that_make_it_at_once_both_succeed(empty_url: str) -> None:
    program = "import sys; from backfill_assets.adapters.state.schema import initialise; print(initialise(sys.argv[1]))"
    both = [
        subprocess.Popen([sys.executable, "-c", program, empty_url], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = [x.communicate()[0].strip() for x in both]
    assert sorted(said) == [str(REVISIONS), "[]", "[]"]


def test_a_migration_that_fails_leaves_nothing_half_made(empty_url: str) -> None:
    """The name of the second table is taken, so the revision breaks in its middle."""
    if empty_url.startswith("sqlite"):
        Path(empty_url.removeprefix("sqlite:///")).parent.mkdir()
        run_sql(empty_url, "CREATE TABLE service_switches (x int)")
    else:
        run_sql(empty_url, f"CREATE SCHEMA {SCHEMA}")
        run_sql(empty_url, f"CREATE TABLE {SCHEMA}.service_switches (x int)")
    with pytest.raises(ConfigurationError, match=r"service_switches.* already exists"):
        initialise(empty_url)
    engine = create_engine(empty_url, poolclass=NullPool)
    schema = None if empty_url.startswith("sqlite") else SCHEMA
    assert inspect(engine).get_table_names(schema=schema) == ["service_switches"]
    engine.dispose()


def make_revision(url: str, revision: str) -> None:
    """The schema as an older version of the program made it."""
    if url.startswith("sqlite"):
        Path(url.removeprefix("sqlite:///")).parent.mkdir()
    else:
        run_sql(url, f"CREATE SCHEMA {SCHEMA}")
    packaged, engine = Config(), engine_for(parse(url), poolclass=NullPool)
    packaged.set_main_option("script_location", MIGRATIONS)
    with engine.begin() as connection:
        packaged.attributes.update(connection=connection, on_version_apply=lambda **_: None)
        command.upgrade(packaged, revision)
    engine.dispose()


def test_a_migration_from_the_first_revision_keeps_what_is_there(empty_url: str) -> None:
    make_revision(empty_url, "0001")
    switches = "service_switches" if empty_url.startswith("sqlite") else f"{SCHEMA}.service_switches"
    seen_at = "2024-05-01 12:00:00" + ("" if empty_url.startswith("sqlite") else "+00")
    run_sql(empty_url, f"INSERT INTO {switches} VALUES ('acme', 'connectwise', true, '{seen_at}')")
    with pytest.raises(ConfigurationError, match=r"is at revision 0001 .* needs revision 0005"):
        StateDatabase.open(empty_url)
    assert initialise(empty_url) == ["0002", "0003", "0004", "0005"]
    with StateDatabase.open(empty_url) as state:
        assert state.switches.seen().get(("acme", "connectwise")) is True
        assert state.pacer("connectwise", "acme", Pace(requests_per_minute=60)).admit() == 0


def test_opening_an_empty_database_names_the_command_to_run(empty_url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"has no schema yet .* revision 0005; run `backfill init`"):
        StateDatabase.open(empty_url)
    if empty_url.startswith("sqlite"):
        assert not Path(empty_url.removeprefix("sqlite:///")).exists()


def test_opening_another_revision_names_both(state_url: str) -> None:
    run_sql(state_url, f"UPDATE {version_table(state_url)} SET version_num = '0000'")
    with pytest.raises(ConfigurationError, match=r"is at revision 0000 .* needs revision 0005; run `backfill init`"):
        StateDatabase.open(state_url)


def test_a_schema_newer_than_the_program_is_left_alone(state_url: str) -> None:
    run_sql(state_url, f"UPDATE {version_table(state_url)} SET version_num = '9999'")
    with pytest.raises(ConfigurationError, match=r"revision 9999, .* Update this program"):
        initialise(state_url)
    engine = create_engine(state_url, poolclass=NullPool)
    with engine.connect() as connection:
        assert revision_of(connection) == "9999"
    engine.dispose()


def test_opening_does_not_load_alembic(state_url: str) -> None:
    program = (
        "import sys; from backfill_assets.adapters.state.database import StateDatabase;"
        "StateDatabase.open(sys.argv[1]).close(); sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program, state_url], check=False).returncode == 0
