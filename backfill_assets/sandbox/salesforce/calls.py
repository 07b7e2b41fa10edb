"""One request to Salesforce, once it is known whose it is, and what is planned to be done about it.

Here belong the values only.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from starlette.requests import Request

from backfill_assets.sandbox.answering import Answer, Refusal
from backfill_assets.sandbox.faults import Target
from backfill_assets.sandbox.salesforce.account import SERVICE
from backfill_assets.sandbox.table import Table


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a request asks about, for log and faults, and how to answer it."""

    endpoint: str
    target: Target
    make: Callable[[], Answer]

    @classmethod
    def refused(cls, call: "Call", refused: Refusal) -> "Plan":
        """A plan that comes to nothing."""

        def refuse() -> NoReturn:
            raise refused

        return cls(endpoint="unknown", target=call.target("unknown"), make=refuse)


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request; `path` is what follows the version."""

    request: Request
    body: bytes = field(repr=False)
    tenant: str
    tables: Mapping[str, Table]
    version: str
    path: str

    @property
    def method(self) -> str:
        """GET, POST, ..."""
        return self.request.method

    def target(self, table: str, *, window: tuple[float, float] | None = None, is_cursor: bool = False) -> Target:
        """What the request is about."""
        return Target(service=SERVICE, tenant=self.tenant, table=table, window=window, is_cursor=is_cursor)

    def plan(self, endpoint: str, make: Callable[[], Answer], target: Target | None = None) -> Plan:
        """A plan; without a target the endpoint is what it is about."""
        return Plan(endpoint=endpoint, target=target or self.target(endpoint), make=make)
