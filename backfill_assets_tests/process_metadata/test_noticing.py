"""What a look at the process models launches, and what it remembers."""

import json
import time
from itertools import count
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus

from backfill_assets.adapters.spiffworkflow.memory import MetadataRow
from backfill_assets.errors import PermanentError
from backfill_assets.following import backfills, find, has_succeeded
from backfill_assets.process_metadata.assets import OP
from backfill_assets.process_metadata.paths import ModelReader
from backfill_assets_tests.process_metadata.worlds import MODEL, MONTHS, World, run_ranges

# Dagster writes queries that SQLAlchemy grumbles about.
pytestmark = pytest.mark.filterwarnings("ignore:Coercing Subquery:sqlalchemy.exc.SAWarning")


@pytest.fixture
def known(world: World, instance: dg.DagsterInstance) -> World:
    """An installation that has been seen."""
    world.model({"customer": "customer.id"})
    world.model({"other": "o"}, "another")
    world.notice(instance)
    assert launched(instance) == []
    return world


def launched(instance: dg.DagsterInstance) -> list[str]:
    """The titles of what was launched, oldest first."""
    return [str(backfill.title) for backfill in reversed(backfills(instance, {}))]


def test_the_first_look_adopts_all_and_lets_it_be_picked(world: World, instance: dg.DagsterInstance) -> None:
    world.model({"customer": "customer.id", "a,b|c": "x"})
    noticed = world.notice(instance)
    assert noticed.told == ["2 metadata fields of 1 process models are known from now on"]
    assert noticed.cursor
    assert launched(instance) == []
    assert set(instance.get_dynamic_partitions("metadata_fields")) == {f"{MODEL}:customer", f"{MODEL}:a%2Cb%7Cc"}


def test_a_new_key_is_launched_once_for_all_months_and_remembered(known: World, instance: dg.DagsterInstance) -> None:
    known.model({"customer": "customer.id", "total": "invoice.total"})
    [told] = known.notice(instance).told
    [backfill] = backfills(instance, {})
    assert told == f"{MODEL}: total: launched backfill {backfill.backfill_id} (new metadata key)"
    ends = (f"{MONTHS[0]}|{MODEL}:total", f"{MONTHS[-1]}|{MODEL}:total")
    assert run_ranges(instance, backfill.backfill_id) == [ends]
    assert (backfill.tags["backfill/domain"], backfill.tags["backfill/requested_by"]) == ("process_metadata", "test")
    assert backfill.description == "new metadata key"
    assert not backfill.run_config
    assert known.notice(instance).told == []
    assert len(backfills(instance, {})) == 1


def test_a_changed_path_is_launched_to_rewrite_what_is_there(known: World, instance: dg.DagsterInstance) -> None:
    known.model({"customer": "customer.name"})
    known.notice(instance)
    [backfill] = backfills(instance, {})
    assert backfill.run_config == {"ops": {OP: {"config": {"overwrite": True}}}}
    assert backfill.title == f"{MODEL}: customer (rewrite)"


def test_an_ignored_path_is_remembered_and_not_launched(known: World, instance: dg.DagsterInstance) -> None:
    known.on_changed_path = "ignore"
    known.model({"customer": "customer.name"})
    known.notice(instance)
    assert launched(instance) == []
    known.on_changed_path = "redo"
    known.notice(instance)
    assert launched(instance) == []
    assert known.fields.known()[MODEL] == {"customer": "customer.name"}


def test_a_look_that_dies_before_it_remembers_launches_the_same_only_once(
    known: World, instance: dg.DagsterInstance
) -> None:
    known.model({"customer": "customer.id", "total": "invoice.total"})
    before = known.fields.known()
    known.notice(instance)
    known.fields.remember(before)
    [told] = known.notice(instance).told
    assert told.endswith("is already under way (new metadata key)")
    assert len(backfills(instance, {})) == 1


def test_what_could_not_be_launched_is_told_and_tried_again(known: World, instance: dg.DagsterInstance) -> None:
    known.model({"customer": "customer.id", "total": "invoice.total"})
    known.model({"other": "o", "more": "m"}, "another")
    remember = known.fields.remember

    def refuse(seen: object) -> None:
        if "another" in dict(seen):  # type: ignore[call-overload]
            raise PermanentError("the state database is full")
        remember(seen)  # type: ignore[arg-type]

    known.fields.remember = refuse  # type: ignore[method-assign]
    noticed = known.notice(instance)
    assert noticed.problems == ["another: not launched: the state database is full"]
    assert noticed.cursor is None
    assert set(launched(instance)) == {"another: more", f"{MODEL}: total"}
    assert known.fields.known()["another"] == {"other": "o"}


def test_an_unreadable_file_is_a_problem_and_the_other_models_go_on(known: World, instance: dg.DagsterInstance) -> None:
    file = known.model(None)
    file.write_text("{\noops")
    known.model({"other": "o", "more": "m"}, "another")
    noticed = known.notice(instance)
    assert len(noticed.problems) == 1
    assert noticed.problems[0].startswith(f"{file}, line 2: not JSON")
    assert noticed.cursor is None
    assert launched(instance) == ["another: more"]
    assert known.fields.known()[MODEL] == {"customer": "customer.id"}


def test_a_key_that_is_there_twice_is_told(known: World, instance: dg.DagsterInstance) -> None:
    known.model([{"key": "customer", "path": "x"}, {"key": "customer", "path": "customer.id"}])
    [told] = known.notice(instance).told
    assert told.endswith("key 'customer' is there twice; its last path counts")
    assert launched(instance) == []


