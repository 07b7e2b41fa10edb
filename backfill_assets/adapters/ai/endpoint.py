"""Where a provider is asked and how it wants to be addressed: Azure's deployments, and OpenAI's paths.

Values only; requests belong to `http`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx

from backfill_assets.errors import ConfigurationError

AZURE_OPENAI, OPENAI = "azure_openai", "openai"


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One provider's address.

    `chat` and `embeddings` are full URLs; `headers` hold the key. `names` are the settings to look at when the key is
    refused, and `chat_model`/`embedding_model` what rows say of their model.
    """

    provider: str
    chat: str
    embeddings: str
    headers: Mapping[str, str] = field(repr=False)
    key: str = field(repr=False)
    names: str
    chat_model: str
    embedding_model: str

    @property
    def is_secure(self) -> bool:
        """Whether it is asked over TLS."""
        return self.chat.startswith("https:") or self.embeddings.startswith("https:")

    @property
    def host(self) -> str:
        """Host and port, for messages."""
        return httpx.URL(self.chat).netloc.decode("ascii")


def azure_openai(*, endpoint: str, key: str, api_version: str, deployment: str, embedding_deployment: str) -> Endpoint:
    """Azure OpenAI: the deployment is in the path, the key in a header of its own."""
    base = f"{_checked(endpoint, 'AZURE_OPENAI_ENDPOINT')}/openai/deployments"
    version = httpx.QueryParams({"api-version": api_version})
    return Endpoint(
        provider=AZURE_OPENAI,
        chat=f"{base}/{deployment}/chat/completions?{version}",
        embeddings=f"{base}/{embedding_deployment}/embeddings?{version}",
        headers={"api-key": key},
        key=key,
        names="AZURE_OPENAI_API_KEY and AZURE_OPENAI_ENDPOINT",
        chat_model=deployment,
        embedding_model=embedding_deployment,
    )


def openai(*, base_url: str, key: str, model: str, embedding_model: str) -> Endpoint:
    """OpenAI, or any server that speaks its language."""
    base = _checked(base_url, "OPENAI_BASE_URL")
    return Endpoint(
        provider=OPENAI,
        chat=f"{base}/chat/completions",
        embeddings=f"{base}/embeddings",
        headers={"Authorization": f"Bearer {key}"},
        key=key,
        names="OPENAI_API_KEY and OPENAI_BASE_URL",
        chat_model=model,
        embedding_model=embedding_model,
    )


def _checked(url: str, setting: str) -> str:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL("")
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.userinfo or parsed.query:
        raise ConfigurationError(f"{setting} must look like https://host or https://host/path, with no password in it.")
    return url.rstrip("/")
