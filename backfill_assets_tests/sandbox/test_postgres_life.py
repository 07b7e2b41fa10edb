"""The embedded server is started, killed, restarted and found again for real."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, text

from backfill_assets.sandbox.postgres import EmbeddedPostgres
from backfill_assets_tests.sandbox.postgres_questions import ask, data_folder, port_of, postmaster, processes

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


def test_starts_in_seconds(server: EmbeddedPostgres) -> None:
    server.start()
    server.stop()
    before = time.monotonic()
    server.start()
    assert time.monotonic() - before < 5
