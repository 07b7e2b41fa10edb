"""Launching work orders: what the schedule and the command line share.

Here belongs what is asked for of Dagster. Which months, and why, belongs to who asks.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from typing import Any

from dagster import DagsterInstance

from backfill_assets.core.windows import Window
from backfill_assets.following import Graph
from backfill_assets.launching import BackfillRequest, Launched, launch
from backfill_assets.resources import Wiring
from backfill_assets.work_orders.assets import OP
from backfill_assets.work_orders.letters import DOMAIN
from backfill_assets.work_orders.outcomes import STAGES
from backfill_assets.work_orders.partitions import KEYS, PARTITIONS_PER_RUN


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Months, the days within them where not all are meant, the stages, and how."""

    months: Sequence[Window]
    stages: Sequence[str] = STAGES
    first_day: date | None = None
    last_day: date | None = None
    batch_size: int | None = None
    most_records: int | None = None

    @property
    def partitions(self) -> int:
        """How many months of stages that are."""
        return len(self.months) * len(self.stages)

    @property
    def runs(self) -> int:
        """How many runs Dagster makes of it."""
        return -(-len(self.months) // PARTITIONS_PER_RUN)

    @property
    def config(self) -> Mapping[str, Any]:
        """What is set for its runs."""
        said = {
            "first_day": self.first_day.isoformat() if self.first_day else None,
            "last_day": self.last_day.isoformat() if self.last_day else None,
            "batch_size": self.batch_size,
            "most_records": self.most_records,
        }
        return {name: value for name, value in said.items() if value is not None}

    @property
    def key(self) -> str:
        """The same for two that ask for the same."""
        asked = [[month.key for month in self.months], list(self.stages), dict(self.config)]
        return f"{DOMAIN}/{sha256(json.dumps(asked).encode()).hexdigest()[:16]}"


def launch_orders(
    wiring: Wiring, instance: DagsterInstance, graph: Graph, asked: Asked, *, reason: str, requested_by: str
) -> Launched:
    """Launch one native backfill."""
    first, last = asked.months[0].key[:7], asked.months[-1].key[:7]
    request = BackfillRequest(
        domain=DOMAIN,
        key=asked.key,
        title=f"work orders {first} to {last}: {', '.join(asked.stages)}",
        reason=reason,
        requested_by=requested_by,
        partitions={KEYS[stage]: [month.key for month in asked.months] for stage in asked.stages},
        run_config={"ops": {OP: {"config": dict(asked.config)}}} if asked.config else None,
    )
    return launch(instance, graph, request, lock=wiring.lock)
