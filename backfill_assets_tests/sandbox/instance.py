"""A tenant's instance at the sandbox's ServiceNow, for tests: signed in, asking for pages in every way there is.

Written apart from the client that the product uses, so that the two check each other.
"""

import json
from types import TracebackType
from typing import Any, Self

import httpx

from backfill_assets.sandbox.server import SandboxServer
from backfill_assets.sandbox.servicenow.account import credentials

Pair = tuple[str, str]
BY_TIME = "ORDERBYsys_updated_on^ORDERBYsys_id"


def between(start: str, end: str) -> str:
    """The condition for a range of update times, given as `2024-01-01`."""
    return f"sys_updated_on>={start} 00:00:00^sys_updated_on<{end} 00:00:00"


class Instance:
    """Reads one tenant's records."""

    def __init__(self, server: SandboxServer, tenant: str) -> None:
        self._server = server
        self._tenant = tenant
        account = credentials(tenant)
        self.client = httpx.Client(
            base_url=f"{server.base_url('servicenow', tenant)}/api/now",
            auth=(account["username"], account["password"]),
            timeout=30,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()

    def get(self, table: str, query: str = "", **parameters: Any) -> httpx.Response:
        """One request for a list."""
        given = {f"sysparm_{name}": value for name, value in {"query": query, **parameters}.items()}
        return self.client.get(f"/table/{table}", params=given)

    def records(self, table: str, query: str = "", **parameters: Any) -> list[dict[str, Any]]:
        """One page."""
        answer = self.get(table, query, **parameters)
        assert answer.status_code == 200, answer.text
        page = answer.json()["result"]
        assert isinstance(page, list)
        return page

    def count(self, table: str, query: str = "") -> int:
        """How many records meet the query."""
        answer = self.client.get(f"/stats/{table}", params={"sysparm_count": "true", "sysparm_query": query})
        return int(answer.json()["result"]["stats"]["count"])

    def by_offset(self, table: str, query: str, size: int) -> list[Pair]:
        """Everything, following the links to the next page."""
        answer = self.get(table, query, limit=size)
        found = pairs(answer.json()["result"])
        while "next" in answer.links:
            answer = self.client.get(answer.links["next"]["url"])
            found += pairs(answer.json()["result"])
        return found

    def by_keyset(self, table: str, start: str, end: str, size: int) -> list[Pair]:
        """Everything, each page asking for what comes after the last time and id."""
        found: list[Pair] = []
        query = between(start, end)
        while page := self.records(table, f"{query}^{BY_TIME}", limit=size):
            found += pairs(page)
            sys_id, updated = page[-1]["sys_id"], page[-1]["sys_updated_on"]
            later = f"sys_updated_on>{updated}^sys_updated_on<{end} 00:00:00"
            query = f"{later}^NQsys_updated_on={updated}^sys_id>{sys_id}"
        return found

    def truth(self, table: str, start: str = "", end: str = "") -> list[Pair]:
        """What the sandbox says that it really holds."""
        url = f"{self._server.url}/_sandbox/truth/servicenow/{self._tenant}/{table}"
        lines = httpx.get(url, params={"from": start, "to": end}, timeout=30).text.splitlines()
        return [(sys_id, updated) for sys_id, updated in map(json.loads, lines)]


def pairs(page: list[dict[str, Any]]) -> list[Pair]:
    """Id and update time of each record, as the truth tells them."""
    return [(record["sys_id"], record["sys_updated_on"].replace(" ", "T") + "Z") for record in page]


def in_time(found: list[Pair]) -> list[Pair]:
    """In the order of time, then of ids."""
    return sorted(found, key=lambda pair: (pair[1], pair[0]))
