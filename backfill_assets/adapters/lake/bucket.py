"""The lake's files in an S3 bucket, or in one of a store that speaks S3's language.

Here belongs the storage interface on S3. An object is replaced whole, and only while it is the one that was read: the
store itself refuses (`If-Match`, `If-None-Match`) what another writer has replaced meanwhile.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
from botocore.exceptions import ClientError

from backfill_assets.adapters.aws.clients import s3_client
from backfill_assets.adapters.aws.refusals import code_of, told
from backfill_assets.adapters.lake.storage import Stored

_OVERTAKEN = {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "412", "409"}
"""Answers to a conditional write: the object is another one, is being written, or is gone."""


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
        with self._told(name, "read", "s3:GetObject and s3:ListBucket"):
            try:
                found = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)
            except ClientError as error:
                if code_of(error) == "NoSuchKey":
                    return None
                raise
            return Stored(mark=found["ETag"], content=pa.py_buffer(found["Body"].read()))

    def put(self, name: str, content: pa.Buffer, *, seen: str | None) -> bool:
        """See `Batch.put`; what is put is in place at once."""
        condition = {"IfNoneMatch": "*"} if seen is None else {"IfMatch": seen}
        with self._told(name, "written", "s3:PutObject"):
            try:
                self._client.put_object(
                    Bucket=self._bucket, Key=self._prefix + name, Body=content.to_pybytes(), **condition
                )
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
