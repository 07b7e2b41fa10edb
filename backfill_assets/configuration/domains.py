"""The domains that can be loaded, and which of them are.

Here belong their names and how a list of them is read; what a domain needs belongs to its own settings.
"""

from collections.abc import Mapping
from typing import Any

TENANT_HISTORY, PROCESS_METADATA = "tenant_history", "process_metadata"
TABLE_BACKFILL, WORK_ORDERS = "table_backfill", "work_orders"
DOMAINS = (TENANT_HISTORY, PROCESS_METADATA, TABLE_BACKFILL, WORK_ORDERS)


def named_domains(text: str) -> tuple[str, ...]:
    """The domains of a comma list, each once; raises `ValueError` for one that is unknown, and for none."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in DOMAINS]
    if unknown or not names:
        named = f"{unknown[0]!r}, which is no domain" if unknown else "no domain"
        raise ValueError(f"names {named}; known are {', '.join(DOMAINS)}")
    return names


def configured_domains(known: Mapping[str, Any]) -> tuple[str, ...]:
    """The domains that are loaded where none is named: all whose settings are there."""
    wanted = {
        TENANT_HISTORY: True,
        PROCESS_METADATA: known.get("metadata_enabled"),
        TABLE_BACKFILL: known.get("queue_database_url"),
        WORK_ORDERS: known.get("work_orders_database_url"),
    }
    return tuple(name for name in DOMAINS if wanted[name])


def names_domain(said: Mapping[str, str], name: str) -> bool:
    """Whether the environment asks for this domain by its name."""
    return name in map(str.strip, said.get("BACKFILL_DOMAINS", "").split(","))
