"""The DynamoDB table `LastUpdated`: what an item looks like, and that it never goes back."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from backfill_assets.adapters.aws.last_updated import LastUpdated
from backfill_assets.errors import BackfillError

if TYPE_CHECKING:
    from backfill_assets_tests.adapters.aws.server import Aws

NOW = datetime(2025, 6, 18, 12, tzinfo=UTC)
MOMENT = datetime(2025, 6, 18, 11, 45, tzinfo=UTC)


@pytest.fixture
def table(aws: "Aws", monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty table, which this process has the keys to."""
    for name, value in aws.environ().items():
        monkeypatch.setenv(name, value)
    made = f"LastUpdated-{uuid4().hex}"
    keys = [("tenant_id", "HASH"), ("table_name", "RANGE")]
    aws.client("dynamodb").create_table(
        TableName=made,
        KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in keys],
        BillingMode="PAY_PER_REQUEST",
    )
    return made


def publish(table: str, moment: datetime) -> None:
    LastUpdated(table, clock=lambda: NOW).publish("acme", "service/tickets", moment)


def items(aws: "Aws", table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = aws.client("dynamodb").scan(TableName=table)["Items"]
    return found


def test_an_item_has_the_four_texts_that_other_programs_read(aws: "Aws", table: str) -> None:
    publish(table, MOMENT)
    assert items(aws, table) == [
        {
            "tenant_id": {"S": "acme"},
            "table_name": {"S": "service/tickets"},
            "last_updated": {"S": "2025-06-18T11:45:00.000000Z"},
            "updated_at": {"S": "2025-06-18T12:00:00.000000Z"},
        }
    ]


def test_a_watermark_moves_on_and_never_back(aws: "Aws", table: str) -> None:
    for minutes in (0, 10, -5, 10, 3):
        publish(table, MOMENT + timedelta(minutes=minutes))
    [item] = items(aws, table)
    assert item["last_updated"] == {"S": "2025-06-18T11:55:00.000000Z"}


def test_a_table_that_is_not_there_is_told_in_one_sentence(table: str) -> None:
    with pytest.raises(BackfillError) as refused:
        publish("Elsewhere", MOMENT)
    assert str(refused.value) == (
        "DynamoDB table Elsewhere cannot be written: there is no such table in this account and region; correct "
        "BACKFILL_LAST_UPDATED_TABLE or AWS_DEFAULT_REGION"
    )


def test_a_user_without_the_right_is_told_which_one_it_takes(
    aws: "Aws", table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in aws.environ(aws.guest).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BackfillError) as refused:
        publish(table, MOMENT)
    assert str(refused.value) == (
        f"DynamoDB table {table} cannot be written: the credential is refused (403); "
        f"check it, and allow it dynamodb:UpdateItem on table {table}"
    )
