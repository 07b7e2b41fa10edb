"""What work orders need of the outside, opened from the settings: Snowflake, our tables, the provider, the scrubber.

Here belongs how settings become parts; what they do belongs to the adapters. Each is loaded when somebody asks for it.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from backfill_assets.adapters.state.database import StateDatabase
from backfill_assets.core.enriched import OrderTarget
from backfill_assets.core.orders import OrderSource
from backfill_assets.core.scrubbing import Scrubber
from backfill_assets.errors import ConfigurationError, UsageError
from backfill_assets.settings import Settings

if TYPE_CHECKING:
    from pydantic import SecretStr

    from backfill_assets.adapters.ai.opening import Opened, Provider

SCRUBBING_PROCESSES = 2
"""Each holds the model of names."""


def _switched_off() -> AbstractContextManager[OrderSource]:
    raise _off()


def _no_target() -> AbstractContextManager[OrderTarget]:
    raise _off()


def _no_provider() -> "AbstractAsyncContextManager[Opened]":
    raise _off()


def _no_scrubber() -> AbstractContextManager[Scrubber]:
    raise ConfigurationError("there is nothing that could scrub texts, so none may leave; no record was asked about")


def _off() -> UsageError:
    return UsageError("work orders are switched off; set BACKFILL_WORK_ORDERS_DATABASE_URL, and restart Dagster")


@dataclass(frozen=True, kw_only=True)
class OrderParts:
    """The parts; tests put their own in. Without a scrubber no text leaves."""

    source: Callable[[], AbstractContextManager[OrderSource]] = _switched_off
    target: Callable[[], AbstractContextManager[OrderTarget]] = _no_target
    provider: "Callable[[], AbstractAsyncContextManager[Opened]]" = _no_provider
    scrubber: Callable[[], AbstractContextManager[Scrubber]] = _no_scrubber


def order_parts(settings: Settings, state: StateDatabase) -> OrderParts:
    """The parts that the settings name."""
    if settings.work_orders_database_url is None:
        return OrderParts()
    url = settings.work_orders_database_url.get_secret_value()
    return OrderParts(
        source=partial(_source, settings),
        target=partial(_target, url),
        provider=partial(_opened, settings, state),
        scrubber=_scrubber,
    )


@contextmanager
def _source(settings: Settings) -> Iterator[OrderSource]:
    from backfill_assets.adapters.snowflake.connecting import Account
    from backfill_assets.adapters.snowflake.opening import open_source

    account = Account(
        account=settings.snowflake_account or "",
        user=settings.snowflake_user,
        authenticator=settings.snowflake_authenticator,
        password=_told(settings.snowflake_password),
        token=_told(settings.snowflake_token),
        warehouse=settings.snowflake_warehouse,
        database=settings.snowflake_database,
        schema=settings.snowflake_schema,
        role=settings.snowflake_role,
        host=settings.snowflake_host,
        port=settings.snowflake_port,
        protocol=settings.snowflake_protocol,
    )
    with open_source(account, table=settings.work_orders_table, columns=settings.work_orders_columns) as source:
        yield source


@contextmanager
def _target(url: str) -> Iterator[OrderTarget]:
    from backfill_assets.adapters.work_orders.opening import open_orders

    with open_orders(url) as target:
        yield target


@contextmanager
def _scrubber() -> Iterator[Scrubber]:
    from backfill_assets.adapters.pii.pool import PooledScrubber

    with PooledScrubber(processes=SCRUBBING_PROCESSES) as scrubber:
        yield scrubber


@asynccontextmanager
async def _opened(settings: Settings, state: StateDatabase) -> "AsyncIterator[Opened]":
    from backfill_assets.adapters.ai.opening import opened

    async with opened(provider_of(settings), state) as provider:
        yield provider


def provider_of(settings: Settings) -> "Provider":
    """The provider that the settings name; nothing is asked of it yet."""
    from backfill_assets.adapters.ai.endpoint import azure_openai, openai
    from backfill_assets.adapters.ai.opening import Provider
    from backfill_assets.core.enrichment import Limits

    endpoint = None
    if settings.ai_provider == "azure_openai":
        endpoint = azure_openai(
            endpoint=settings.azure_openai_endpoint or "",
            key=_told(settings.azure_openai_api_key) or "",
            api_version=settings.azure_openai_api_version,
            deployment=settings.azure_openai_deployment or "",
            embedding_deployment=settings.azure_openai_embedding_deployment or "",
        )
    elif settings.ai_provider == "openai":
        endpoint = openai(
            base_url=settings.openai_base_url,
            key=_told(settings.openai_api_key) or "",
            model=settings.ai_model,
            embedding_model=settings.ai_embedding_model,
        )
    return Provider(
        endpoint=endpoint,
        chat_model=settings.ai_model,
        embedding_model=settings.ai_embedding_model,
        dimensions=settings.ai_embedding_dimensions,
        limits=Limits(
            requests_per_minute=settings.ai_requests_per_minute,
            tokens_per_minute=settings.ai_tokens_per_minute,
            dollars=None if settings.ai_budget_usd is None else float(settings.ai_budget_usd),
        ),
    )


def _told(secret: "SecretStr | None") -> str | None:
    return None if secret is None else secret.get_secret_value()
