"""The AI provider as the settings describe it.

Here belongs only the translation; how settings are read belongs to `work_orders`, how a provider is asked to
`adapters/ai`.
"""

from pydantic import SecretStr

from backfill_assets.adapters.ai import endpoint
from backfill_assets.adapters.ai.endpoint import Endpoint
from backfill_assets.adapters.ai.http import Wire
from backfill_assets.adapters.ai.opening import Provider
from backfill_assets.configuration.work_orders import WorkOrderSettings
from backfill_assets.core.enrichment import Limits


def ai_provider(settings: WorkOrderSettings) -> Provider:
    """Which provider is asked, at what prices and within which limits."""
    return Provider(
        endpoint=_endpoint(settings),
        chat_model=settings.ai_model,
        embedding_model=settings.ai_embedding_model,
        dimensions=settings.ai_embedding_dimensions,
        limits=Limits(
            requests_per_minute=settings.ai_requests_per_minute,
            tokens_per_minute=settings.ai_tokens_per_minute,
            dollars=None if settings.ai_budget_usd is None else float(settings.ai_budget_usd),
        ),
        prices=settings.ai_prices,
        wire=Wire(at_once=settings.ai_requests_at_once),
    )


def _endpoint(settings: WorkOrderSettings) -> Endpoint | None:
    match settings.ai_provider:
        case "azure_openai":
            return endpoint.azure_openai(
                endpoint=settings.azure_openai_endpoint or "",
                key=_secret(settings.azure_openai_api_key),
                api_version=settings.azure_openai_api_version,
                deployment=settings.azure_openai_deployment or "",
                embedding_deployment=settings.azure_openai_embedding_deployment or "",
            )
        case "openai":
            return endpoint.openai(
                base_url=settings.openai_base_url,
                key=_secret(settings.openai_api_key),
                model=settings.ai_model,
                embedding_model=settings.ai_embedding_model,
            )
    return None


def _secret(value: SecretStr | None) -> str:
    return "" if value is None else value.get_secret_value()
