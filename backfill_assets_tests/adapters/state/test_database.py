"""Opening a state database: what is refused, in which words, and what they must not hold."""

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import make_url

from backfill_assets.adapters.state.database import StateDatabase
from backfill_assets.adapters.state.schema import initialise
from backfill_assets.errors import ConfigurationError, TransientError
from backfill_assets.sandbox.postgres import EmbeddedPostgres

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


def test_says_where_it_is_without_user_and_password(database_url: str) -> None:
    initialise(database_url)
    with StateDatabase.open(database_url) as state:
        url = make_url(database_url)
        assert state.location == f"PostgreSQL at 127.0.0.1:{url.port}/{url.database}"


def test_a_database_that_goes_away_is_worth_another_try(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "pg", durable=False)
    try:
        server.start()
        initialise(server.url())
        with StateDatabase.open(server.url()) as state:
            assert state.switches.last_seen("acme", "connectwise") is None
            server.stop()
            with pytest.raises(TransientError, match=r"did not answer.*Connection refused"):
                state.switches.last_seen("acme", "connectwise")
            server.start()
            assert state.switches.last_seen("acme", "connectwise") is None
    finally:
        server.remove()


def test_sqlite_lets_readers_and_a_writer_work_side_by_side(tmp_path: Path) -> None:
    initialise(f"sqlite:///{tmp_path / 'state.db'}")
    connection = sqlite3.connect(tmp_path / "state.db")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()
