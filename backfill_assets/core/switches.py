"""Which services were switched on when detection last looked: the memory behind "enabled again after being off".

Here belong the interface and its in-memory twin. What follows from a change is decided by the domain that asks;
the table in the state database belongs to `adapters/state`.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol


class SwitchLedger(Protocol):
    """Remembers one switch for each (tenant, service)."""

    def seen(self) -> Mapping[tuple[str, str], bool]:
        """Whether each (tenant, service) was enabled at the last look; one that has never been looked at is absent."""
        ...

    def note(self, enabled: Mapping[tuple[str, str], bool], at: datetime) -> None:
        """Remember what a look at the aware time `at` found of these; it replaces what was remembered of them."""
        ...


class MemorySwitches:
    """The ledger's in-memory twin, for tests and dry runs."""

    def __init__(self) -> None:
        self._enabled: dict[tuple[str, str], bool] = {}

    def seen(self) -> Mapping[tuple[str, str], bool]:
        """See `SwitchLedger.seen`."""
        return dict(self._enabled)

    def note(self, enabled: Mapping[tuple[str, str], bool], at: datetime) -> None:
        """See `SwitchLedger.note`."""
        self._enabled.update(enabled)
