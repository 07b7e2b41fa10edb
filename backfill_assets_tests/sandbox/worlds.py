"""Sandboxes without HTTP, for tests that look at records themselves.

Here belongs making them; what is checked belongs to the tests.
"""

from backfill_assets.sandbox.server import SandboxConfig, create_world
from backfill_assets.sandbox.table import Table
from backfill_assets.sandbox.world import World


def world_of(config: SandboxConfig) -> World:
    """The parts of a sandbox."""
    return create_world(config)


def table_of(world: World, tenant: str, name: str, service: str = "connectwise") -> Table:
    """One of a tenant's tables."""
    tables = world.tables(service, tenant)
    assert tables is not None
    return tables[name]
