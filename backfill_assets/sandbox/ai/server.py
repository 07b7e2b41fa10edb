"""The stand-in for AI providers as a program of its own: its configuration, and two ways to run it.

Here belongs putting the parts together. It is no part of the other sandbox: a benchmark runs it in a process of its
own, and it holds no records.
"""

import sys
from contextlib import closing
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import httpx
from starlette.applications import Starlette

from backfill_assets.adapters.ai import endpoint
from backfill_assets.adapters.ai.endpoint import Endpoint
from backfill_assets.core.windows import utc_now
from backfill_assets.sandbox import control
from backfill_assets.sandbox.ai import api
from backfill_assets.sandbox.ai.charging import Charges
from backfill_assets.sandbox.serving import Serving, server_for
from backfill_assets.sandbox.traffic import Allowance
from backfill_assets.sandbox.world import Customs, World

API_VERSION = "2024-10-21"


@dataclass(frozen=True, kw_only=True)
class AiConfig:
    """How the providers behave; `requests_per_minute` is each one's limit, None for none."""

    latency_seconds: float = 0.0
    requests_per_minute: int | None = None


def create_app(config: AiConfig, charges: Charges) -> Starlette:
    """Make the application; whoever brings the book closes it."""
    limit = config.requests_per_minute
    allowances = {name: None if limit is None else Allowance(requests=limit) for name in api.KEYS}
    world = World(until=utc_now(), customs=Customs(allowances=allowances, latency_seconds=config.latency_seconds))
    return Starlette(routes=[*control.routes(world), *api.routes(world, charges)])


def endpoints(url: str) -> dict[str, Endpoint]:
    """How a client finds both providers at this address, by their names."""
    return {
        api.AZURE: endpoint.azure_openai(
            endpoint=url,
            key=api.KEYS[api.AZURE],
            api_version=API_VERSION,
            deployment="chat",
            embedding_deployment="vectors",
        ),
        api.OPENAI: endpoint.openai(
            base_url=f"{url}/v1",
            key=api.KEYS[api.OPENAI],
            model=api.CHAT_MODEL,
            embedding_model=api.EMBEDDING_MODEL,
        ),
    }


class AiServer(Serving):
    """The providers over real HTTP on a free port, in a thread, as long as the context lasts."""

    def __init__(self, config: AiConfig | None = None) -> None:
        self._charges = Charges()
        self._client = httpx.Client(verify=False)  # noqa: S501 - it speaks plain HTTP
        super().__init__(create_app(config or AiConfig(), self._charges), name="stand-in for AI providers")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._charges.close()
        self._client.close()

    def fault(self, **fault: Any) -> None:
        """Turn a fault on; see `Fault`."""
        self._client.post(f"{self.url}/_sandbox/faults", json=fault).raise_for_status()

    def clear(self) -> None:
        """Turn every fault off, and forget what was charged and received."""
        for what in ("faults", "charges", "requests"):
            self._client.delete(f"{self.url}/_sandbox/{what}").raise_for_status()

    def charges(self) -> dict[str, Any]:
        """What was charged, with the number of times for each text's SHA-256."""
        charged: dict[str, Any] = self._client.get(f"{self.url}/_sandbox/charges?texts=1").raise_for_status().json()
        return charged

    def received(self) -> bytes:
        """Every body that came in."""
        return self._client.get(f"{self.url}/_sandbox/received").raise_for_status().content


def main(port: str, latency: str) -> None:
    """Serve until interrupted: `... PORT LATENCY_SECONDS`."""
    with closing(Charges()) as charges:
        server = server_for(create_app(AiConfig(latency_seconds=float(latency)), charges))
        server.config.port = int(port)
        server.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
