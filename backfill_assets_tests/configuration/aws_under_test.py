"""A table `TenantServices` and secrets in the stand-in for AWS, for the tests of the settings."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from boto3.dynamodb.types import TypeSerializer

from backfill_assets.errors import ConfigurationError
from backfill_assets.settings import Settings, load_settings
from backfill_assets_tests.configuration.settings_under_test import DESK, DESK_ADDRESS, TODAY

if TYPE_CHECKING:
    from backfill_assets_tests.adapters.aws.server import Aws

HELD = {"company_id": "acme-inc", "private_key": "hush-hush"}


@dataclass(frozen=True, kw_only=True)
class Installation:
    """One installation's table and secrets, apart from all others on the same server by its environment's name."""

    aws: "Aws"
    environment: str

    @classmethod
    def on(cls, aws: "Aws") -> "Installation":
        """A new one, whose table is empty."""
        made = cls(aws=aws, environment=uuid4().hex)
        keys = [("tenant_id", "HASH"), ("service", "RANGE")]
        aws.client("dynamodb").create_table(
            TableName=made.table,
            KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in keys],
            BillingMode="PAY_PER_REQUEST",
        )
        return made

    @property
    def table(self) -> str:
        return f"TenantServices-{self.environment}"

    def put(self, **item: Any) -> None:
        """Put an item of either shape; a tenant of the nested shape needs a sort key all the same."""
        plain = {"service": "all", **item}
        written = {name: TypeSerializer().serialize(value) for name, value in plain.items()}
        self.aws.client("dynamodb").put_item(TableName=self.table, Item=written)

    def desk(self, tenant: str = "acme", **item: Any) -> None:
        """Put a flat item of a tenant's desk, on and with an address unless told otherwise."""
        self.put(**{"tenant_id": tenant, "service": "desk", "enabled": True, "desk_url": DESK_ADDRESS, **item})

    def secret(self, name: str, content: object) -> str:
        """Keep this, a text as it is and anything else as JSON; the name in full."""
        name = f"{name}/{self.environment}"
        text = content if isinstance(content, str) else json.dumps(content)
        self.aws.client("secretsmanager").create_secret(Name=name, SecretString=text)
        return name

    def load(self, environ: Mapping[str, str] | None = None) -> Settings:
        """Load the settings of this installation."""
        said = {"BACKFILL_TENANT_SOURCE": "dynamodb", "BACKFILL_TENANT_SERVICES_TABLE": self.table}
        return load_settings({**said, **(environ or {})}, builtin={"desk": DESK}, today=TODAY)

    def refusal(self, environ: Mapping[str, str] | None = None) -> str:
        """The sentence with which loading is refused."""
        with pytest.raises(ConfigurationError) as refused:
            self.load(environ)
        return str(refused.value)
