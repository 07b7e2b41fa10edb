"""A small ConnectWise whose tickets alone are read: a service that has canonical tables, in a world in memory."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from threading import RLock

from backfill_assets.adapters.rest.connectwise_tables import CONNECTWISE, TICKETS
from backfill_assets.core.source import Record
from backfill_assets_tests.tenant_history.worlds import DESK, World

SHOP = replace(CONNECTWISE, tables=(TICKETS,), history_start=DESK.history_start, lookback_days=50, chunk_size_days=14)


def shop(folder: Path, **tickets: Sequence[Record]) -> World:
    """A world with a tenant for each list of tickets."""
    # A sync holds its own lock while it launches.
    world = World(root=folder / "lake", spec=SHOP, mutex=RLock())
    for tenant, held in tickets.items():
        world.add(tenant, {TICKETS.name: held})
    return world
