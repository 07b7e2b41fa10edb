"""Settings of work orders: Snowflake, the target's database, the provider of answers and vectors, and the caps.

Here belongs how their variables are read and which of them need each other; they become a part of `settings`.
"""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Annotated, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from backfill_assets.adapters.ai.prices import Price
from backfill_assets.configuration.domains import WORK_ORDERS, names_domain
from backfill_assets.configuration.variables import Day, MaybePostgres, from_text, one_of, whole_number

WORK_ORDERS_DATABASE = "BACKFILL_WORK_ORDERS_DATABASE_URL"
PROVIDER = "BACKFILL_AI_PROVIDER"
AUTHENTICATOR = "SNOWFLAKE_AUTHENTICATOR"

Authenticator = Literal["snowflake", "externalbrowser", "oauth"]
Provider = Literal["azure_openai", "openai", "offline"]

SOURCE_COLUMNS = {
    "id": "notification_id",
    "text": "notification_text",
    "date": "created_at",
}
"""What the source calls the three columns that an order must have, where nothing else is said."""

_NEEDS = {
    "azure_openai": (
        "AZURE_OPENAI_ENDPOINT",
        "AZURE_OPENAI_API_KEY",
        "AZURE_OPENAI_DEPLOYMENT",
        "AZURE_OPENAI_EMBEDDING_DEPLOYMENT",
    ),
    "openai": ("OPENAI_API_KEY",),
    "offline": (),
}
_SIGN_IN = {"snowflake": ("SNOWFLAKE_USER", "SNOWFLAKE_PASSWORD"), "oauth": ("SNOWFLAKE_TOKEN",), "externalbrowser": ()}


def contradictions(said: Mapping[str, str]) -> Iterator[str]:
    """A sentence for everything that work orders lack, where their database is named or the domain is asked for."""
    if WORK_ORDERS_DATABASE not in said:
        if names_domain(said, WORK_ORDERS):
            yield f"BACKFILL_DOMAINS names {WORK_ORDERS}, but {WORK_ORDERS_DATABASE} is not set; it names the target"
        return
    authenticator = said.get(AUTHENTICATOR, "snowflake").lower()
    for name in ("SNOWFLAKE_ACCOUNT", *_SIGN_IN.get(authenticator, ())):
        if name not in said:
            yield f"{WORK_ORDERS_DATABASE} is set, but {name} is not; Snowflake is signed in to by {authenticator}"
    for name in _NEEDS.get(said.get(PROVIDER, "offline"), ()):
        if name not in said:
            yield f"{PROVIDER} is {said[PROVIDER]}, but {name} is not set"


