"""A tenant's account at Salesforce: what a client signs in with, and the tables that it holds.

Here belongs who and how much. How the tables are asked for belongs to `api.py`.
"""

from datetime import datetime
from functools import partial

from backfill_assets.sandbox.dataset import TENANT_SHARES, timelines
from backfill_assets.sandbox.salesforce.records import SHARES, Records
from backfill_assets.sandbox.salesforce.schema import ACCOUNT, CASE, CONTACT, LEAD, OBJECTS, OPPORTUNITY
from backfill_assets.sandbox.table import Build, Table, Tombstones
from backfill_assets.sandbox.world import World

SERVICE = "salesforce"
RECORDS_A_DAY = 24.0
"""Of all tenants and tables together, at scale 1."""


def credentials(tenant: str) -> dict[str, str]:
    """What a client of this tenant signs in with."""
    return {
        "client_id": f"{tenant}-consumer-key",
        "client_secret": f"{tenant}-consumer-secret",
        "username": f"integration@{tenant}.example.com",
        "password": f"{tenant}-password",
    }


def add_tables(world: World, tenant: str, *, seed: int, scale: int, since: datetime, until: datetime) -> None:
    """Give a tenant its Salesforce objects."""
    per_day = RECORDS_A_DAY * scale * TENANT_SHARES.get(tenant, 0.2)
    key = f"{seed}/{scale}/{SERVICE}/{tenant}"
    lines = timelines(key, SHARES, per_day=per_day, since=since, until=until)
    made = Records(key, lines)
    builds: dict[str, Build] = {
        ACCOUNT: made.account,
        CONTACT: made.contact,
        OPPORTUNITY: made.opportunity,
        CASE: made.case,
        LEAD: made.lead,
    }
    tables = {
        name: Table(
            lines[name],
            build=build,
            stamp=partial(made.stamp, name),
            cache=world.cache,
            ids=OBJECTS[name].ids,
            tombstones=Tombstones(field="IsDeleted", is_gone=partial(made.is_gone, name)),
        )
        for name, build in builds.items()
    }
    world.add(SERVICE, tenant, tables)
