"""Replacing a file so that nobody ever sees it missing, half written, or older than it was.

Here belongs the care for the disk; what is in a file belongs to `raw.py`, which files there are to `folder.py`.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pyarrow as pa

from backfill_assets.errors import PermanentError, TransientError

SUFFIX = ".draft"

Signature = tuple[int, int, int]
"""What tells whether a file is still the one that was read: inode, time of change, size."""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """New content of the file `path`, safe on the disk beside it; `seen` is the file that it was made from."""

    path: Path
    draft: Path
    seen: Signature | None

    def publish(self) -> None:
        """Take the place of the file; raises `TransientError` when another writer was at work meanwhile.

        Writers are kept apart by a lock, but one whose connection broke may have lost it without knowing. The other
        one has then replaced the file, or swept the draft away.
        """
        if signature(self.path) != self.seen or not self.draft.exists():
            self.discard()
            raise TransientError(f"another writer was at work while {self.path} was being merged; try again")
        self.draft.replace(self.path)

    def discard(self) -> None:
        """Delete what was not published."""
        self.draft.unlink(missing_ok=True)


def signature(path: Path) -> Signature | None:
    """What the file looks like from outside; None where there is none."""
    try:
        return signature_of(path.stat())
    except FileNotFoundError:
        return None


def signature_of(found: os.stat_result) -> Signature:
    """The signature of a file with this status."""
    return found.st_ino, found.st_mtime_ns, found.st_size


def write_draft(path: Path, content: pa.Buffer, *, seen: Signature | None) -> Draft:
    """Write new content aside and wait until it is on the disk."""
    draft = path.with_name(f"{path.stem}-{uuid4().hex}{SUFFIX}")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return Draft(path=path, draft=draft, seen=seen)


def sync_file(path: Path) -> None:
    """Wait until a file's content is on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def link_or_copy(path: Path, to: Path) -> None:
    """Let a new file `to` hold what the file holds now; where the disk can link, nothing is copied."""
    try:
        os.link(path, to)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(path, to)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, each safe on the disk."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sweep(folder: Path) -> None:
    """Delete what killed writers left."""
    for draft in folder.glob(f"*{SUFFIX}"):
        draft.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk: a replaced file is not there for good before that."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def refusal(path: Path, error: OSError) -> PermanentError:
    """An error of the disk, in a sentence."""
    return PermanentError(
        f"{path} could not be written ({error.strerror or error}); make room or give the right to write, then rerun"
    )
