"""Sandboxes without HTTP, for tests that look at records themselves.

Here belongs making them; what is checked belongs to the tests.
"""

from time import monotonic

from backfill_assets.sandbox import connectwise
from backfill_assets.sandbox.server import SandboxConfig
from backfill_assets.sandbox.table import Table
from backfill_assets.sandbox.world import World


def world_of(config: SandboxConfig) -> World:
    """The parts of a sandbox."""
    world = World(requests_per_minute=None, clock=monotonic, until=config.until)
    for tenant in config.tenants:
        connectwise.add_tables(
            world, tenant, seed=config.seed, scale=config.scale, since=config.since, until=config.until
        )
    return world


def table_of(world: World, tenant: str, name: str) -> Table:
    """One of a tenant's ConnectWise tables."""
    tables = world.tables("connectwise", tenant)
    assert tables is not None
    return tables[name]
