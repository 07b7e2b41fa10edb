"""A tenant's account at the sandbox's ConnectWise, for tests: signed in, asking for pages in every way there is.

Written apart from the client that the product uses, so that the two check each other.
"""

import json
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import httpx

from backfill_assets.sandbox.connectwise.account import credentials
from backfill_assets.sandbox.server import SandboxServer

Pair = tuple[int, str]
TICKETS = "service/tickets"
FORWARD_ONLY = {"pagination-type": "forward-only"}


def between(start: str, end: str) -> str:
    """The condition for a range of update times."""
    return f"lastUpdated >= [{start}] and lastUpdated < [{end}]"


class Account:
    """Reads one tenant's records."""

    def __init__(self, server: SandboxServer, tenant: str) -> None:
        self._server = server
        self._tenant = tenant
        keys = credentials(tenant)
        self.client = httpx.Client(
            base_url=f"{server.base_url('connectwise', tenant)}/v2024_1/apis/3.0",
            auth=(f"{keys['company_id']}+{keys['public_key']}", keys["private_key"]),
            headers={"clientId": keys["client_id"]},
            timeout=30,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()

    def get(self, endpoint: str, headers: Mapping[str, str] | None = None, **parameters: Any) -> httpx.Response:
        """One request."""
        return self.client.get(f"/{endpoint}", params=parameters, headers=headers)

    def records(self, table: str, **parameters: Any) -> list[dict[str, Any]]:
        """One page."""
        answer = self.get(table, **parameters)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert isinstance(page, list)
        return page

    def count(self, table: str, conditions: str = "") -> int:
        """How many records meet the conditions."""
        answer = self.get(f"{table}/count", conditions=conditions)
        return int(answer.json()["count"])

    def by_keyset(self, table: str, conditions: str, size: int) -> list[Pair]:
        """Everything, each page asking for the ids after the last one."""
        found: list[Pair] = []
        while page := self.records(
            table, conditions=f"{conditions} and id > {found[-1][0] if found else 0}", pageSize=size
        ):
            found += pairs(page)
        return found

    def by_links(self, table: str, headers: Mapping[str, str] | None = None, **parameters: Any) -> list[Pair]:
        """Everything, following the links to the next page."""
        answer = self.get(table, headers, **parameters)
        found = pairs(answer.json())
        while "next" in answer.links:
            answer = self.client.get(answer.links["next"]["url"], headers=headers)
            found += pairs(answer.json())
        return found

    def truth(self, table: str, start: str = "", end: str = "") -> list[Pair]:
        """What the sandbox says that it really holds."""
        url = f"{self._server.url}/_sandbox/truth/connectwise/{self._tenant}/{table}"
        lines = httpx.get(url, params={"from": start, "to": end}, timeout=30).text.splitlines()
        return [(record_id, updated) for record_id, updated in map(json.loads, lines)]


def pairs(page: list[dict[str, Any]]) -> list[Pair]:
    """Id and update time of each record."""
    return [(record["id"], record["_info"]["lastUpdated"]) for record in page]
