"""The AI provider that the settings describe."""

import pytest

from backfill_assets.adapters.ai.prices import Price, price_of
from backfill_assets.configuration.ai import ai_provider
from backfill_assets.core.enrichment import Limits
from backfill_assets.errors import ConfigurationError
from backfill_assets.settings import load_settings

AZURE = {
    "BACKFILL_AI_PROVIDER": "azure_openai",
    "AZURE_OPENAI_ENDPOINT": "https://ours.openai.azure.com/",
    "AZURE_OPENAI_API_KEY": "azure-secret",
    "AZURE_OPENAI_DEPLOYMENT": "insights",
    "AZURE_OPENAI_EMBEDDING_DEPLOYMENT": "vectors",
}
OPENAI = {"BACKFILL_AI_PROVIDER": "openai", "OPENAI_API_KEY": "openai-secret"}


def test_offline_is_the_default_and_has_no_address() -> None:
    provider = ai_provider(load_settings({}))
    assert (provider.endpoint, provider.vector_dimensions) == (None, 384)


def test_azure_is_asked_at_its_deployments() -> None:
    endpoint = ai_provider(load_settings(AZURE)).endpoint
    assert endpoint
    base = "https://ours.openai.azure.com/openai/deployments"
    assert endpoint.chat == f"{base}/insights/chat/completions?api-version=2024-10-21"
    assert endpoint.embeddings == f"{base}/vectors/embeddings?api-version=2024-10-21"
    assert endpoint.headers == {"api-key": "azure-secret"}
    assert "azure-secret" not in repr(endpoint)


def test_openai_is_asked_with_a_bearer_key() -> None:
    endpoint = ai_provider(load_settings({**OPENAI, "OPENAI_BASE_URL": "http://127.0.0.1:8000/v1/"})).endpoint
    assert endpoint
    assert endpoint.chat == "http://127.0.0.1:8000/v1/chat/completions"
    assert endpoint.headers == {"Authorization": "Bearer openai-secret"}


def test_caps_and_prices_are_those_of_the_settings() -> None:
    said = {
        "BACKFILL_AI_BUDGET_USD": "12.50",
        "BACKFILL_AI_REQUESTS_PER_MINUTE": "600",
        "BACKFILL_AI_TOKENS_PER_MINUTE": "90000",
        "BACKFILL_AI_PRICES": '{"ours": {"sent": 0}, "gpt-4o": {"sent": 1, "received": 2.5}}',
    }
    provider = ai_provider(load_settings({**OPENAI, **said}))
    assert provider.limits == Limits(requests_per_minute=600, tokens_per_minute=90_000, dollars=12.5)
    assert price_of("ours", provider.prices) == Price(sent=0)
    assert price_of("gpt-4o", provider.prices) == Price(sent=1, received=2.5)
    assert price_of("gpt-4o-mini-2024-07-18", provider.prices) == Price(sent=0.15, received=0.6)


def test_a_model_without_a_price_names_the_setting() -> None:
    with pytest.raises(ConfigurationError, match=r"what the model ours costs.*set BACKFILL_AI_PRICES"):
        price_of("ours", {})


@pytest.mark.parametrize(
    "wrong", ["3", "{", '{"a": 1}', '{"a": {"sent": -1}}', '{"a": {"sent": 1, "cached": 1}}', "[]"]
)
def test_prices_that_are_none_are_refused(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match="BACKFILL_AI_PRICES must be a JSON object like"):
        load_settings({"BACKFILL_AI_PRICES": wrong})


@pytest.mark.parametrize(
    "wrong", ["ours.openai.azure.com", "ftp://host", "https://user:password@host", "https://h?a=1"]
)
def test_an_address_that_is_none_names_its_setting_and_no_password(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match="AZURE_OPENAI_ENDPOINT must look like") as caught:
        ai_provider(load_settings({**AZURE, "AZURE_OPENAI_ENDPOINT": wrong}))
    assert "password@" not in str(caught.value)


def test_the_offline_model_has_one_length_of_vectors() -> None:
    with pytest.raises(ConfigurationError, match="expected 1536, got 384"):
        _ = ai_provider(load_settings({"BACKFILL_AI_EMBEDDING_DIMENSIONS": "1536"})).vector_dimensions
