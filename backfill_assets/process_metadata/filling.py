"""Launching the backfill of fields: what the sensor and the command line share.

Here belongs what is asked for of Dagster. Which fields, and why, belongs to who asks.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from dagster import DagsterInstance

from backfill_assets.core.metadata import MetadataField
from backfill_assets.core.windows import Window
from backfill_assets.following import Graph
from backfill_assets.launching import BackfillRequest, Launched, launch
from backfill_assets.process_metadata.assets import OP
from backfill_assets.process_metadata.letters import DOMAIN
from backfill_assets.process_metadata.partitions import FIELDS, KEY, PARTITIONS_PER_RUN, field_key, partition_key
from backfill_assets.resources import Wiring

SHOWN_KEYS = 5


@dataclass(frozen=True, kw_only=True)
class Filling:
    """Fields of one model, the months to fill them for, and how."""

    fields: Sequence[MetadataField]
    months: Sequence[Window]
    overwrite: bool = False
    most_instances: int | None = None

    @property
    def model(self) -> str:
        """The model that they are of."""
        return self.fields[0].model

    @property
    def partitions(self) -> int:
        """How many months of fields that are."""
        return len(self.fields) * len(self.months)

    @property
    def runs(self) -> int:
        """How many runs Dagster makes of it: one for each of what there is less of, if not too large for one."""
        fewer, more = sorted((len(self.fields), len(self.months)))
        return fewer * -(-more // PARTITIONS_PER_RUN)

    @property
    def key(self) -> str:
        """The same for two that ask for the same."""
        asked = sorted((field.key, field.path) for field in self.fields)
        how = [self.months[0].key, self.months[-1].key, self.overwrite, self.most_instances]
        return f"{DOMAIN}/{self.model}/{sha256(json.dumps([asked, how]).encode()).hexdigest()[:16]}"

    @property
    def title(self) -> str:
        """What a person calls it."""
        keys = [field.key for field in self.fields]
        more = f" and {len(keys) - SHOWN_KEYS} more" if len(keys) > SHOWN_KEYS else ""
        return f"{self.model}: {', '.join(keys[:SHOWN_KEYS])}{more}{' (rewrite)' if self.overwrite else ''}"


def launch_filling(
    wiring: Wiring, instance: DagsterInstance, graph: Graph, filling: Filling, *, reason: str, requested_by: str
) -> Launched:
    """Make the fields partitions, and launch them as one native backfill."""
    add_partitions(instance, filling.fields)
    request = BackfillRequest(
        domain=DOMAIN,
        key=filling.key,
        title=filling.title,
        reason=reason,
        requested_by=requested_by,
        partitions={KEY: [partition_key(month, one.name) for one in filling.fields for month in filling.months]},
        run_config=_run_config(filling),
    )
    return launch(instance, graph, request, lock=wiring.lock)


def add_partitions(instance: DagsterInstance, fields: Iterable[MetadataField]) -> None:
    """Let the fields be picked in the UI."""
    name = str(FIELDS.name)
    known = set(instance.get_dynamic_partitions(name))
    if missing := [key for key in dict.fromkeys(map(field_key, fields)) if key not in known]:
        instance.add_dynamic_partitions(name, missing)


def _run_config(filling: Filling) -> Mapping[str, Any] | None:
    config: dict[str, Any] = {"overwrite": True} if filling.overwrite else {}
    if filling.most_instances is not None:
        config["most_instances"] = filling.most_instances
    return {"ops": {OP: {"config": config}}} if config else None
