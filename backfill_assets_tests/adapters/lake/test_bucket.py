"""What is peculiar to a lake in S3: what goes wrong is told with bucket, key and what to do, and without a secret."""

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from backfill_assets.adapters.lake.bucket import Bucket
from backfill_assets.adapters.lake.raw import RawLake
from backfill_assets.adapters.lake.storage import Storage
from backfill_assets.adapters.state.schema import initialise
from backfill_assets.errors import BackfillError, CredentialRefused, PermanentError, SourceUnreachable, TransientError
from backfill_assets.resources import open_wiring
from backfill_assets.settings import load_settings
from backfill_assets_tests.adapters.lake.tables import DAY, MIDNIGHT, TABLE, content, lake_on, merge, row
from backfill_assets_tests.configuration.settings_under_test import DESK, TODAY

if TYPE_CHECKING:
    from backfill_assets_tests.adapters.aws.server import Aws

ANYTHING = pa.py_buffer(b"x")


def refusals(url: str, kind: type[BackfillError], *, endpoint_url: str | None = None) -> list[str]:
    """The sentences with which reading, listing and writing are refused."""
    storage = Bucket.open(url, endpoint_url=endpoint_url)
    sentences = []
    for ask in (
        lambda: storage.read("a/x.parquet"),
        lambda: storage.names("a"),
        lambda: storage.oldest_write("a"),
        lambda: storage.put("a/x.parquet", ANYTHING, seen=None),
    ):
        with pytest.raises(kind) as refused:
            ask()
        sentences.append(str(refused.value))
    return sentences


def test_a_bucket_that_does_not_exist_is_told(bucket: str) -> None:
    what_to_do = "there is no bucket gone; create it, or let BACKFILL_LAKE_ROOT name another"
    assert refusals("s3://gone/lake", PermanentError) == [
        f"s3://gone/lake/a/x.parquet cannot be read: {what_to_do}",
        f"s3://gone/lake/a/ cannot be listed: {what_to_do}",
        f"s3://gone/lake/a/ cannot be listed: {what_to_do}",
        f"s3://gone/lake/a/x.parquet cannot be written: {what_to_do}",
    ]


def test_a_user_without_the_right_is_told_which_one_it_takes(
    aws: "Aws", bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", aws.guest.key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", aws.guest.secret)
    read, listed, _, written = refusals(f"s3://{bucket}", CredentialRefused)
    why = "the credential may not do that (AccessDenied); allow it"
    assert read == f"s3://{bucket}/a/x.parquet cannot be read: {why} s3:GetObject and s3:ListBucket on bucket {bucket}"
    assert listed == f"s3://{bucket}/a/ cannot be listed: {why} s3:ListBucket on bucket {bucket}"
    assert written == f"s3://{bucket}/a/x.parquet cannot be written: {why} s3:PutObject on bucket {bucket}"


@pytest.mark.parametrize(
    ("variable", "code"),
    [("AWS_SECRET_ACCESS_KEY", "SignatureDoesNotMatch"), ("AWS_ACCESS_KEY_ID", "InvalidAccessKeyId")],
)
def test_a_wrong_key_is_told_and_not_shown(
    bucket: str, monkeypatch: pytest.MonkeyPatch, variable: str, code: str
) -> None:
    monkeypatch.setenv(variable, "hush-hush")
    for sentence in refusals(f"s3://{bucket}", CredentialRefused):
        assert f"the credential is not accepted ({code}); check AWS_ACCESS_KEY_ID" in sentence
        assert "hush" not in sentence


def test_no_key_at_all_is_told(aws: "Aws", bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(variable)
    # boto3 would go on looking in the home of whoever runs the tests.
    for variable in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(variable, "/nowhere")
    for sentence in refusals(f"s3://{bucket}", CredentialRefused):
        assert "no AWS credential was found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give" in sentence


def test_an_endpoint_that_cannot_be_reached_is_told_by_its_host(bucket: str) -> None:
    for sentence in refusals(f"s3://{bucket}", SourceUnreachable, endpoint_url="http://127.0.0.1:1"):
        assert sentence.endswith("127.0.0.1 cannot be reached; check the network, the region and the endpoint")


def test_a_store_that_speaks_s3_is_reached_by_its_endpoint(
    aws: "Aws", bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    # By a name: such a store knows its buckets as paths, not as hosts below its own.
    storage = Bucket.open(f"s3://{bucket}/", endpoint_url=aws.endpoint.replace("127.0.0.1", "localhost"))
    assert merge(lake_on(storage), row(1)) == (1, 0)
    assert merge(lake_on(Bucket.open(f"s3://{bucket}", endpoint_url=aws.endpoint)), row(1)) == (0, 0)


def test_the_settings_lead_to_the_bucket(bucket: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    initialise(url)
    environ = {"BACKFILL_LAKE_ROOT": f"s3://{bucket}/lake", "BACKFILL_DATABASE_URL": url}
    settings = load_settings(environ, builtin={"desk": DESK}, today=TODAY)
    with open_wiring(settings) as wiring:
        assert merge(wiring.lake, row(1)) == (1, 0)
    assert list(lake_on(Bucket.open(f"s3://{bucket}/lake")).versions(TABLE)) == [(1, MIDNIGHT)]


class Overtaken(Bucket):
    """A bucket in which another writer is faster, `times` times."""

    times = 0

    def put(self, name: str, content: pa.Buffer, *, seen: str | None) -> bool:
        if self.times > 0:
            self.times -= 1
            merge(lake_on(self.other), row(100 + self.times))
        return super().put(name, content, seen=seen)

    @property
    def other(self) -> Storage:
        return Bucket(self._client, bucket=self._bucket, prefix=self._prefix)


@pytest.fixture
def overtaken(bucket: str) -> Overtaken:
    storage = Overtaken.open(f"s3://{bucket}/lake")
    assert isinstance(storage, Overtaken)
    return storage


def test_who_was_overtaken_reads_again_and_merges_again(overtaken: Overtaken) -> None:
    pauses: list[float] = []
    lake = RawLake(overtaken, lock=lake_on(overtaken)._lock, sleep=pauses.append, random=lambda: 1.0)
    merge(lake, row(1))
    overtaken.times = 3
    assert merge(lake, row(2)) == (1, 0)
    assert [r["id"] for r in content(overtaken)] == [1, 2, 100, 101, 102]
    assert pauses == [0.05, 0.1, 0.2]


def test_who_is_overtaken_each_time_gives_up_and_loses_nothing(overtaken: Overtaken) -> None:
    lake = RawLake(overtaken, lock=lake_on(overtaken)._lock, sleep=lambda seconds: None)
    overtaken.times = 1000
    with pytest.raises(TransientError) as given_up:
        merge(lake, row(2))
    assert str(given_up.value) == (
        f"another writer was faster each of the 12 times that {lake.place(TABLE, DAY)} was merged; try again"
    )
    assert len(content(overtaken)) == 12
