"""A run of the assets of work orders: what Dagster is told of each month, and when the run fails."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster_shared.serdes import serialize_value

from backfill_assets.adapters.ai.opening import Opened
from backfill_assets.adapters.lake.folder import Folder
from backfill_assets.adapters.lake.raw import RawLake
from backfill_assets.adapters.snowflake.memory import MemorySource
from backfill_assets.adapters.work_orders.memory import MemoryOrders
from backfill_assets.core.certificates import MemoryCertificates
from backfill_assets.core.dead_letters import Fate, MemoryDeadLetters
from backfill_assets.core.enriched import OrderTarget
from backfill_assets.core.enrichment import Insight, MemoryEmbedder, MemoryExtractor
from backfill_assets.core.handoff import MemoryHandoffs
from backfill_assets.core.orders import OrderSource
from backfill_assets.core.scrubbing import MemoryScrubber, Scrubber
from backfill_assets.core.switches import MemorySwitches
from backfill_assets.errors import BudgetExhausted, RejectedRecord
from backfill_assets.order_parts import OrderParts
from backfill_assets.resources import Wiring
from backfill_assets.settings import Settings
from backfill_assets.work_orders.assets import OP, order_assets
from backfill_assets.work_orders.outcomes import EMBEDDING, ENRICHMENT, EXTRACTION, STAGES
from backfill_assets.work_orders.partitions import KEYS
from backfill_assets.work_orders.retrying import retry_letters
from backfill_assets_tests.work_orders.orders import NOW, row

pytestmark = pytest.mark.filterwarnings("ignore:Coercing Subquery:sqlalchemy.exc.SAWarning")

START = datetime(2024, 1, 1, tzinfo=UTC).date()
SECRET = "Zoe Smith"


@dataclass(kw_only=True)
class World:
    """Source, tables, provider and ledgers in memory."""

    root: Path
    source: MemorySource = field(default_factory=MemorySource)
    target: MemoryOrders = field(default_factory=lambda: MemoryOrders(dimensions=8))
    extractor: MemoryExtractor = field(default_factory=MemoryExtractor)
    embedder: MemoryEmbedder = field(default_factory=MemoryEmbedder)
    scrubber: MemoryScrubber = field(default_factory=lambda: MemoryScrubber(private=[SECRET]))
    letters: MemoryDeadLetters = field(default_factory=MemoryDeadLetters)

    @contextmanager
    def _source(self) -> Iterator[OrderSource]:
        yield self.source

    @contextmanager
    def _target(self) -> Iterator[OrderTarget]:
        yield self.target

    @contextmanager
    def _scrubber(self) -> Iterator[Scrubber]:
        yield self.scrubber

    @asynccontextmanager
    async def _provider(self) -> AsyncIterator[Opened]:
        yield Opened(extractor=self.extractor, embedder=self.embedder)

    @property
    def wiring(self) -> Wiring:
        """What runs and commands work with."""
        return Wiring(
            settings=Settings(work_orders_start=START.isoformat()),
            lake=RawLake(Folder(self.root), lock=lambda name: nullcontext()),
            dead_letters=self.letters,
            switches=MemorySwitches(),
            certificates=MemoryCertificates(),
            handoffs=MemoryHandoffs(),
            lock=lambda name: nullcontext(),
            connect=lambda _: None,  # type: ignore[arg-type,return-value]
            probe=lambda _: None,  # type: ignore[arg-type,return-value]
            clock=lambda: NOW,
            orders=OrderParts(
                source=self._source, target=self._target, provider=self._provider, scrubber=self._scrubber
            ),
        )

    def run(
        self, instance: dg.DagsterInstance, first: str, last: str, stages: Sequence[str] = STAGES, **config: Any
    ) -> Any:
        """Run a range of months."""
        tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
        return dg.materialize(
            [order_assets(START)],
            selection=[KEYS[stage] for stage in stages],
            instance=instance,
            resources={"wiring": self.wiring},
            tags=tags,
            run_config={"ops": {OP: {"config": config}}},
            raise_on_error=False,
        )


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance in memory."""
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Two months of records."""
    rows = [
        row(f"{month}-{n}", datetime(2024, month, 3, tzinfo=UTC), f"Pump {n} of {SECRET} leaks oil at the front seal")
        for month in (1, 2)
        for n in range(5)
    ]
    return World(root=tmp_path, source=MemorySource(rows))


def told(instance: dg.DagsterInstance, run_id: str) -> dict[tuple[str, str], dict[str, Any]]:
    """The materialisations of a run, each once."""
    found = {}
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION):
        assert entry.dagster_event is not None
        one = entry.dagster_event.step_materialization_data.materialization
        key = (one.asset_key.path[-1], str(one.partition))
        assert key not in found
        found[key] = {name: value.value for name, value in one.metadata.items()}
    return found


def test_each_month_of_each_stage_is_materialised_once(world: World, instance: dg.DagsterInstance) -> None:
    result = world.run(instance, "2024-01-01", "2024-02-01")
    assert result.success
    found = told(instance, result.run_id)
    assert set(found) == {(stage, month) for stage in STAGES for month in ("2024-01-01", "2024-02-01")}
    assert all(one["complete"] and one["rows"] == one["source_rows"] == 5 for one in found.values())
    assert [check.passed for check in result.get_asset_check_evaluations()] == [True] * 3
    observed = instance.all_logs(result.run_id, of_type=dg.DagsterEventType.ASSET_OBSERVATION)
    assert any("| stage | month |" in str(entry.dagster_event) for entry in observed)


def test_nothing_private_is_asked_or_told(world: World, instance: dg.DagsterInstance) -> None:
    world.source.rows.append(row("short", datetime(2024, 1, 5, tzinfo=UTC), SECRET))
    result = world.run(instance, "2024-01-01", "2024-02-01")
    assert len(world.extractor.asked) == len(world.embedder.asked) == 10
    assert SECRET not in f"{world.extractor.asked} {world.embedder.asked} {world.letters.letters()}"
    assert SECRET not in str([serialize_value(entry) for entry in instance.all_logs(result.run_id)])


def test_what_is_up_to_date_is_not_asked_again_and_a_new_prompt_redoes_it(
    world: World, instance: dg.DagsterInstance
) -> None:
    world.run(instance, "2024-01-01", "2024-02-01")
    world.run(instance, "2024-01-01", "2024-02-01")
    assert len(world.extractor.asked) == len(world.embedder.asked) == 10
    world.source.rows[0] = row("1-0", datetime(2024, 1, 3, tzinfo=UTC), "Another text about another pump")
    world.run(instance, "2024-01-01", "2024-02-01")
    assert len(world.extractor.asked) == len(world.embedder.asked) == 11
    origin = world.extractor.origin
    world.extractor.origin = type(origin)(method="memory", model_version="memory-1", prompt_version="2")
    world.run(instance, "2024-01-01", "2024-02-01")
    assert (len(world.extractor.asked), len(world.embedder.asked)) == (21, 11)


def test_a_dead_letter_leaves_the_run_successful_and_the_check_failed(
    world: World, instance: dg.DagsterInstance
) -> None:
    found = world.extractor.find

    def find(text: str) -> Insight:
        if "Pump 3" in text:
            raise RejectedRecord("no valid answer")
        return found(text)

    world.extractor.find = find
    result = world.run(instance, "2024-01-01", "2024-02-01")
    assert result.success
    said = told(instance, result.run_id)
    assert {key for key, one in said.items() if not one["complete"]} == {
        (ENRICHMENT, "2024-01-01"),
        (ENRICHMENT, "2024-02-01"),
    }
    checks = {check.asset_key: check for check in result.get_asset_check_evaluations()}
    assert not checks[KEYS[ENRICHMENT]].passed
    assert checks[KEYS[ENRICHMENT]].severity is dg.AssetCheckSeverity.WARN
    assert {letter.reason for letter in world.letters.letters()} == {"no valid answer"}
    asked = len(world.extractor.asked)
    world.run(instance, "2024-01-01", "2024-02-01")
    assert len(world.extractor.asked) == asked


def test_at_the_cap_the_run_fails_with_its_sentence_and_goes_on_later(
    world: World, instance: dg.DagsterInstance
) -> None:
    found = world.extractor.find

    def find(text: str) -> Insight:
        if len(world.extractor.asked) > 3:
            raise BudgetExhausted("the budget is used up")
        return found(text)

    world.extractor.find = find
    result = world.run(instance, "2024-01-01", "2024-02-01")
    assert not result.success
    assert set(told(instance, result.run_id)) == {(EXTRACTION, "2024-01-01")}
    assert len(world.target.insights) == 3
    world.extractor.find = found
    assert world.run(instance, "2024-01-01", "2024-02-01").success
    assert len(world.target.insights) == 10


def test_a_part_of_a_month_is_observed_only(world: World, instance: dg.DagsterInstance) -> None:
    result = world.run(instance, "2024-01-01", "2024-01-01", last_day="2024-01-03")
    assert result.success
    assert told(instance, result.run_id) == {}
    result = world.run(instance, "2024-02-01", "2024-02-01", most_records=2)
    assert told(instance, result.run_id) == {}
    assert (len(world.target.records), len(world.target.insights)) == (7, 7)


def test_some_stages_may_be_left_out(world: World, instance: dg.DagsterInstance) -> None:
    result = world.run(instance, "2024-01-01", "2024-01-01", stages=[EXTRACTION, EMBEDDING])
    assert set(told(instance, result.run_id)) == {(EXTRACTION, "2024-01-01"), (EMBEDDING, "2024-01-01")}
    assert world.extractor.asked == []


def test_a_dead_letter_that_is_tried_again_is_done_or_kept(world: World, instance: dg.DagsterInstance) -> None:
    found = world.extractor.find

    def find(text: str) -> Insight:
        if "Pump 3" in text:
            raise RejectedRecord("no valid answer")
        return found(text)

    world.extractor.find = find
    world.run(instance, "2024-01-01", "2024-01-01")
    [kept] = retry_letters(world.wiring, instance, world.letters.letters())
    assert [(one.fate, one.reason) for one in kept.answered] == [(Fate.KEPT, "no valid answer")]
    world.extractor.find = found
    [done] = retry_letters(world.wiring, instance, world.letters.letters())
    assert ([one.fate for one in done.answered], done.marked) == ([Fate.STORED], ["2024-01-01"])
    assert (world.letters.letters(), len(world.target.insights)) == ([], 5)
