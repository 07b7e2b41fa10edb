"""The lake's files in a local folder.

Here belongs the storage interface on a disk; the care with which one file is replaced belongs to `files.py`.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from backfill_assets.adapters.lake.files import (
    Draft,
    Signature,
    link_or_copy,
    make_folder,
    refusal,
    signature,
    signature_of,
    sweep,
    sync_file,
    sync_folder,
    write_draft,
)
from backfill_assets.adapters.lake.scratch import scratch_in
from backfill_assets.adapters.lake.storage import Stored
from backfill_assets.errors import PermanentError


@dataclass(frozen=True, kw_only=True)
class _Drafts:
    """Writes new content aside; it takes its place when the batch ends."""

    root: Path
    drafts: list[Draft] = field(default_factory=list)

    def put(self, name: str, content: pa.Buffer, *, seen: Signature | None) -> bool:
        """See `Batch.put`; whether another writer was faster is seen at the end."""
        self.drafts.append(write_draft(self.root / name, content, seen=seen))
        return True

    def publish(self) -> None:
        """Put every draft in its place."""
        for draft in sorted(self.drafts, key=lambda draft: draft.path):
            draft.publish()

    def discard(self) -> None:
        """Delete those that were not put in place."""
        for draft in self.drafts:
            draft.discard()


class Folder:
    """See `Storage`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def place(self, name: str) -> str:
        """See `Storage.place`."""
        return str(self._root / name)

    def read(self, name: str) -> Stored | None:
        """See `Storage.read`."""
        path = self._root / name
        try:
            with path.open("rb") as file:
                return Stored(mark=signature_of(os.fstat(file.fileno())), content=pa.py_buffer(file.read()))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unreadable(path, error) from error

    def names(self, folder: str) -> Sequence[str]:
        """See `Storage.names`."""
        return sorted(f"{folder}/{entry.name}" for entry in _entries(self._root / folder) if _is_file_of_ours(entry))

    def oldest_write(self, folder: str) -> datetime | None:
        """See `Storage.oldest_write`."""
        folders = (entry for entry in _entries(self._root / folder) if entry.is_dir())
        files = (entry for found in folders for entry in _entries(Path(found)) if _is_file_of_ours(entry))
        oldest = min((entry.stat().st_mtime for entry in files), default=None)
        return None if oldest is None else datetime.fromtimestamp(oldest, UTC)

    @contextmanager
    def batch(self, folder: str) -> Iterator[_Drafts]:
        """See `Storage.batch`.

        Only the thread that ends the block puts files in place: an interrupt can give the caller's lock back while
        other threads still write.
        """
        place = self._root / folder
        drafts = _Drafts(root=self._root)
        try:
            make_folder(place)
            sweep(place)
            try:
                yield drafts
                drafts.publish()
            finally:
                drafts.discard()
            sync_folder(place)
        except OSError as error:
            raise refusal(place, error) from error

    def mark(self, name: str) -> Signature | None:
        """See `Storage.mark`."""
        return signature(self._root / name)

    @contextmanager
    def scratch(self, folder: str) -> Iterator[Path]:
        """See `Storage.scratch`; it lies in the folder itself, so that files can be linked and renamed."""
        place = self._root / folder
        try:
            make_folder(place)
            with scratch_in(place) as scratch:
                yield scratch
        except OSError as error:
            raise refusal(place, error) from error

    def fetch(self, name: str, path: Path) -> bool:
        """See `Storage.fetch`."""
        try:
            link_or_copy(self._root / name, path)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _unreadable(self._root / name, error) from error
        return True

    def publish(self, name: str, path: Path, *, seen: Signature | None) -> bool:
        """See `Storage.publish`."""
        target = self._root / name
        try:
            sync_file(path)
            if signature(target) != seen:
                return False
            path.replace(target)
            sync_folder(target.parent)
        except OSError as error:
            raise refusal(target, error) from error
        return True


def _unreadable(path: Path, error: OSError) -> PermanentError:
    return PermanentError(f"{path} cannot be read ({error.strerror}); give the right to read it, or restore it")


def _entries(place: Path) -> list[os.DirEntry[str]]:
    """What lies in a folder; nothing where there is none."""
    try:
        with os.scandir(place) as found:
            return list(found)
    except FileNotFoundError:
        return []
    except OSError as error:
        # Path.glob would call a folder that may not be read an empty one.
        raise PermanentError(f"{place} cannot be read ({error.strerror}); give the right to read it") from error


def _is_file_of_ours(entry: os.DirEntry[str]) -> bool:
    return entry.name.endswith(".parquet")
