"""Partitions of tenant history: tenants of a service x windows of time.

Here belong the definitions and the translation between keys and what they stand for.
"""

from collections.abc import Iterable, Mapping

import dagster as dg

from backfill_assets.core.keys import decode_key, encode_key
from backfill_assets.core.source import Grain, ServiceSpec, TableSpec
from backfill_assets.core.windows import Window
from backfill_assets.tenant_history.plan import calendar_of

TENANT, WINDOW = "tenant", "window"
CANONICAL = "canonical"
"""What the keys of canonical tables begin with."""

_DEFINITIONS = {
    Grain.DAILY: dg.DailyPartitionsDefinition,
    Grain.WEEKLY: dg.WeeklyPartitionsDefinition,
    Grain.MONTHLY: dg.MonthlyPartitionsDefinition,
}


def tenant_set(service: str) -> str:
    """The name of the dynamic set that holds the tenants of a service."""
    return f"{service}_tenants"


def tenant_windows(spec: ServiceSpec) -> dg.MultiPartitionsDefinition:
    """Tenants x windows, the window that holds now included."""
    windows = _DEFINITIONS[spec.grain](start_date=calendar_of(spec).first_day.isoformat(), end_offset=1)
    return dg.MultiPartitionsDefinition({TENANT: tenants(spec.name), WINDOW: windows})


def asset_key(service: str, table: TableSpec) -> dg.AssetKey:
    """`<service>/<table>`."""
    return dg.AssetKey([service, table.slug])


def canonical_key(service: str, entity: str) -> dg.AssetKey:
    """`canonical/<service>/<entity>`."""
    return dg.AssetKey([CANONICAL, service, entity])


def tenants(service: str) -> dg.DynamicPartitionsDefinition:
    """The tenants of a service."""
    return dg.DynamicPartitionsDefinition(name=tenant_set(service))


def service_of(key: dg.AssetKey) -> str:
    """The service of a raw table (`<service>/<table>`) or a canonical one (`canonical/<service>/<entity>`)."""
    return key.path[1] if key.path[0] == CANONICAL and len(key.path) > 1 else key.path[0]


def partition_key(tenant: str, window: Window) -> dg.MultiPartitionKey:
    """The key of one tenant's window."""
    return dg.MultiPartitionKey({TENANT: encode_key(tenant), WINDOW: window.key})


def tenant_of(key: str) -> str:
    """The tenant of a raw table's partition (`tenant|window`) or a canonical one's (`tenant`)."""
    return decode_key(key.partition("|")[0])


def by_tenant(spec: ServiceSpec, keys: Iterable[str]) -> Mapping[str, list[Window]]:
    """The windows that are asked for, of each tenant."""
    calendar = calendar_of(spec)
    found: dict[str, list[Window]] = {}
    for key in keys:
        # Taken apart as text: a key that Dagster has read from its storage knows nothing of dimensions any more.
        tenant, _, window = key.partition("|")
        found.setdefault(decode_key(tenant), []).append(calendar.window_from_key(window))
    return found
