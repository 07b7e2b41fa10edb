"""An installation of the product with process models on disk, and what runs, sensor and commands work with.

Here belongs what the tests of the kind files start from. Runs are those that Dagster's daemon would make of a backfill.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any

import dagster as dg
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._core.storage.tags import BACKFILL_ID_TAG

from backfill_assets.adapters.lake.folder import Folder
from backfill_assets.adapters.lake.raw import RawLake
from backfill_assets.adapters.spiffworkflow.memory import Installation, Instance, MemoryInstances, Task
from backfill_assets.core.certificates import MemoryCertificates
from backfill_assets.core.dead_letters import MemoryDeadLetters
from backfill_assets.core.handoff import MemoryHandoffs
from backfill_assets.core.instances import InstanceDatabase
from backfill_assets.core.metadata import MemoryFields
from backfill_assets.core.source import RecordSource
from backfill_assets.core.switches import MemorySwitches
from backfill_assets.following import find
from backfill_assets.process_metadata.assets import PROCESS_MODELS, metadata_asset
from backfill_assets.process_metadata.noticing import Noticed, Noticing
from backfill_assets.process_metadata.partitions import KEY
from backfill_assets.resources import Wiring
from backfill_assets.settings import Settings, TenantService
from backfill_assets_tests.process_metadata.models import write_model

START = date(2024, 1, 1)
NOW = datetime(2024, 4, 15, 12, tzinfo=UTC)
MONTHS = ["2024-01-01", "2024-02-01", "2024-03-01", "2024-04-01"]
MODEL = "orders/invoice"


def _no_source(_: TenantService) -> RecordSource:
    raise AssertionError


@dataclass(kw_only=True)
class World:
    """Process models, instances and ledgers; change any of it between two runs."""

    root: Path
    installation: Installation = field(default_factory=Installation)
    fields: MemoryFields = field(default_factory=MemoryFields)
    dead_letters: MemoryDeadLetters = field(default_factory=MemoryDeadLetters)
    on_changed_path: str = "redo"
    now: datetime = NOW
    batch_size: int = 2
    before_each_batch: Callable[[], object] = lambda: None
    now_ns: Callable[[], int] = lambda: 10**20
    monotonic: Callable[[], float] = time.monotonic
    mutex: Any = field(default_factory=Lock)

    def model(self, paths: Mapping[str, str] | list[Any] | None, model: str = MODEL, **more: Any) -> Path:
        """Write a process model."""
        return write_model(self.root, model, paths, **more)

    def instances(self, month: int, *documents: Any, model: str = MODEL) -> Sequence[int]:
        """Add an instance for each of these data, created in this month of 2024; None for one that never ran."""
        return [self._instance(month, document, model) for document in documents]

    def _instance(self, month: int, document: Any, model: str) -> int:
        number = len(self.installation.instances) + 1
        created = int(datetime(2024, month, 10, tzinfo=UTC).timestamp())
        self.installation.instances.append(Instance(id=number, model=model, created_at=created))
        if document is not None:
            text = document if isinstance(document, str) else json.dumps(document)
            name = sha256(text.encode()).hexdigest()
            self.installation.documents[name] = text
            task = Task(guid=str(number), instance_id=number, state="COMPLETED", json_data_hash=name, ended_at=1)
            self.installation.tasks.append(task)
        return number

    def values(self) -> dict[tuple[int, str], str]:
        """The metadata rows."""
        return {place: row.value for place, row in self.installation.rows.items()}

    def _clock(self) -> datetime:
        self.before_each_batch()
        return self.now

    @contextmanager
    def _opened(self) -> Iterator[InstanceDatabase]:
        yield MemoryInstances(self.installation)

    @property
    def wiring(self) -> Wiring:
        """What runs, sensors and commands work with."""
        return Wiring(
            settings=Settings(
                metadata_enabled=True,
                celery_enabled=True,
                process_models=str(self.root),
                metadata_on_changed_path=self.on_changed_path,
                metadata_batch_size=str(self.batch_size),
                metadata_start=START.isoformat(),
            ),
            lake=RawLake(Folder(self.root), lock=lambda name: self.mutex),
            dead_letters=self.dead_letters,
            switches=MemorySwitches(),
            certificates=MemoryCertificates(),
            handoffs=MemoryHandoffs(),
            lock=lambda name: self.mutex,
            connect=_no_source,
            probe=_no_source,
            clock=self._clock,
            fields=self.fields,
            instances=self._opened,
        )

    def notice(self, instance: dg.DagsterInstance, cursor: str | None = None) -> Noticed:
        """One tick."""
        return Noticing(
            wiring=self.wiring,
            instance=instance,
            graph=definitions().resolve_asset_graph(),
            requested_by="test",
            now_ns=self.now_ns,
            monotonic=self.monotonic,
        ).notice(cursor)

    def run_backfill(self, instance: dg.DagsterInstance, backfill_id: str) -> list[dg.ExecuteInProcessResult]:
        """Run what the daemon would make of a backfill."""
        backfill = find(instance, backfill_id)
        ranges = run_ranges(instance, backfill_id)
        tags = {**backfill.tags, BACKFILL_ID_TAG: backfill_id}
        return [self.run(instance, *ends, tags=tags, config=backfill.run_config) for ends in ranges]

    def run(
        self,
        instance: dg.DagsterInstance,
        first: str,
        last: str,
        *,
        tags: Mapping[str, str] | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> dg.ExecuteInProcessResult:
        """Run a range of partitions."""
        return dg.materialize(
            [PROCESS_MODELS, metadata_asset(START)],
            selection=[KEY],
            instance=instance,
            resources={"wiring": self.wiring},
            tags={
                "dagster/asset_partition_range_start": first,
                "dagster/asset_partition_range_end": last,
                **(tags or {}),
            },
            run_config=config,
            raise_on_error=False,
        )


def definitions() -> dg.Definitions:
    """The assets, with what they need."""
    return dg.Definitions(assets=[PROCESS_MODELS, metadata_asset(START)], resources={"wiring": object()})


def run_ranges(instance: dg.DagsterInstance, backfill_id: str) -> list[tuple[str, str]]:
    """The ranges of partitions into which Dagster cuts a backfill, before it counts partitions a run."""
    known = find(instance, backfill_id).asset_backfill_data
    assert known is not None
    asset = metadata_asset(START)
    assert asset.partitions_def is not None
    with partition_loading_context(dynamic_partitions_store=instance):
        ranges = known.target_subset.get_partitions_subset(KEY).get_partition_key_ranges(asset.partitions_def)
    return [(found.start, found.end) for found in ranges]


def logged(instance: dg.DagsterInstance, run_id: str, kind: str = "ASSET_MATERIALIZATION") -> dict[str, dict[str, Any]]:
    """What the run said of each partition, each once."""
    events = [
        entry.dagster_event.event_specific_data
        for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType[kind])
        if entry.dagster_event is not None
    ]
    told = [getattr(event, "materialization", None) or getattr(event, "asset_observation", None) for event in events]
    found = {str(one.partition): {name: value.value for name, value in one.metadata.items()} for one in told if one}
    assert len(found) == len(events)
    return found


def failure(result: dg.ExecuteInProcessResult) -> str:
    """The sentence with which a run failed."""
    [event] = [event for event in result.all_events if event.is_step_failure]
    assert event.step_failure_data.user_failure_data is not None
    return str(event.step_failure_data.user_failure_data.description)


def checked(result: dg.ExecuteInProcessResult) -> tuple[bool, str]:
    """What the check said."""
    [found] = result.get_asset_check_evaluations()
    return found.passed, str(found.description)
