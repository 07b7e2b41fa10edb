"""The sandbox as a program: its configuration, the application, and two ways to run it.

Here belongs putting the parts together. What a service answers belongs to the service's module, what is asked of the
sandbox itself to `control.py`.
"""

import logging
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Thread
from types import TracebackType
from typing import Self

import uvicorn
from starlette.applications import Starlette

from backfill_assets.errors import ConfigurationError
from backfill_assets.sandbox import control
from backfill_assets.sandbox.accounts import ACCOUNTS
from backfill_assets.sandbox.connectwise import api as connectwise
from backfill_assets.sandbox.dataset import TENANTS
from backfill_assets.sandbox.faults import ConnectionDropped
from backfill_assets.sandbox.salesforce import api as salesforce
from backfill_assets.sandbox.servicenow import api as servicenow
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
        server = _server(config)
        announce(f"http://127.0.0.1:{listener.getsockname()[1]}")
        server.run(sockets=[listener])


class SandboxServer:
    """The sandbox over real HTTP on a free port of this machine, in a thread, as long as the context lasts."""

    def __init__(self, config: SandboxConfig | None = None) -> None:
        self._server = _server(config or SandboxConfig())
        self._socket = socket.socket()
        self._thread = Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, name="sandbox", daemon=True)
        self.url = ""

    def base_url(self, service: str, tenant: str) -> str:
        """Where a client of this tenant's service starts."""
        return f"{self.url}/{service}/{tenant}"

    def __enter__(self) -> Self:
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.002)
        if not self._server.started:
            raise ConfigurationError(f"The sandbox could not start at {self.url}; its log says why.")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()


def _listening(port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise ConfigurationError(
            f"The sandbox cannot use port {port} of 127.0.0.1: {error.strerror}. Choose another one with --port."
        ) from error


def _server(config: SandboxConfig) -> uvicorn.Server:
    logging.getLogger("uvicorn.error").addFilter(_is_not_a_wanted_drop)
    return uvicorn.Server(
        uvicorn.Config(
            create_app(config),
            access_log=False,
            log_level="warning",
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
    )


def _is_not_a_wanted_drop(record: logging.LogRecord) -> bool:
    """Let everything be logged but the exception by which a fault breaks a connection."""
    return not (record.exc_info and isinstance(record.exc_info[1], ConnectionDropped))
