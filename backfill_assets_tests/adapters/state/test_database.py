"""Opening a state database: what is refused, in which words, and what they must not hold."""

import socket
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, make_url, text

from backfill_assets.adapters.state.database import StateDatabase, refuse_another_schema
from backfill_assets.adapters.state.schema import initialise
from backfill_assets.errors import ConfigurationError, TransientError
from backfill_assets.sandbox.postgres import EmbeddedPostgres
from backfill_assets_tests.adapters.state.test_schema import run_sql, version_table

SECRET = "swordfish"


@pytest.mark.parametrize("use", [initialise, StateDatabase.open])
@pytest.mark.parametrize(
    ("url", "says"),
    [
        (f"postgresql://me:{SECRET}@127.0.0.1:1/state", r"PostgreSQL at 127.0.0.1:1/state\).*Connection refused"),
        (f"me:{SECRET}@127.0.0.1/state", "is not a database URL"),
        (f"postgresql://me:{SECRET}@127.0.0.1:port/state", "is not a database URL"),
        (f"postgresql://me:p@{SECRET}@127.0.0.1/state", "is not a database URL.*%40"),
        (f"postgresql://me:p@/{SECRET}@127.0.0.1/state", "is not a database URL.*%40"),
        (f"mysql://me:{SECRET}@127.0.0.1/state", "names mysql, which cannot keep the state"),
        ("sqlite://", "names sqlite, .* path of a file"),
    ],
)
def test_refuses_a_database_it_cannot_use_without_telling_the_password(use: object, url: str, says: str) -> None:
    assert callable(use)
    with pytest.raises(ConfigurationError, match=says) as refusal:
        use(url)
    assert SECRET not in str(refusal.value)
    assert "me:" not in str(refusal.value)


@pytest.mark.parametrize("use", [initialise, StateDatabase.open])
def test_a_refused_password_is_not_told_either(use: object, postgres: EmbeddedPostgres) -> None:
    assert callable(use)
    url = make_url(postgres.url("nowhere")).set(password=SECRET).render_as_string(hide_password=False)
    with pytest.raises(ConfigurationError, match=r"/nowhere.*password authentication failed") as refusal:
        use(url)
    assert SECRET not in str(refusal.value)


@pytest.mark.parametrize("use", [initialise, StateDatabase.open])
def test_a_file_that_is_no_database_is_refused(use: object, tmp_path: Path) -> None:
    assert callable(use)
    (tmp_path / "notes.txt").write_text("not a database " * 100)
    with pytest.raises(ConfigurationError, match=r"notes\.txt.*not a database"):
        use(f"sqlite:///{tmp_path / 'notes.txt'}")


def test_takes_urls_that_name_no_driver(database_url: str) -> None:
    for scheme in ("postgres://", "postgresql://"):
        url = database_url.replace("postgresql+psycopg2://", scheme)
        initialise(url)
        StateDatabase.open(url).close()


def test_a_refusal_says_where_it_is_without_user_and_password(database_url: str) -> None:
    url = make_url(database_url)
    with pytest.raises(ConfigurationError, match=rf"\(PostgreSQL at 127\.0\.0\.1:{url.port}/{url.database}\) has no"):
        StateDatabase.open(database_url)


@pytest.mark.parametrize("revision", ["0000", "9999", "deadbeef"])
def test_the_start_refuses_the_schema_of_another_version(state_url: str, revision: str) -> None:
    run_sql(state_url, f"UPDATE {version_table(state_url)} SET version_num = '{revision}'")
    with pytest.raises(ConfigurationError, match=rf"is at revision {revision} and .* needs .*; run `backfill init`"):
        refuse_another_schema(state_url)


def test_the_start_goes_on_with_our_schema_and_without_any(empty_url: str) -> None:
    refuse_another_schema(empty_url)
    initialise(empty_url)
    refuse_another_schema(empty_url)
    run_sql(empty_url, f"DELETE FROM {version_table(empty_url)}")
    refuse_another_schema(empty_url)


@pytest.mark.parametrize("name", ["absent.db", "no/folder/state.db", "notes.txt", ""])
def test_the_start_goes_on_without_a_readable_file_and_makes_none(tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.txt").write_text("not a database " * 100)
    refuse_another_schema(f"sqlite:///{tmp_path / name}")
    assert [path.name for path in tmp_path.rglob("*")] == ["notes.txt"]


def test_the_start_waits_for_no_writer_of_a_sqlite_file(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    initialise(url)
    run_sql(url, "UPDATE alembic_version SET version_num = '9999'")
    with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        with pytest.raises(ConfigurationError, match="9999"):
            refuse_another_schema(url)


def test_the_start_goes_on_soon_while_the_server_is_away_or_the_schema_locked(database_url: str) -> None:
    started = time.monotonic()
    refuse_another_schema("postgresql://me:secret@127.0.0.1:1/state")
    initialise(database_url)
    engine = create_engine(database_url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text(f"LOCK TABLE {version_table(database_url)}"))
        refuse_another_schema(database_url)
    engine.dispose()
    assert time.monotonic() - started < 20


def test_the_start_goes_on_when_a_server_takes_the_connection_and_stays_silent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        refuse_another_schema(f"postgresql://me:secret@127.0.0.1:{silent.getsockname()[1]}/state")
        assert time.monotonic() - started < 8


def test_a_database_that_goes_away_is_worth_another_try(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "pg", durable=False)
    try:
        server.start()
        initialise(server.url())
        with StateDatabase.open(server.url()) as state:
            assert state.switches.seen().get(("acme", "connectwise")) is None
            server.stop()
            with pytest.raises(TransientError, match=r"did not answer.*Connection refused"):
                state.switches.seen().get(("acme", "connectwise"))
            server.start()
            assert state.switches.seen().get(("acme", "connectwise")) is None
    finally:
        server.remove()


def test_sqlite_lets_readers_and_a_writer_work_side_by_side(tmp_path: Path) -> None:
    initialise(f"sqlite:///{tmp_path / 'state.db'}")
    connection = sqlite3.connect(tmp_path / "state.db")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()
