"""What keeps the lake's files: a local folder or an S3 bucket, behind one interface.

Here belongs the interface. A file is named by its path below the root, with `/` between the levels. No implementation
knows what is in a file, and none ever shows one that is half written.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A file as it was read; `mark` is what its storage tells it by from every other content of that name."""

    content: pa.Buffer
    mark: Any


class Batch(Protocol):
    """Files of one folder that are being replaced; may be used by several threads at once."""

    def put(self, name: str, content: pa.Buffer, *, seen: Any | None) -> bool:
        """Replace the file that had the mark `seen`, or with None make one that is not there yet.

        False means that another writer was faster: the file is not what was seen any more, and stays as it is.
        """
        ...


class Storage(Protocol):
    """Keeps files; every method raises a `BackfillError` whose sentence names the place."""

    def place(self, name: str) -> str:
        """The file's path or URL, for a person and for programs that read the lake."""
        ...

    def read(self, name: str) -> Stored | None:
        """The whole file; None where there is none."""
        ...

    def names(self, folder: str) -> Sequence[str]:
        """The Parquet files that lie in the folder itself, sorted."""
        ...

    def oldest_write(self, folder: str) -> datetime | None:
        """When the oldest Parquet file in the folders of this folder was written; None where there is none."""
        ...

    def batch(self, folder: str) -> AbstractContextManager[Batch]:
        """Replace files of the folder; all of them are safely in place when the block ends.

        Raises `TransientError` at the end where only then it is seen that another writer was faster.
        """
        ...

    def mark(self, name: str) -> Any | None:
        """What the file is told by from every other content of that name; None where there is none."""
        ...

    def scratch(self, folder: str) -> AbstractContextManager[Path]:
        """An empty local folder in which a file of this folder can be made; it is gone when the block ends."""
        ...

    def fetch(self, name: str, path: Path) -> bool:
        """Let a new file `path` of a scratch hold what this file holds now, and go on holding it; False without one.

        The path is only to be read: it may be the file itself, which others replace but nobody changes.
        """
        ...

    def publish(self, name: str, path: Path, *, seen: Any | None) -> bool:
        """Like `Batch.put` with the content of a file of a scratch, however large, and in place at once."""
        ...
