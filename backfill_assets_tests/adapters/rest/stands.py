"""Where the contract of `RecordSource` is played: a source, what it truly holds, and a hand that changes that."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from backfill_assets.adapters.rest.connectwise import ConnectWiseSource
from backfill_assets.adapters.rest.connectwise_tables import TICKETS
from backfill_assets.adapters.rest.http import REAL_WIRE, Wire
from backfill_assets.adapters.rest.memory import MemorySource
from backfill_assets.adapters.rest.salesforce import SalesforceSource
from backfill_assets.adapters.rest.salesforce_tables import CASE
from backfill_assets.adapters.rest.servicenow import ServiceNowSource
from backfill_assets.adapters.rest.servicenow_tables import INCIDENT
from backfill_assets.core.source import Record, RecordId, RecordSource, TableSpec
from backfill_assets.sandbox.connectwise import account as connectwise
from backfill_assets.sandbox.salesforce import account as salesforce
from backfill_assets.sandbox.server import SandboxConfig, SandboxServer
from backfill_assets.sandbox.servicenow import account as servicenow

SINCE = datetime(2024, 1, 1, tzinfo=UTC)
UNTIL = datetime(2024, 3, 1, tzinfo=UTC)
PAGE_SIZE = 7
SALESFORCE_PAGE_SIZE = 5
"""Salesforce sends less than it is asked for, so that what is left has to be fetched from its address."""

Held = dict[Any, datetime]
Identified = tuple[Any, datetime]


class Stand(ABC):
    """One implementation with its world around it.

    `order` is the order in which it yields records, None for none at all; `absent` an id that no record has.
    """

    source: RecordSource
    table: TableSpec
    absent: RecordId
    order: Callable[[Identified], Any] | None

    @abstractmethod
    def truth(self) -> Held:
        """Every record's id and version, computed apart from the source's paging."""

    @abstractmethod
    def move(self, key: RecordId, moment: datetime) -> None:
        """Let a record be updated at this moment."""

    def in_order(self, found: list[Identified]) -> list[Identified]:
        """In the order in which the source is to yield them; sorted by id where it need not keep any."""
        return sorted(found, key=self.order or by_id)


def by_id(found: Identified) -> Any:
    """By id."""
    return found[0]


def by_time(found: Identified) -> Any:
    """By version, then by id."""
    return found[1], found[0]


class MemoryStand(Stand):
    """The in-memory twin."""

    table, absent, order = TICKETS, 999_999, staticmethod(by_id)

    def __init__(self) -> None:
        # The ids are not in the order of time: 37 is coprime to 200.
        self._tickets: dict[RecordId, dict[str, Any]] = {
            n * 37 % 200 + 1: self._ticket(n * 37 % 200 + 1, SINCE + n * timedelta(hours=6)) for n in range(200)
        }
        self._held: list[dict[str, Any]] = list(self._tickets.values())
        self.source = MemorySource({TICKETS.name: self._held}, page_size=PAGE_SIZE)

    def truth(self) -> Held:
        return {key: datetime.fromisoformat(x["_info"]["lastUpdated"]) for key, x in self._tickets.items()}

    def move(self, key: RecordId, moment: datetime) -> None:
        self._tickets[key] = self._ticket(key, moment)
        self._held[:] = self._tickets.values()

    def _ticket(self, key: RecordId, moment: datetime) -> dict[str, Any]:
        return {"id": key, "_info": {"lastUpdated": moment.isoformat()}}


@dataclass(frozen=True, kw_only=True)
class Client:
    """How a client of one service is opened over the sandbox, and which of its tables is read."""

    service: str
    table: TableSpec
    absent: RecordId
    order: Callable[[Identified], Any] | None
    open: Callable[..., RecordSource]
    credential: Callable[[str], Mapping[str, str]]
    settings: Mapping[str, Any]

    def source(self, sandbox: SandboxServer, *, wire: Wire = REAL_WIRE, **settings: Any) -> RecordSource:
        """A client of acme's account that does not sleep."""
        return self.open(
            **{
                "tenant": "acme",
                "base_url": sandbox.base_url(self.service, "acme"),
                "credential": self.credential("acme"),
                "page_size": PAGE_SIZE,
                "wire": replace(wire, sleep=_do_not_sleep),
                **self.settings,
                **settings,
            }
        )

    def identified(self, record: Record) -> Identified:
        """A record's id and version."""
        version: Any = record
        for name in self.table.version_field.split("/"):
            version = version[name]
        moment = datetime.fromisoformat(version)
        return record[self.table.id_field], moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _do_not_sleep(_seconds: float) -> None:
    return None


