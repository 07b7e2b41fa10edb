"""Where the contract of `RecordSource` is played: a source, what it truly holds, and a hand that changes that."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from backfill_assets.adapters.rest.connectwise import ConnectWiseSource
from backfill_assets.adapters.rest.connectwise_tables import TICKETS
from backfill_assets.adapters.rest.http import REAL_WIRE, Wire
from backfill_assets.adapters.rest.memory import MemorySource
from backfill_assets.core.source import RecordSource
from backfill_assets.sandbox.connectwise.account import credentials
from backfill_assets.sandbox.server import SandboxConfig, SandboxServer

SINCE = datetime(2024, 1, 1, tzinfo=UTC)
UNTIL = datetime(2024, 3, 1, tzinfo=UTC)
PAGE_SIZE = 7

Held = dict[int, datetime]


class Stand(ABC):
    """One implementation with its world around it."""

    source: RecordSource

    @abstractmethod
    def truth(self) -> Held:
        """Every ticket's id and version, computed apart from the source's paging."""

    @abstractmethod
    def move(self, key: int, moment: datetime) -> None:
        """Let a ticket be updated at this moment."""


class MemoryStand(Stand):
    """The in-memory twin."""

    def __init__(self) -> None:
        # The ids are not in the order of time: 37 is coprime to 200.
        self._tickets: dict[int, dict[str, Any]] = {
            n * 37 % 200 + 1: self._ticket(n * 37 % 200 + 1, SINCE + n * timedelta(hours=6)) for n in range(200)
        }
        self._held: list[dict[str, Any]] = list(self._tickets.values())
        self.source = MemorySource({TICKETS.name: self._held}, page_size=PAGE_SIZE)

    def truth(self) -> Held:
        return {key: datetime.fromisoformat(x["_info"]["lastUpdated"]) for key, x in self._tickets.items()}

    def move(self, key: int, moment: datetime) -> None:
        self._tickets[key] = self._ticket(key, moment)
        self._held[:] = self._tickets.values()

    def _ticket(self, key: int, moment: datetime) -> dict[str, Any]:
        return {"id": key, "_info": {"lastUpdated": moment.isoformat()}}


class SandboxStand(Stand):
    """The ConnectWise client over real HTTP."""

    def __init__(self, sandbox: SandboxServer) -> None:
        self._sandbox = sandbox
        self.source = sandbox_client(sandbox)

    def truth(self) -> Held:
        lines = httpx.get(f"{self._sandbox.url}/_sandbox/truth/connectwise/acme/{TICKETS.name}").text.splitlines()
        return {key: datetime.fromisoformat(version) for key, version in map(json.loads, lines)}

    def move(self, key: int, moment: datetime) -> None:
        url = f"{self._sandbox.url}/_sandbox/records/connectwise/acme/{TICKETS.name}/{key}"
        httpx.put(url, json={"lastUpdated": moment.isoformat()}).raise_for_status()


def sandbox_client(
    sandbox: SandboxServer,
    *,
    credential: dict[str, str] | None = None,
    page_size: int = PAGE_SIZE,
    wire: Wire = REAL_WIRE,
    pauses: list[float] | None = None,
) -> ConnectWiseSource:
    """A client of acme's account in the sandbox that does not sleep."""
    return ConnectWiseSource(
        tenant="acme",
        base_url=sandbox.base_url("connectwise", "acme"),
        credential=credentials("acme") if credential is None else credential,
        credential_names=("BACKFILL_ACME_CONNECTWISE_PRIVATE_KEY",),
        page_size=page_size,
        wire=replace(wire, sleep=([] if pauses is None else pauses).append),
    )


@contextmanager
def running_sandbox() -> Iterator[SandboxServer]:
    """A small sandbox with two months of history."""
    with SandboxServer(SandboxConfig(since=SINCE, until=UNTIL)) as sandbox:
        yield sandbox


def reset(sandbox: SandboxServer) -> None:
    """Take every fault and change away, and forget the requests."""
    for what in ("faults", "records", "requests"):
        httpx.delete(f"{sandbox.url}/_sandbox/{what}").raise_for_status()
