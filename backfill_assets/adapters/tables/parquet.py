"""A folder or a bucket that rows are written to as Parquet, one file a batch, and a manifest that says which count.

Here belong the files and the place of a job. A file is named by the job, by how many rows came before and by the key
that it begins after, so that a batch which is written again replaces itself; where it ends is in the manifest. A file
that `_manifest.json` does not name does not count. There is no upsert: whoever reads takes the newest file of a key.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from backfill_assets.adapters.lake.storage import Storage
from backfill_assets.core.tables import Batch, Form, Load, OnConflict, Position, Short, Span, TableSource, Verdict
from backfill_assets.errors import PermanentError, TransientError

LONGEST = 60


class ParquetDestination:
    """See `TableDestination`."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def prepare(self, load: Load) -> None:
        """See `TableDestination.prepare`."""
        if not load.shape.key:
            raise PermanentError(f"{load.shape.full_name} has no key to go on from in a folder; give it one")
        if load.on_conflict is not OnConflict.OVERWRITE:
            raise PermanentError(f"files are only added, so {load.on_conflict} cannot be kept to; choose overwrite")

    def position(self, load: Load) -> Position:
        """See `TableDestination.position`."""
        kept = self._manifest(load)
        last = kept["last"]
        return Position(rows=kept["rows"], last=None if last is None else tuple(last), finished=kept["finished"])

    def copy(self, load: Load, source: TableSource) -> Iterator[Position]:
        """See `TableDestination.copy`."""
        position = self.position(load)
        if position.finished:
            return
        columns = [column.name for column in load.shape.columns]
        batches: Any = source.batches(load, columns=columns, form=Form.ARROW, after=position.last)
        with closing(batches):
            for batch in batches:
                position = self._write(load, batch, position)
                yield position
        kept = self._manifest(load)
        self._put(load, {**kept, "finished": True})

    def verify(self, load: Load, source: TableSource) -> Verdict:
        """See `TableDestination.verify`: whether the files of the job hold as many rows as were read."""
        kept = self._manifest(load)
        found = sum(self._rows(load, file["name"]) for file in kept["files"])
        missing = kept["rows"] - found
        short = (Short(span=Span(), missing=missing, different=0),) if missing > 0 else ()
        if short:
            # Run again, the job begins anew.
            self._put(load, _nothing(load))
        return Verdict(source_rows=source.count(load.shape, load.filter), short=short)

    def forget(self, job: str) -> None:
        """See `TableDestination.forget`; what a manifest says of its files stays, or they would not count."""

    def close(self) -> None:
        """See `TableDestination.close`."""

    def _write(self, load: Load, batch: Batch, position: Position) -> Position:
        name = f"{load.target}/{_file(load.job, position)}"
        content = pa.BufferOutputStream()
        pq.write_table(batch.content, content)
        with self._storage.batch(load.target) as files:
            self._replaced(files.put(name, content.getvalue(), seen=self._storage.mark(name)), name)
        after = Position(rows=position.rows + batch.rows, last=batch.last)
        kept = self._manifest(load)
        file = {"name": name, "rows": batch.rows, "after": position.last, "upto": batch.last}
        self._put(load, {**kept, "rows": after.rows, "last": after.last, "files": [*kept["files"], file]})
        return after

    def _rows(self, load: Load, name: str) -> int:
        stored = self._storage.read(name)
        return 0 if stored is None else int(pq.read_metadata(pa.BufferReader(stored.content)).num_rows)

    def _manifest(self, load: Load) -> dict[str, Any]:
        stored = self._storage.read(_manifest_of(load))
        if stored is None:
            return _nothing(load)
        kept: dict[str, Any] = json.loads(stored.content.to_pybytes())
        return kept

    def _put(self, load: Load, kept: dict[str, Any]) -> None:
        name = _manifest_of(load)
        with self._storage.batch(f"{load.target}/{_job(load.job)}") as files:
            content = pa.py_buffer(json.dumps(kept, indent=1).encode())
            self._replaced(files.put(name, content, seen=self._storage.mark(name)), name)

    def _replaced(self, done: bool, name: str) -> None:
        if not done:
            raise TransientError(f"another writer was at work on {self._storage.place(name)}; try again")


def _nothing(load: Load) -> dict[str, Any]:
    return {"job": load.job, "rows": 0, "last": None, "finished": False, "files": []}


def _job(job: str) -> str:
    return quote(job, safe="")


def _manifest_of(load: Load) -> str:
    return f"{load.target}/{_job(load.job)}/_manifest.json"


def _file(job: str, position: Position) -> str:
    key = "start" if position.last is None else quote("~".join(position.last), safe="")
    if len(key) > LONGEST:
        key = f"{key[:LONGEST]}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    return f"{_job(job)}-{position.rows:012d}-after-{key}.parquet"
