"""The services that the sandbox stands in for, by name: what one signs in with, and the tables that there are.

Here belongs only the list. A service's own ways belong to its folder.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from backfill_assets.sandbox.connectwise import account as connectwise
from backfill_assets.sandbox.salesforce import account as salesforce
from backfill_assets.sandbox.servicenow import account as servicenow
from backfill_assets.sandbox.world import World


class AddTables(Protocol):
    """Gives a tenant its tables."""

    def __call__(
        self, world: World, tenant: str, *, seed: int, scale: int, since: datetime, until: datetime
    ) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Account:
    """Accounts at one service; `credentials` are by the fields that a client asks for."""

    credentials: Callable[[str], Mapping[str, str]]
    add_tables: AddTables


ACCOUNTS: Mapping[str, Account] = {
    module.SERVICE: Account(credentials=module.credentials, add_tables=module.add_tables)
    for module in (connectwise, servicenow, salesforce)
}
