"""Which storage a lake's root names.

Here belongs the choice between the implementations, and that boto3 is loaded by those only who need it.
"""

from pathlib import Path

from backfill_assets.adapters.lake.folder import Folder
from backfill_assets.adapters.lake.storage import Storage


def open_storage(root: Path | str, *, endpoint_url: str | None = None) -> Storage:
    """The folder at this path, or the bucket of this `s3://bucket[/prefix]`; nothing is read or made yet."""
    if isinstance(root, Path):
        return Folder(root)
    from backfill_assets.adapters.lake.bucket import Bucket

    return Bucket.open(root, endpoint_url=endpoint_url)
