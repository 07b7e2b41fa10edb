"""A tenant's account at ServiceNow: what a client signs in with, and the tables that it holds.

Here belongs who and how much. How the tables are asked for belongs to `api.py`.
"""

from datetime import datetime
from functools import partial

from backfill_assets.sandbox.dataset import TENANT_SHARES, timelines
from backfill_assets.sandbox.servicenow import records
from backfill_assets.sandbox.table import Build, Table
from backfill_assets.sandbox.world import World

SERVICE = "servicenow"
RECORDS_A_DAY = 40.0
"""Of all tenants and tables together, at scale 1."""


def credentials(tenant: str) -> dict[str, str]:
    """What a client of this tenant signs in with."""
    return {"username": f"{tenant}-user", "password": f"{tenant}-password"}


def add_tables(world: World, tenant: str, *, seed: int, scale: int, since: datetime, until: datetime) -> None:
    """Give a tenant its ServiceNow tables."""
    per_day = RECORDS_A_DAY * scale * TENANT_SHARES.get(tenant, 0.2)
    key = f"{seed}/{scale}/{SERVICE}/{tenant}"
    lines = timelines(key, records.SHARES, per_day=per_day, since=since, until=until)
    made = records.Records(key, lines)
    builds: dict[str, Build] = {
        records.INCIDENT: made.incident,
        records.CHANGE: made.change_request,
        records.PROBLEM: made.problem,
        records.USER: made.user,
        records.COMPANY: made.company,
        records.TIME_CARD: made.time_card,
    }
    tables = {
        name: Table(
            lines[name],
            build=build,
            stamp=partial(made.stamp, name),
            cache=world.cache,
            ids=made.ids[name],
        )
        for name, build in builds.items()
    }
    world.add(SERVICE, tenant, tables)
