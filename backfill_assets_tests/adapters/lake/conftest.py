"""The storages that the tests of this folder run on."""

from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from backfill_assets.adapters.lake.opening import open_storage
from backfill_assets.adapters.lake.storage import Storage

if TYPE_CHECKING:
    from backfill_assets_tests.adapters.aws.server import Aws


@pytest.fixture
def bucket(aws: "Aws", monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an empty bucket, which this process has the keys to."""
    for name, value in aws.environ().items():
        monkeypatch.setenv(name, value)
    name = f"lake-{uuid4().hex}"
    where = {"LocationConstraint": aws.environ()["AWS_DEFAULT_REGION"]}
    aws.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration=where)
    return name


@pytest.fixture(params=["folder", "bucket"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """An empty storage of each kind."""
    if request.param == "folder":
        return open_storage(tmp_path / "lake")
    return open_storage(f"s3://{request.getfixturevalue('bucket')}/some/where")
