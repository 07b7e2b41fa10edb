"""What the embedded server serves, whom it lets in, what it refuses, and that removing leaves nothing."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from sqlalchemy import URL, NullPool, create_engine, text
from sqlalchemy.exc import OperationalError

from backfill_assets.errors import ConfigurationError
from backfill_assets.sandbox.postgres import EmbeddedPostgres
from backfill_assets.sandbox.postgres_home import socket_folder_of
from backfill_assets_tests.sandbox.postgres_questions import ask, data_folder, port_of, postmaster, processes


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path / "pg", durable=False)
    yield server
    server.remove()


def test_serves_version_18_with_pgvector_in_utf8_and_locale_c(server: EmbeddedPostgres) -> None:
    server.start()
    assert str(ask(server.url(), "SHOW server_version")).startswith("18")
    assert ask(server.url(), "SHOW server_encoding") == "UTF8"
    assert ask(server.url(), "SELECT datcollate FROM pg_database WHERE datname = current_database()") == "C"
    ask(server.url(), "CREATE EXTENSION vector")


def test_listens_on_the_loopback_address_and_on_a_socket_only(server: EmbeddedPostgres) -> None:
    server.start()
    assert {c.laddr.ip for c in postmaster(server).net_connections() if c.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
    folder = socket_folder_of(data_folder(server).parent)
    assert stat.S_ISSOCK((folder / f".s.PGSQL.{port_of(server)}").stat().st_mode)


def test_refuses_a_connection_without_the_password(server: EmbeddedPostgres) -> None:
    server.start()
    door = URL.create("postgresql+psycopg2", "postgres", host="127.0.0.1", port=port_of(server), database="postgres")
    folder = socket_folder_of(data_folder(server).parent)
    window = door._replace(host=None).update_query_dict({"host": str(folder)})
    for way_in in (door, window):
        with pytest.raises(OperationalError, match="no password supplied"):
            ask(way_in.render_as_string(), "SELECT 1")
        with pytest.raises(OperationalError, match="password authentication failed"):
            ask(way_in.set(password="wrong").render_as_string(hide_password=False), "SELECT 1")


def test_keeps_the_password_to_its_owner(server: EmbeddedPostgres, tmp_path: Path) -> None:
    server.start()
    password = tmp_path / "pg" / "password"
    assert stat.S_IMODE(password.stat().st_mode) == 0o600
    assert password.stat().st_uid == os.geteuid()
    assert stat.S_IMODE(data_folder(server).parent.stat().st_mode) == 0o700
    secret = password.read_text()
    assert not any(secret in argument for x in processes(server) for argument in x.cmdline())
    assert secret not in server.log.read_text()


def test_names_the_line_of_the_log_that_says_why_it_does_not_start(server: EmbeddedPostgres) -> None:
    server.start()
    server.stop()
    with (data_folder(server) / "postgresql.conf").open("a") as settings:
        settings.write("work_mem = lots\n")
    with pytest.raises(ConfigurationError, match=r"cannot be started: .*FATAL.*postgresql\.conf.*contains errors"):
        server.start()
    assert processes(server) == []


def test_does_not_start_without_the_password_of_its_cluster(server: EmbeddedPostgres, tmp_path: Path) -> None:
    server.start()
    server.stop()
    (tmp_path / "pg" / "password").unlink()
    with pytest.raises(ConfigurationError, match=r"No such file.*password"):
        server.start()


def test_says_where_a_folder_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"cannot be started: .*Not a directory"):
        EmbeddedPostgres(tmp_path / "file" / "pg").start()


def test_creates_a_database_once_and_drops_one_that_is_in_use(server: EmbeddedPostgres) -> None:
    server.start()
    name = 'a "quoted":name'
    server.create_database(name)
    server.create_database(name)
    engine = create_engine(server.url(name), poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        server.drop_database(name)
        connection.invalidate()
    engine.dispose()
    with pytest.raises(OperationalError, match="does not exist"):
        ask(server.url(name), "SELECT 1")


def test_a_durable_server_waits_for_the_disk(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "pg")
    try:
        with server:
            assert ask(server.url(), "SHOW fsync") == "on"
    finally:
        server.remove()


def test_a_root_with_a_long_path_gets_a_socket_in_a_short_folder(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / ("long" * 40), durable=False)
    try:
        server.start()
        folder = socket_folder_of(data_folder(server).parent)
        assert stat.S_ISSOCK((folder / f".s.PGSQL.{port_of(server)}").stat().st_mode)
    finally:
        server.remove()
    assert not folder.exists()


def test_removing_leaves_nothing_behind_but_what_others_put_there(server: EmbeddedPostgres, tmp_path: Path) -> None:
    server.start()
    cluster = data_folder(server).parent
    (tmp_path / "pg" / "letter").write_text("not ours")
    server.remove()
    assert [x.name for x in (tmp_path / "pg").iterdir()] == ["letter"]
    assert not cluster.exists()
    server.remove()
