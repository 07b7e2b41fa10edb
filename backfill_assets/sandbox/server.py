"""The sandbox as a program: its configuration, the application, and two ways to run it.

Here belongs putting the parts together; running an application belongs to `serving.py`. What a service answers
belongs to the service's module, what is asked of the sandbox itself to `control.py`.
"""

import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from starlette.applications import Starlette

from backfill_assets.errors import ConfigurationError
from backfill_assets.sandbox import control
from backfill_assets.sandbox.accounts import ACCOUNTS
from backfill_assets.sandbox.connectwise import api as connectwise
from backfill_assets.sandbox.dataset import TENANTS
from backfill_assets.sandbox.salesforce import api as salesforce
from backfill_assets.sandbox.servicenow import api as servicenow
from backfill_assets.sandbox.serving import Serving, server_for
from backfill_assets.sandbox.traffic import Allowance
from backfill_assets.sandbox.world import Customs, World

HISTORY_START = datetime(2023, 1, 1, tzinfo=UTC)


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


@dataclass(frozen=True, kw_only=True)
class SandboxConfig:
    """What the sandbox holds; equal values give equal records.

    `since` is a midnight in UTC; no record is later than `until`. At scale 1 there are about 100 records a day, and
    `scale` multiplies them. `requests_per_minute` is each tenant's limit at each service, None for no limit;
    `allowances` are those of single services, of any window of time. Every answer takes `latency_seconds` longer.
    Salesforce sends pages of at most `salesforce_page_size` records, and its tokens last `requests_per_token` requests.
    """

    seed: int = 1
    scale: int = 1
    since: datetime = HISTORY_START
    until: datetime = field(default_factory=_now)
    requests_per_minute: int | None = None
    allowances: Mapping[str, Allowance] = field(default_factory=dict)
    latency_seconds: float = 0
    salesforce_page_size: int = 2000
    requests_per_token: int | None = None
    tenants: tuple[str, ...] = TENANTS

    def __post_init__(self) -> None:
        if self.scale < 1:
            raise ConfigurationError(f"The sandbox's scale is {self.scale}; give 1 or more.")
        if self.since.tzinfo is None or self.until.tzinfo is None:
            raise ConfigurationError("The sandbox's since and until need a time zone; give both in UTC.")
        if self.since.timestamp() % 86_400:
            raise ConfigurationError(f"The sandbox's since is {self.since.isoformat()}; give a midnight in UTC.")
        if self.until < self.since:
            raise ConfigurationError(f"The sandbox's until {self.until} is before its since {self.since}; swap them.")
        if self.requests_per_minute is not None and self.requests_per_minute < 1:
            raise ConfigurationError("The sandbox's requests_per_minute is below 1; leave it out for no limit.")
        if unknown := sorted(self.allowances.keys() - ACCOUNTS.keys()):
            raise ConfigurationError(f"The sandbox has no service {unknown[0]}; it has {', '.join(ACCOUNTS)}.")
        if any(each.requests < 1 or each.seconds <= 0 for each in self.allowances.values()):
            raise ConfigurationError("One of the sandbox's allowances is of no requests or no time; leave it out.")

    @property
    def customs(self) -> Customs:
        """How the services behave."""
        everywhere = None if self.requests_per_minute is None else Allowance(requests=self.requests_per_minute)
        return Customs(
            allowances={service: self.allowances.get(service, everywhere) for service in ACCOUNTS},
            latency_seconds=self.latency_seconds,
            salesforce_page_size=self.salesforce_page_size,
            requests_per_token=self.requests_per_token,
        )


def create_world(config: SandboxConfig, *, clock: Callable[[], float] = time.monotonic) -> World:
    """Make what the services hold."""
    world = World(until=config.until, customs=config.customs, clock=clock)
    for tenant in config.tenants:
        for account in ACCOUNTS.values():
            account.add_tables(
                world, tenant, seed=config.seed, scale=config.scale, since=config.since, until=config.until
            )
    return world


def create_app(config: SandboxConfig, *, clock: Callable[[], float] = time.monotonic) -> Starlette:
    """Make the application; `clock` measures the rate limit."""
    world = create_world(config, clock=clock)
    return Starlette(
        routes=[
            *control.routes(world),
            *connectwise.routes(world),
            *servicenow.routes(world),
            *salesforce.routes(world),
        ]
    )


def serve(config: SandboxConfig, *, port: int, announce: Callable[[str], None] = lambda _: None) -> None:
    """Serve on 127.0.0.1 until interrupted; `announce` gets the address once a connection to it is taken."""
    with _listening(port) as listener, suppress(KeyboardInterrupt):  # raised once more after everything was closed
        server = server_for(create_app(config))
        announce(f"http://127.0.0.1:{listener.getsockname()[1]}")
        server.run(sockets=[listener])


class SandboxServer(Serving):
    """The sandbox over real HTTP on a free port of this machine, in a thread, as long as the context lasts."""

    def __init__(self, config: SandboxConfig | None = None) -> None:
        super().__init__(create_app(config or SandboxConfig()), name="sandbox")

    def base_url(self, service: str, tenant: str) -> str:
        """Where a client of this tenant's service starts."""
        return f"{self.url}/{service}/{tenant}"


def _listening(port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise ConfigurationError(
            f"The sandbox cannot use port {port} of 127.0.0.1: {error.strerror}. Choose another one with --port."
        ) from error
