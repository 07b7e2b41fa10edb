"""Where root has the embedded server run under another account, and where nothing of that is needed."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from backfill_assets.errors import ConfigurationError
from backfill_assets.sandbox.postgres import EmbeddedPostgres
from backfill_assets.sandbox.postgres_home import Account, can_reach, hideaway_of, installed
from backfill_assets_tests.sandbox.postgres_questions import ask, postmaster

pytestmark = pytest.mark.root


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


def test_a_hideaway_that_was_deleted_is_not_taken_for_an_empty_database(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "pg", durable=False)
    server.start()
    server.stop()
    hideaway = hideaway_of(tmp_path / "pg")
    hideaway.rename(tmp_path / "gone")
    with pytest.raises(ConfigurationError, match="has been deleted"):
        server.start()
    server.remove()


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
