"""The DynamoDB table `LastUpdated`, from which other programs learn from when on a table has to be read.

Here belongs one write: an item `{tenant_id, table_name, last_updated, updated_at}`, the table's name being the one that
its service gives it (`service/tickets`). Importing this brings in boto3.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import boto3
from botocore.exceptions import ClientError

from backfill_assets.adapters.aws.clients import SETTINGS_SECONDS, patience
from backfill_assets.adapters.aws.refusals import code_of, told
from backfill_assets.core.windows import utc_now, utc_text

SETTING = "BACKFILL_LAST_UPDATED_TABLE"


class LastUpdated:
    """Writes watermarks; one that is there already is only ever replaced by a later one."""

    def __init__(self, table: str, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._table = table
        self._clock = clock

    def publish(self, tenant: str, table: str, watermark: datetime) -> None:
        """Write the watermark of a tenant's table; raises a `BackfillError` whose sentence names the DynamoDB table."""
        with told(
            f"DynamoDB table {self._table} cannot be written",
            rights=f"dynamodb:UpdateItem on table {self._table}",
            absent=f"there is no such table in this account and region; correct {SETTING} or AWS_DEFAULT_REGION",
        ):
            try:
                self._client().update_item(**self._update(tenant, table, utc_text(watermark)))
            except ClientError as error:
                if code_of(error) != "ConditionalCheckFailedException":
                    raise

    def _update(self, tenant: str, table: str, watermark: str) -> dict[str, Any]:
        # Times of this form are ordered as texts are.
        return {
            "TableName": self._table,
            "Key": {"tenant_id": {"S": tenant}, "table_name": {"S": table}},
            "UpdateExpression": "SET last_updated = :watermark, updated_at = :now",
            "ConditionExpression": "attribute_not_exists(last_updated) OR last_updated < :watermark",
            "ExpressionAttributeValues": {":watermark": {"S": watermark}, ":now": {"S": utc_text(self._clock())}},
        }

    def _client(self) -> Any:
        return boto3.session.Session().client("dynamodb", config=patience(read_seconds=SETTINGS_SECONDS))