def test_a_removed_key_is_forgotten_and_adding_it_again_launches_it(known: World, instance: dg.DagsterInstance) -> None:
    known.model(None)
    assert known.notice(instance).told == []
    assert launched(instance) == []
    known.model({"customer": "customer.id"})
    known.notice(instance)
    assert launched(instance) == [f"{MODEL}: customer"]


def test_a_folder_that_is_gone_or_empty_is_an_error_and_forgets_nothing(
    known: World, instance: dg.DagsterInstance
) -> None:
    before, root = known.fields.known(), known.root
    known.root = root / "away"
    with pytest.raises(PermanentError, match="cannot be read"):
        known.notice(instance)
    known.root.mkdir()
    with pytest.raises(PermanentError, match=r"holds no process model, and held 2 before; mount it"):
        known.notice(instance)
    assert known.fields.known() == before


def test_nothing_is_read_while_nothing_looks_different(known: World, instance: dg.DagsterInstance) -> None:
    cursor = known.notice(instance).cursor
    file = known.root / MODEL / "process_model.json"
    file.chmod(0o644)
    again = known.notice(instance, cursor)  # chmod may look like a change
    assert again.cursor
    known.fields.forget([MODEL])
    known.notice(instance, again.cursor)
    assert launched(instance) == [f"{MODEL}: customer"]


def test_the_cursor_waits_until_the_files_are_old_enough(world: World, instance: dg.DagsterInstance) -> None:
    world.model({"customer": "customer.id"})
    assert world.notice(instance).cursor is not None
    world.now_ns = time.time_ns
    assert world.notice(instance).cursor is None


def test_thousands_of_models_that_have_not_changed_take_less_than_a_second(
    world: World, instance: dg.DagsterInstance
) -> None:
    for number in range(5000):
        world.model({"k": "p", "l": "q"}, f"group{number % 50}/model{number}")
    cursor = world.notice(instance).cursor
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        assert world.notice(instance, cursor).cursor == cursor
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 1


def test_a_tick_that_has_launched_for_long_leaves_the_rest_to_the_next(
    known: World, instance: dg.DagsterInstance
) -> None:
    for name in "abc":
        known.model({"k": "p"}, name)
    seconds = count(step=15)
    known.monotonic = lambda: float(next(seconds))
    noticed = known.notice(instance)
    assert launched(instance) == ["a: k"]
    assert noticed.told[-1] == "2 process models more are launched the next time"
    assert (noticed.problems, noticed.cursor) == ([], None)
    known.monotonic = time.monotonic
    known.notice(instance)
    assert launched(instance) == ["a: k", "b: k", "c: k"]


def test_a_changed_path_reaches_the_rows_that_are_there_but_none_that_is_younger_than_its_launch(
    known: World, instance: dg.DagsterInstance
) -> None:
    first, second = known.instances(2, {"customer": {"id": 1, "name": "n"}}, {"customer": {"id": 2, "name": "m"}})
    old = MetadataRow(instance_id=first, key="customer", value="1", updated_at=5, created_at=5)
    live = MetadataRow(instance_id=second, key="customer", value="live", updated_at=2**40, created_at=5)
    known.installation.rows = {(first, "customer"): old, (second, "customer"): live}
    known.model({"customer": "customer.name"})
    known.notice(instance)
    [backfill] = backfills(instance, {})
    assert [result.success for result in known.run_backfill(instance, backfill.backfill_id)] == [True]
    assert known.values() == {(first, "customer"): "n", (second, "customer"): "live"}


def test_more_fields_than_months_are_read_in_one_pass(known: World, instance: dg.DagsterInstance) -> None:
    known.model({"customer": "customer.id", **{f"k{number}": "p" for number in range(5)}})
    known.notice(instance)
    [backfill] = backfills(instance, {})
    ends = [(f"{month}|{MODEL}:k0", f"{month}|{MODEL}:k4") for month in MONTHS]
    assert sorted(run_ranges(instance, backfill.backfill_id)) == ends


def test_a_backfill_that_dagster_called_failed_too_early_is_put_right(
    known: World, instance: dg.DagsterInstance
) -> None:
    known.model({"customer": "customer.id", "total": "invoice.total"})
    known.notice(instance)
    [backfill] = backfills(instance, {})
    known.run_backfill(instance, backfill.backfill_id)
    ended = backfill._replace(status=BulkActionStatus.COMPLETED_FAILED, backfill_end_timestamp=time.time() - 60)
    instance.update_backfill(ended)
    known.notice(instance)
    assert has_succeeded(find(instance, backfill.backfill_id))


def test_a_path_that_changes_stops_the_run_that_fills_it(tmp_path: Path) -> None:
    file = tmp_path / "m" / "process_model.json"
    file.parent.mkdir()

    def write(**paths: str) -> None:
        entries = [{"key": key, "path": path} for key, path in paths.items()]
        file.write_text(json.dumps({"metadata_extraction_paths": entries}))

    write(a="x", b="y")
    reader = ModelReader(root=tmp_path, model="m")
    fields, unknown = reader.fields(["a", "c"])
    assert [(one.key, one.path) for one in fields] == [("a", "x")]
    assert [one.key for one in unknown] == ["c"]
    reader.require_unchanged()
    write(a="x", b="another of b, which is not filled", d="new")
    reader.require_unchanged()
    file.write_text("{ half written")
    reader.require_unchanged()
    write(a="changed")
    with pytest.raises(PermanentError, match="was changed meanwhile"):
        reader.require_unchanged()
