"""Reading a whole DynamoDB table.

Here belongs the scan; what an item means belongs to whoever asks.
"""

from collections.abc import Mapping
from typing import Any

import boto3
from boto3.dynamodb.types import TypeDeserializer

from backfill_assets.adapters.aws.clients import SETTINGS_SECONDS, patience
from backfill_assets.adapters.aws.refusals import told

Item = Mapping[str, Any]


def scan(table: str, *, setting: str) -> list[Item]:
    """Every item, page by page, as plain values (a number is a `Decimal`); `setting` says where the name is set.

    Raises a `BackfillError` whose sentence names the table: a table that cannot be read is never an empty one.
    """
    with told(
        f"DynamoDB table {table} cannot be read",
        rights=f"dynamodb:Scan on table {table}",
        absent=f"there is no such table in this account and region; correct {setting} or AWS_DEFAULT_REGION",
    ):
        client = boto3.session.Session().client("dynamodb", config=patience(read_seconds=SETTINGS_SECONDS))
        pages = client.get_paginator("scan").paginate(TableName=table)
        return [_plain(item) for page in pages for item in page["Items"]]


def _plain(item: Mapping[str, Any]) -> Item:
    plain = TypeDeserializer().deserialize
    return {name: plain(value) for name, value in item.items()}
