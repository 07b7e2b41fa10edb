"""Locks between threads and real processes, on both kinds of database."""

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, text

from backfill_assets.adapters.state.database import StateDatabase
from backfill_assets.adapters.state.schema import initialise
from backfill_assets.errors import TransientError

HOLD = """
import sys, time
from backfill_assets.adapters.state.database import StateDatabase
with StateDatabase.open(sys.argv[1]) as state, state.lock(sys.argv[2]):
    print("held", flush=True)
    time.sleep(60)
"""

COUNT = """
import sys
from pathlib import Path
from backfill_assets.adapters.state.database import StateDatabase
inside, total = Path(sys.argv[2], "inside"), Path(sys.argv[2], "total")
with StateDatabase.open(sys.argv[1]) as state:
    for _ in range(int(sys.argv[3])):
        with state.lock("merge"):
            inside.touch(exist_ok=False)
            total.write_text(str(int(total.read_text()) + 1))
            inside.unlink()
"""


def start_holder(url: str, name: str) -> subprocess.Popen[str]:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, url, name], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_two_processes_are_never_inside_at_once(state_url: str, tmp_path: Path) -> None:
    (tmp_path / "total").write_text("0")
    counters = [
        subprocess.Popen([sys.executable, "-c", COUNT, state_url, str(tmp_path), "40"], stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    assert [x.communicate()[1] for x in counters] == [b"", b""]
    assert (tmp_path / "total").read_text() == "80"


def test_threads_are_never_inside_at_once(state: StateDatabase) -> None:
    inside = threading.Lock()

    def enter(_: int) -> bool:
        with state.lock("merge"):
            alone = inside.acquire(blocking=False)
            time.sleep(0.005)
            inside.release()
            return alone

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(enter, range(24)))


def test_waits_for_its_holder_longer_than_one_round(state: StateDatabase) -> None:
    def hold() -> None:
        with state.lock("merge"):
            held.set()
            time.sleep(1.5)

    held = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        holder = pool.submit(hold)
        held.wait()
        before = time.monotonic()
        with state.lock("merge"):
            assert time.monotonic() - before > 1.2
        holder.result()


def test_a_killed_holder_frees_its_lock(state: StateDatabase, state_url: str) -> None:
    holder = start_holder(state_url, "merge")
    before = time.monotonic()
    end(holder)
    with state.lock("merge"):
        assert time.monotonic() - before < 2


def test_is_freed_when_the_work_inside_fails(state: StateDatabase) -> None:
    with pytest.raises(ZeroDivisionError), state.lock("merge"):
        _ = 1 / 0
    with state.lock("merge"):
        pass


def test_a_holder_can_write_to_the_state(state: StateDatabase) -> None:
    """On SQLite a holder that locked the database itself would wait for itself."""
    with state.lock("merge"):
        state.switches.note({("acme", "connectwise"): True}, datetime(2024, 5, 1, tzinfo=UTC))
        assert state.switches.seen().get(("acme", "connectwise")) is True


def test_one_thread_may_hold_several_names_but_none_twice(state: StateDatabase) -> None:
    with state.lock("merge"), state.lock("build"), pytest.raises(RuntimeError, match="'merge' already"):
        state.lock("merge").__enter__()
    with state.lock("merge"):
        pass


def test_on_postgres_other_names_do_not_wait(database_url: str) -> None:
    initialise(database_url)
    holder = start_holder(database_url, "merge a")
    try:
        before = time.monotonic()
        with StateDatabase.open(database_url) as state, state.lock("merge b"):
            assert time.monotonic() - before < 1
    finally:
        end(holder)


def test_on_postgres_a_lock_whose_connection_broke_is_not_said_to_be_held(database_url: str) -> None:
    initialise(database_url)
    others = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    engine = create_engine(database_url, poolclass=NullPool)
    with StateDatabase.open(database_url) as state:
        with (
            pytest.raises(TransientError, match="closed the connection"),
            state.lock("merge"),
            engine.connect() as connection,
        ):
            connection.execute(text(others))
        with state.lock("merge"):
            pass
    engine.dispose()