def _dollars(text: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or amount < 0:
        raise ValueError("must be an amount of dollars like 25 or 12.50")
    return amount


def _prices(text: str) -> Mapping[str, Price]:
    """Parse `{"<model>": {"sent": 2.5, "received": 10}, ...}`."""
    try:
        return {model: Price(**each) for model, each in json.loads(text).items()}
    except (ValueError, AttributeError, TypeError):
        raise ValueError(
            'must be a JSON object like {"gpt-4o": {"sent": 2.5, "received": 10}}: dollars for a million tokens'
        ) from None


def _columns(text: str) -> Mapping[str, str]:
    """Parse `{"id": "...", "text": "...", "date": "...", "<our column>": "<theirs>", ...}`."""
    try:
        named = json.loads(text)
    except ValueError:
        named = None
    if not isinstance(named, dict) or not all(isinstance(name, str) and name for name in named.values()):
        raise ValueError('must be a JSON object of column names like {"id": "order_no", "text": "long_text"}')
    return {**SOURCE_COLUMNS, **named}


def _table(text: str) -> str:
    if not re.fullmatch(r'([A-Za-z_][A-Za-z0-9_$]*|"[^"]+")(\.([A-Za-z_][A-Za-z0-9_$]*|"[^"]+")){0,2}', text):
        raise ValueError("must be a table's name like ORDERS or DATABASE.SCHEMA.ORDERS")
    return text


class WorkOrderSettings(BaseSettings):
    """Where orders come from and go to, who reads them, and what that may cost.

    `work_orders_start` is the first day of history: months are shown from it. Amounts are US dollars; None is no cap.
    """

    work_orders_database_url: MaybePostgres = Field(None, validation_alias=WORK_ORDERS_DATABASE)
    work_orders_start: Day = Field(date(2020, 1, 1), validation_alias="BACKFILL_WORK_ORDERS_START_DATE")
    work_orders_table: Annotated[str, from_text(_table)] = Field(
        "notification_text", validation_alias="BACKFILL_WORK_ORDERS_TABLE"
    )
    work_orders_columns: Annotated[Mapping[str, str], from_text(_columns)] = Field(
        SOURCE_COLUMNS, validation_alias="BACKFILL_WORK_ORDERS_COLUMNS"
    )
    work_orders_batch_size: Annotated[int, whole_number(1, 100_000)] = Field(
        1000, validation_alias="BACKFILL_WORK_ORDERS_BATCH_SIZE"
    )

    snowflake_account: str | None = Field(None, validation_alias="SNOWFLAKE_ACCOUNT")
    snowflake_user: str | None = Field(None, validation_alias="SNOWFLAKE_USER")
    snowflake_password: SecretStr | None = Field(None, validation_alias="SNOWFLAKE_PASSWORD")
    snowflake_authenticator: Annotated[Authenticator, one_of("snowflake", "externalbrowser", "oauth")] = Field(
        "snowflake", validation_alias=AUTHENTICATOR
    )
    snowflake_token: SecretStr | None = Field(None, validation_alias="SNOWFLAKE_TOKEN")
    snowflake_warehouse: str | None = Field(None, validation_alias="SNOWFLAKE_WAREHOUSE")
    snowflake_database: str | None = Field(None, validation_alias="SNOWFLAKE_DATABASE")
    snowflake_schema: str | None = Field(None, validation_alias="SNOWFLAKE_SCHEMA")
    snowflake_role: str | None = Field(None, validation_alias="SNOWFLAKE_ROLE")
    snowflake_host: str | None = Field(None, validation_alias="SNOWFLAKE_HOST")
    snowflake_port: Annotated[int | None, whole_number(1, 65_535)] = Field(None, validation_alias="SNOWFLAKE_PORT")
    snowflake_protocol: Annotated[Literal["https", "http"], one_of("https", "http")] = Field(
        "https", validation_alias="SNOWFLAKE_PROTOCOL"
    )

    ai_provider: Annotated[Provider, one_of("azure_openai", "openai", "offline")] = Field(
        "offline", validation_alias=PROVIDER
    )
    ai_model: str = Field("gpt-4o", validation_alias="BACKFILL_AI_MODEL")
    ai_embedding_model: str = Field("text-embedding-3-small", validation_alias="BACKFILL_AI_EMBEDDING_MODEL")
    ai_embedding_dimensions: Annotated[int | None, whole_number(1, 16_000)] = Field(
        None, validation_alias="BACKFILL_AI_EMBEDDING_DIMENSIONS"
    )
    ai_budget_usd: Annotated[Decimal | None, from_text(_dollars)] = Field(
        None, validation_alias="BACKFILL_AI_BUDGET_USD"
    )
    ai_prices: Annotated[Mapping[str, Price], from_text(_prices)] = Field(
        default_factory=dict, validation_alias="BACKFILL_AI_PRICES"
    )
    ai_requests_per_minute: Annotated[int | None, whole_number(1, 10**9)] = Field(
        None, validation_alias="BACKFILL_AI_REQUESTS_PER_MINUTE"
    )
    ai_tokens_per_minute: Annotated[int | None, whole_number(1, 10**12)] = Field(
        None, validation_alias="BACKFILL_AI_TOKENS_PER_MINUTE"
    )
    ai_requests_at_once: Annotated[int, whole_number(1, 1000)] = Field(
        64, validation_alias="BACKFILL_AI_REQUESTS_AT_ONCE"
    )
    azure_openai_endpoint: str | None = Field(None, validation_alias="AZURE_OPENAI_ENDPOINT")
    azure_openai_api_key: SecretStr | None = Field(None, validation_alias="AZURE_OPENAI_API_KEY")
    azure_openai_api_version: str = Field("2024-10-21", validation_alias="AZURE_OPENAI_API_VERSION")
    azure_openai_deployment: str | None = Field(None, validation_alias="AZURE_OPENAI_DEPLOYMENT")
    azure_openai_embedding_deployment: str | None = Field(None, validation_alias="AZURE_OPENAI_EMBEDDING_DEPLOYMENT")
    openai_api_key: SecretStr | None = Field(None, validation_alias="OPENAI_API_KEY")
    openai_base_url: str = Field("https://api.openai.com/v1", validation_alias="OPENAI_BASE_URL")
