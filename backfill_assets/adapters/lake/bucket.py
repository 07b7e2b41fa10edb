"""The lake's files in an S3 bucket, or in one of a store that speaks S3's language.

Here belongs the storage interface on S3. An object is replaced whole, and only while it is the one that was read: the
store itself refuses (`If-Match`, `If-None-Match`) what another writer has replaced meanwhile.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from tempfile import gettempdir
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import pyarrow as pa
from botocore.exceptions import ClientError

from backfill_assets.adapters.aws.clients import s3_client
from backfill_assets.adapters.aws.refusals import code_of, told
from backfill_assets.adapters.lake.files import refusal
from backfill_assets.adapters.lake.scratch import scratch_in
from backfill_assets.adapters.lake.storage import Stored

_OVERTAKEN = {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "412", "409"}
"""Answers to a conditional write: the object is another one, is being written, or is gone."""

_PIECE = 1 << 20
"""Bytes in memory of an object that is fetched."""


class Bucket:
    """See `Storage`; objects below `prefix`, which is empty or ends with a slash."""

    def __init__(self, client: Any, *, bucket: str, prefix: str = "") -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix

    @classmethod
    def open(cls, url: str, *, endpoint_url: str | None = None) -> "Bucket":
        """The bucket that `s3://bucket[/prefix]` names; no request is made yet."""
        parts = urlsplit(url)
        prefix = parts.path.strip("/")
        with told(f"the lake at {url} cannot be opened", rights=""):
            client = s3_client(endpoint_url)
        return cls(client, bucket=parts.netloc, prefix=f"{prefix}/" if prefix else "")

    def place(self, name: str) -> str:
        """See `Storage.place`."""
        return f"s3://{self._bucket}/{self._prefix}{name}"

    def read(self, name: str) -> Stored | None:
        """See `Storage.read`."""
        with self._reading(name):
            found = self._get(name)
            return found and Stored(mark=found["ETag"], content=pa.py_buffer(found["Body"].read()))

    def fetch(self, name: str, path: Path) -> bool:
        """See `Storage.fetch`."""
        with self._reading(name):
            found = self._get(name)
            if found is None:
                return False
            with path.open("xb") as file:
                shutil.copyfileobj(found["Body"], file, _PIECE)
            return True

    def mark(self, name: str) -> str | None:
        """See `Storage.mark`."""
        with self._reading(name):
            try:
                found = self._client.head_object(Bucket=self._bucket, Key=self._prefix + name)
            except ClientError as error:
                # An answer without a body: it says neither key nor bucket.
                if code_of(error) == "404":
                    return None
                raise
            mark: str = found["ETag"]
            return mark

    @contextmanager
    def scratch(self, folder: str) -> Iterator[Path]:
        """See `Storage.scratch`; it lies where this machine keeps temporary files."""
        try:
            with scratch_in(Path(gettempdir())) as scratch:
                yield scratch
        except OSError as error:
            raise refusal(Path(gettempdir()), error) from error

    def put(self, name: str, content: pa.Buffer, *, seen: str | None) -> bool:
        """See `Batch.put`; what is put is in place at once."""
        return self._put(name, content.to_pybytes(), seen)

    def publish(self, name: str, path: Path, *, seen: str | None) -> bool:
        """See `Storage.publish`; in one request, because only that can be conditional, and so up to 5 GB."""
        with path.open("rb") as file:
            return self._put(name, file, seen)

    def _put(self, name: str, body: bytes | BinaryIO, seen: str | None) -> bool:
        condition = {"IfNoneMatch": "*"} if seen is None else {"IfMatch": seen}
        with self._told(name, "written", "s3:PutObject"):
            try:
                self._client.put_object(Bucket=self._bucket, Key=self._prefix + name, Body=body, **condition)
            except ClientError as error:
                if code_of(error) in _OVERTAKEN:
                    return False
                raise
        return True

    def names(self, folder: str) -> Sequence[str]:
        """See `Storage.names`."""
        begin = len(self._prefix)
        found = (entry["Key"][begin:] for entry in self._objects(folder))
        return sorted(name for name in found if "/" not in name[len(folder) + 1 :])

    def oldest_write(self, folder: str) -> datetime | None:
        """See `Storage.oldest_write`."""
        return min((entry["LastModified"] for entry in self._objects(folder)), default=None)

    def batch(self, folder: str) -> AbstractContextManager["Bucket"]:
        """See `Storage.batch`; nothing is left to do at its end, and a killed writer leaves nothing behind."""
        return nullcontext(self)

    def _get(self, name: str) -> Any | None:
        try:
            return self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)
        except ClientError as error:
            if code_of(error) == "NoSuchKey":
                return None
            raise

    def _reading(self, name: str) -> AbstractContextManager[None]:
        return self._told(name, "read", "s3:GetObject and s3:ListBucket")

    def _objects(self, folder: str) -> Iterator[Any]:
        with self._told(f"{folder}/", "listed", "s3:ListBucket"):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=f"{self._prefix}{folder}/"):
                yield from (entry for entry in page.get("Contents", ()) if entry["Key"].endswith(".parquet"))

    def _told(self, name: str, done: str, rights: str) -> AbstractContextManager[None]:
        return told(
            f"{self.place(name)} cannot be {done}",
            rights=f"{rights} on bucket {self._bucket}",
            absent=f"there is no bucket {self._bucket}; create it, or let BACKFILL_LAKE_ROOT name another",
        )