_SALESFORCE: dict[str, Any] = {
    "service": "salesforce",
    "table": CASE,
    "absent": "5005f0000099999AAA",
    "open": SalesforceSource,
    "credential": salesforce.credentials,
}

CLIENTS: Mapping[str, Client] = {
    "connectwise": Client(
        service="connectwise",
        table=TICKETS,
        absent=999_999_999,
        order=by_id,
        open=ConnectWiseSource,
        credential=connectwise.credentials,
        settings={},
    ),
    "servicenow": Client(
        service="servicenow",
        table=INCIDENT,
        absent="0" * 32,
        order=by_time,
        open=ServiceNowSource,
        credential=servicenow.credentials,
        settings={},
    ),
    "salesforce": Client(**_SALESFORCE, order=by_time, settings={"bulk_above_rows": None}),
    "salesforce by bulk job": Client(
        **_SALESFORCE, order=None, settings={"bulk_above_rows": 0, "bulk_records_at_once": PAGE_SIZE}
    ),
}


class SandboxStand(Stand):
    """A client over real HTTP."""

    def __init__(self, sandbox: SandboxServer, client: Client) -> None:
        self._sandbox, self._client = sandbox, client
        self.table, self.absent, self.order = client.table, client.absent, client.order
        self.source = client.source(sandbox)

    def truth(self) -> Held:
        return truth(self._sandbox, self._client)

    def move(self, key: RecordId, moment: datetime) -> None:
        move(self._sandbox, self._client, key, moment)


def truth(sandbox: SandboxServer, client: Client) -> Held:
    """What acme's table truly holds."""
    lines = control(sandbox, "GET", f"truth/{client.service}/acme/{client.table.name}").text.splitlines()
    return {key: datetime.fromisoformat(version) for key, version in map(json.loads, lines)}


def move(sandbox: SandboxServer, client: Client, key: RecordId, moment: datetime) -> None:
    """Let one of acme's records be updated at this moment."""
    path = f"records/{client.service}/acme/{client.table.name}/{key}"
    control(sandbox, "PUT", path, json={"lastUpdated": moment.isoformat()})


def spoil(sandbox: SandboxServer, kind: str, **fault: Any) -> None:
    """Turn a fault on."""
    control(sandbox, "POST", "faults", json={"kind": kind, **fault})


def control(sandbox: SandboxServer, method: str, path: str, **content: Any) -> httpx.Response:
    """Ask the sandbox itself."""
    # Reading the system's certificates would be most of the time that such a request takes.
    return httpx.request(method, f"{sandbox.url}/_sandbox/{path}", verify=False, **content).raise_for_status()


def sandbox_client(
    sandbox: SandboxServer,
    *,
    credential: Mapping[str, str] | None = None,
    page_size: int = PAGE_SIZE,
    wire: Wire = REAL_WIRE,
    pauses: list[float] | None = None,
) -> ConnectWiseSource:
    """A ConnectWise client of acme's account in the sandbox that does not sleep."""
    return ConnectWiseSource(
        tenant="acme",
        base_url=sandbox.base_url("connectwise", "acme"),
        credential=connectwise.credentials("acme") if credential is None else credential,
        credential_names=("BACKFILL_ACME_CONNECTWISE_PRIVATE_KEY",),
        page_size=page_size,
        wire=replace(wire, sleep=([] if pauses is None else pauses).append),
    )


@contextmanager
def running_sandbox() -> Iterator[SandboxServer]:
    """A small sandbox with two months of history."""
    config = SandboxConfig(since=SINCE, until=UNTIL, salesforce_page_size=SALESFORCE_PAGE_SIZE, requests_per_token=20)
    with SandboxServer(config) as sandbox:
        yield sandbox


def reset(sandbox: SandboxServer) -> None:
    """Take every fault and change away, and forget the requests."""
    for what in ("faults", "records", "requests"):
        control(sandbox, "DELETE", what)
