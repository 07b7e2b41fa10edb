"""A tenant's account at ConnectWise: what a client signs in with, and the tables that it holds.

Here belongs who and how much. How the tables are asked for belongs to `api.py`.
"""

from datetime import datetime
from functools import partial

from backfill_assets.sandbox.connectwise import records
from backfill_assets.sandbox.dataset import TENANT_SHARES, timelines
from backfill_assets.sandbox.ids import Numbers
from backfill_assets.sandbox.table import Build, Table
from backfill_assets.sandbox.world import World

SERVICE = "connectwise"
CODEBASE = "v2024_1/"
RECORDS_A_DAY = 37.5
"""Of all tenants and tables together, at scale 1."""


def credentials(tenant: str) -> dict[str, str]:
    """What a client of this tenant signs in with."""
    return {
        "company_id": tenant,
        "public_key": f"{tenant}-public",
        "private_key": f"{tenant}-private",
        "client_id": f"{tenant}-client-id",
    }


def add_tables(world: World, tenant: str, *, seed: int, scale: int, since: datetime, until: datetime) -> None:
    """Give a tenant its ConnectWise tables."""
    per_day = RECORDS_A_DAY * scale * TENANT_SHARES.get(tenant, 0.2)
    key = f"{seed}/{scale}/{SERVICE}/{tenant}"
    lines = timelines(key, records.SHARES, per_day=per_day, since=since, until=until)
    made = records.Records(key, lines)
    builds: dict[str, Build] = {
        records.TICKETS: made.ticket,
        records.TIME_ENTRIES: made.time_entry,
        records.COMPANIES: made.company,
        records.CONTACTS: made.contact,
    }
    table = partial(Table, stamp=records.stamp, cache=world.cache, ids=Numbers())
    world.add(SERVICE, tenant, {name: table(lines[name], build=build) for name, build in builds.items()})
