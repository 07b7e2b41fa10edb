"""The embedded server is started, killed, restarted and removed for real."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from sqlalchemy import URL, NullPool, create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from backfill_assets.errors import ConfigurationError
from backfill_assets.sandbox.postgres import EmbeddedPostgres
from backfill_assets.sandbox.postgres_home import Account, can_reach, hideaway_of, installed, socket_folder_of

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to drop to another account")

START = """
import sys
from pathlib import Path
from backfill_assets.sandbox.postgres import EmbeddedPostgres
EmbeddedPostgres(Path(sys.argv[1]), durable=False).start()
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path / "pg", durable=False)
    yield server
    server.remove()


def ask(url: str, question: str) -> object:
    engine = create_engine(url, poolclass=NullPool)
    try:
        with engine.begin() as connection:
            answer = connection.execute(text(question))
            return answer.scalar() if answer.returns_rows else None
    finally:
        engine.dispose()


def port_of(server: EmbeddedPostgres) -> int:
    return make_url(server.url()).port or 0


def data_folder(server: EmbeddedPostgres) -> Path:
    return server.log.resolve().parent / "data"


def postmaster(server: EmbeddedPostgres) -> psutil.Process:
    return psutil.Process(int((data_folder(server) / "postmaster.pid").read_text().split()[0]))


def processes(server: EmbeddedPostgres) -> list[psutil.Process]:
    """All live processes of the server, found apart from the product's own way."""
    folder = str(data_folder(server))
    found = psutil.process_iter(["cwd", "status", "cmdline"])
    return [
        x
        for x in found
        if x.info["status"] != psutil.STATUS_ZOMBIE and (x.info["cwd"] == folder or folder in (x.info["cmdline"] or []))
    ]


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


def test_starting_what_runs_uses_it_as_it_is(server: EmbeddedPostgres, tmp_path: Path) -> None:
    server.start()
    first = postmaster(server).pid
    EmbeddedPostgres(tmp_path / "pg", durable=False).start()
    assert postmaster(server).pid == first


