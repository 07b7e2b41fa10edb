"""What the settings of table backfill and of work orders take and refuse, and that no secret is told."""

from decimal import Decimal

import pytest

from backfill_assets.errors import ConfigurationError
from backfill_assets.settings import load_settings

DATABASE = "postgresql://someone:hidden@localhost/orders"
SNOWFLAKE = {
    "BACKFILL_WORK_ORDERS_DATABASE_URL": DATABASE,
    "SNOWFLAKE_ACCOUNT": "acme",
    "SNOWFLAKE_USER": "reader",
    "SNOWFLAKE_PASSWORD": "hidden",
}


def test_reads_what_work_orders_say() -> None:
    settings = load_settings(
        {
            **SNOWFLAKE,
            "BACKFILL_WORK_ORDERS_COLUMNS": '{"id": "order_no"}',
            "BACKFILL_AI_BUDGET_USD": "12.50",
            "SNOWFLAKE_PORT": "8443",
        }
    )
    assert settings.work_orders_columns == {"id": "order_no", "text": "notification_text", "date": "created_at"}
    assert (settings.ai_budget_usd, settings.snowflake_port) == (Decimal("12.50"), 8443)
    assert "hidden" not in f"{settings!r} {settings.model_dump()}"


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"BACKFILL_QUEUE_DATABASE_URL": "sqlite:///queue"}, "must be PostgreSQL"),
        ({"BACKFILL_TABLE_BATCH_SIZE": "0"}, "whole number from 1 to 1000000"),
        ({"BACKFILL_AI_BUDGET_USD": "NaN"}, "must be an amount of dollars"),
        ({"BACKFILL_AI_BUDGET_USD": "-1"}, "must be an amount of dollars"),
        ({"BACKFILL_WORK_ORDERS_TABLE": "orders; drop table x"}, "must be a table's name"),
        ({"BACKFILL_WORK_ORDERS_COLUMNS": "[]"}, "must be a JSON object of column names"),
        ({"BACKFILL_WORK_ORDERS_DATABASE_URL": DATABASE}, "SNOWFLAKE_ACCOUNT is not"),
        ({**SNOWFLAKE, "SNOWFLAKE_AUTHENTICATOR": "oauth"}, "SNOWFLAKE_TOKEN is not"),
        ({**SNOWFLAKE, "SNOWFLAKE_AUTHENTICATOR": "magic"}, "must be snowflake, externalbrowser or oauth"),
        ({**SNOWFLAKE, "BACKFILL_AI_PROVIDER": "openai"}, "OPENAI_API_KEY is not set"),
        ({**SNOWFLAKE, "BACKFILL_AI_PROVIDER": "azure_openai"}, "AZURE_OPENAI_DEPLOYMENT is not set"),
    ],
)
def test_refuses_in_a_sentence(said: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence) as refused:
        load_settings(said)
    assert "hidden" not in str(refused.value)
