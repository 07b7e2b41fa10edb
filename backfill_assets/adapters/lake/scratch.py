"""A local folder to work in while one file of the lake is made, which does not outlive its process for long.

Here belongs how such a folder is made, kept and swept. What is done in it belongs to `canonical.py`, where it lies to
the storages.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

_PREFIX, _SUFFIX = ".backfill-", ".work"


@contextmanager
def scratch_in(parent: Path) -> Iterator[Path]:
    """An empty folder in `parent`, gone at the end; those that killed processes left there are deleted first.

    A folder is its process's as long as that holds it open and locked, which a kill ends.
    """
    for left in parent.glob(f"{_PREFIX}*{_SUFFIX}"):
        _delete_if_left(left)
    name = f"{_PREFIX}{uuid4().hex}"
    fresh, place = parent / name, parent / f"{name}{_SUFFIX}"
    fresh.mkdir(mode=0o700)
    descriptor = os.open(fresh, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # Named only now that it is locked: nobody else may take it for one that was left.
        fresh.rename(place)
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        os.close(descriptor)


def _delete_if_left(place: Path) -> None:
    # Another account's folder, or one that has just gone, is none of our business.
    with suppress(OSError):
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(place, ignore_errors=True)
        finally:
            os.close(descriptor)