def test_keeps_data_password_and_port_over_a_restart(server: EmbeddedPostgres) -> None:
    server.start()
    url = server.url()
    ask(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    server.stop()
    server.start()
    assert server.url() == url
    assert ask(url, "SELECT answer FROM kept") == 42


def test_stopping_ends_its_sessions_and_leaves_no_process(server: EmbeddedPostgres) -> None:
    server.start()
    engine = create_engine(server.url(), poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        assert processes(server)
        server.stop()
        assert processes(server) == []
        connection.invalidate()
    engine.dispose()
    server.stop()


def test_restarts_with_all_its_data_after_its_server_was_killed(tmp_path: Path, server: EmbeddedPostgres) -> None:
    server = EmbeddedPostgres(tmp_path / "pg", durable=True)
    server.start()
    ask(server.url(), "CREATE TABLE kept AS SELECT 42 AS answer")
    killed = postmaster(server)
    killed.kill()
    server.start()
    assert postmaster(server).pid != killed.pid
    assert ask(server.url(), "SELECT answer FROM kept") == 42


def test_stopping_after_its_server_was_killed_leaves_no_process(server: EmbeddedPostgres) -> None:
    server.start()
    postmaster(server).kill()
    server.stop()
    assert processes(server) == []


def test_replaces_a_server_that_hangs(server: EmbeddedPostgres, tmp_path: Path) -> None:
    """A frozen postmaster accepts the connection in the kernel and never answers it."""
    server.start()
    frozen = postmaster(server)
    frozen.send_signal(signal.SIGSTOP)
    impatient = EmbeddedPostgres(tmp_path / "pg", durable=False, patience=1)
    impatient.start()
    assert postmaster(server).pid != frozen.pid
    assert ask(server.url(), "SELECT 1") == 1


def test_restarts_when_its_pid_now_belongs_to_another_program(server: EmbeddedPostgres) -> None:
    """PostgreSQL takes any live process of its own account for its predecessor."""
    server.start()
    pid_file = data_folder(server) / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    server.stop()
    other = subprocess.Popen(["sleep", "60"], user=pid_file.parent.stat().st_uid)
    try:
        pid_file.write_text("\n".join([str(other.pid), *lines[1:]]) + "\n")
        server.start()
        assert ask(server.url(), "SELECT 1") == 1
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_takes_another_port_when_its_own_is_taken(server: EmbeddedPostgres) -> None:
    server.start()
    first = port_of(server)
    server.stop()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", first))
        other.listen()
        server.start()
    assert port_of(server) != first
    assert ask(server.url(), "SELECT 1") == 1


def test_outlives_the_process_that_started_it(server: EmbeddedPostgres, tmp_path: Path) -> None:
    program = START + "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    ended = subprocess.run([sys.executable, "-c", program, str(tmp_path / "pg")], check=False)
    assert ended.returncode == -signal.SIGKILL
    found = postmaster(server).pid
    server.start()
    assert postmaster(server).pid == found
    assert ask(server.url(), "SELECT 1") == 1


def test_two_that_start_at_once_start_one_server(server: EmbeddedPostgres, tmp_path: Path) -> None:
    both = [subprocess.Popen([sys.executable, "-c", START, str(tmp_path / "pg")]) for _ in range(2)]
    assert [x.wait() for x in both] == [0, 0]
    assert sum("-D" in x.cmdline() for x in processes(server)) == 1


def test_starts_anew_where_the_first_start_was_interrupted(server: EmbeddedPostgres, tmp_path: Path) -> None:
    server.start()
    server.stop()
    folder = data_folder(server)
    (folder / "PG_VERSION").unlink()
    folder.rename(folder.with_name("data.part"))
    (tmp_path / "pg" / "password").unlink()
    server.start()
    assert ask(server.url(), "SELECT 1") == 1


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


def test_starts_in_seconds(server: EmbeddedPostgres) -> None:
    server.start()
    server.stop()
    before = time.monotonic()
    server.start()
    assert time.monotonic() - before < 5


@as_root
def test_root_opens_no_folder_and_hides_the_cluster_where_the_account_can_reach_it(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    server = EmbeddedPostgres(closed / "pg", durable=False)
    hideaway = hideaway_of(closed / "pg")
    try:
        server.start()
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
        assert (closed / "pg" / "cluster").readlink() == hideaway
        assert stat.S_IMODE(hideaway.stat().st_mode) == 0o700
        assert hideaway.stat().st_uid == postmaster(server).uids().real != 0
        server.stop()
        server.start()
        assert ask(server.url(), "SELECT 1") == 1
    finally:
        server.remove()
    assert not hideaway.exists()
    assert list(closed.iterdir()) == []


@as_root
def test_a_hideaway_that_was_deleted_is_not_taken_for_an_empty_database(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "pg", durable=False)
    server.start()
    server.stop()
    hideaway = hideaway_of(tmp_path / "pg")
    hideaway.rename(tmp_path / "gone")
    with pytest.raises(ConfigurationError, match="has been deleted"):
        server.start()
    server.remove()


@as_root
def test_a_hideaway_that_somebody_else_made_is_refused(tmp_path: Path) -> None:
    hideaway = hideaway_of(tmp_path / "pg")
    victim = tmp_path / "victim"
    victim.mkdir()
    hideaway.symlink_to(victim)
    try:
        with pytest.raises(ConfigurationError, match="move it away"):
            EmbeddedPostgres(tmp_path / "pg").start()
        assert list(victim.iterdir()) == []
    finally:
        hideaway.unlink()
        EmbeddedPostgres(tmp_path / "pg").remove()


@as_root
def test_binaries_that_the_account_cannot_reach_are_copied(tmp_path: Path) -> None:
    """As where the virtual environment lies in root's home."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    package = installed().parent
    for folder in (package, package.with_name(f"{package.name}.libs")):
        (closed / folder.name).symlink_to(folder)
    server = EmbeddedPostgres(tmp_path / "pg", durable=False, install=closed / package.name / installed().name)
    try:
        server.start()
        assert ask(server.url(), "SELECT 1") == 1
        assert Path(postmaster(server).exe()).is_relative_to(hideaway_of(tmp_path / "pg"))
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    finally:
        server.remove()


@as_root
def test_a_plain_user_needs_none_of_this(tmp_path: Path) -> None:
    program = """
import os, pwd, sys
from pathlib import Path
from sqlalchemy import create_engine
from backfill_assets.sandbox.postgres import EmbeddedPostgres
create_engine("postgresql+psycopg2://").dispose()  # loads modules that may lie in a closed folder
nobody = pwd.getpwnam("nobody")
os.setgroups([]), os.setgid(nobody.pw_gid), os.setuid(nobody.pw_uid)
server = EmbeddedPostgres(Path(sys.argv[1]), durable=False)
with server:
    server.create_database("mine")
    assert server.url("mine")
    cluster = Path(sys.argv[1], "cluster")
    assert cluster.is_dir() and not cluster.is_symlink()
server.remove()
assert not Path(sys.argv[1]).exists()
"""
    folder = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="backfill_assets-plain-"))
    try:
        shutil.chown(folder, "nobody")
        ended = subprocess.run([sys.executable, "-c", program, str(folder / "pg")], capture_output=True, check=False)
        assert (ended.returncode, ended.stderr) == (0, b"")
    finally:
        shutil.rmtree(folder)


@as_root
def test_root_keeps_the_cluster_in_an_open_root() -> None:
    folder = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="backfill_assets-open-"))
    (folder / "pg").mkdir()
    for opened in (folder, folder / "pg"):
        opened.chmod(0o755)
    server = EmbeddedPostgres(folder / "pg", durable=False)
    try:
        with server:
            assert not (folder / "pg" / "cluster").is_symlink()
            assert stat.S_IMODE((folder / "pg" / "cluster").stat().st_mode) == 0o700
    finally:
        server.remove()
        folder.rmdir()


@as_root
def test_reach_follows_the_bits_of_owner_group_and_others(tmp_path: Path) -> None:
    account = Account(uid=12345, gid=54321)
    folder = Path("/var/tmp") / f"backfill_assets-reach-{os.getpid()}"
    folder.mkdir()
    try:
        for owner, group, mode, reached in [
            (0, 0, 0o711, True),
            (0, 0, 0o770, False),
            (0, 54321, 0o710, True),
            (0, 54321, 0o701, False),
            (12345, 0, 0o700, True),
            (12345, 0, 0o077, False),
        ]:
            folder.chmod(mode)
            os.chown(folder, owner, group)
            assert can_reach(account, folder) is reached
    finally:
        folder.rmdir()
