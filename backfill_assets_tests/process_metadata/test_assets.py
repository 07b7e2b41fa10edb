"""A run of the metadata asset: what Dagster is told of each partition, and when the run fails."""

from functools import partial
from typing import Any

import dagster as dg
import pytest
from dagster import RunsFilter
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run

from backfill_assets.adapters.spiffworkflow.memory import MetadataRow
from backfill_assets.following import RESUME_TAG
from backfill_assets.process_metadata.assets import OP, PROCESS_MODELS, metadata_asset
from backfill_assets.process_metadata.partitions import FIELDS, by_model, taken_apart
from backfill_assets_tests.process_metadata.worlds import (
    MODEL,
    MONTHS,
    START,
    World,
    checked,
    definitions,
    failure,
    logged,
)

# Dagster writes queries that SQLAlchemy grumbles about.
pytestmark = pytest.mark.filterwarnings("ignore:Coercing Subquery:sqlalchemy.exc.SAWarning")

FILLED = {"customer": "customer.id", "total": "invoice.total"}


def run(world: World, instance: dg.DagsterInstance, first: str, last: str, *fields: str, **more: Any) -> Any:
    instance.add_dynamic_partitions(str(FIELDS.name), [f"{MODEL}:{key}" for key in fields])
    ends = (f"{first}|{MODEL}:{fields[0]}", f"{last}|{MODEL}:{fields[-1]}")
    return world.run(instance, *ends, **more)


def keys(field: str, *months: str) -> list[str]:
    return [f"{month}|{MODEL}:{field}" for month in months]


@pytest.fixture
def filled(world: World) -> World:
    world.model(FILLED)
    world.instances(1, {"customer": {"id": 7}}, {"customer": {"id": "eight"}, "invoice": {"total": 1.5}}, None)
    world.instances(3, {"customer": {"id": "c" * 300}})
    return world


def test_each_month_of_each_field_is_materialised_once_with_its_numbers(
    filled: World, instance: dg.DagsterInstance
) -> None:
    result = run(filled, instance, MONTHS[0], MONTHS[3], "customer", "total")
    assert result.success
    found = logged(instance, result.run_id)
    assert set(found) == {*keys("customer", *MONTHS), *keys("total", *MONTHS)}
    names = ("rows", "source_rows", "processed", "updated", "unchanged", "missing", "truncated", "failed", "complete")
    shown = {key: tuple(found[key][name] for name in names) for key in found}
    assert shown[keys("customer", MONTHS[0])[0]] == (2, 2, 3, 2, 0, 1, 0, 0, True)
    assert shown[keys("total", MONTHS[0])[0]] == (1, 1, 3, 1, 0, 2, 0, 0, True)
    assert shown[keys("customer", MONTHS[1])[0]] == (0, 0, 0, 0, 0, 0, 0, 0, True)
    assert shown[keys("customer", MONTHS[2])[0]] == (1, 1, 1, 1, 0, 0, 1, 0, True)
    assert found[keys("customer", MONTHS[0])[0]]["path"] == "customer.id"
    assert {type(found[key]["seconds"]) for key in found} == {float}
    assert filled.values() == {
        (1, "customer"): "7",
        (2, "customer"): "eight",
        (2, "total"): "1.5",
        (4, "customer"): "c" * 255,
    }
    assert checked(result) == (True, "8 months of fields have all their rows")


def test_the_instances_are_read_once_for_all_fields_of_a_run(filled: World, instance: dg.DagsterInstance) -> None:
    result = run(filled, instance, MONTHS[0], MONTHS[3], "customer", "total")
    lines = [entry.user_message for entry in instance.all_logs(result.run_id)]
    started = [line for line in lines if "Starting metadata backfill for process model" in line]
    assert [line.partition("]: ")[2] for line in started] == [f"Starting metadata backfill for process model: {MODEL}"]
    assert started[0].startswith(f"celery_task_backfill_metadata[{result.run_id}]: ")


def test_no_value_of_an_instance_is_in_a_log(filled: World, instance: dg.DagsterInstance) -> None:
    result = run(filled, instance, MONTHS[0], MONTHS[3], "customer", "total")
    told = "\n".join(str(entry) for entry in instance.all_logs(result.run_id))
    assert "eight" not in told
    assert "c" * 100 not in told


def test_a_key_that_the_model_lacks_fails_after_the_others_are_done(
    filled: World, instance: dg.DagsterInstance
) -> None:
    result = run(filled, instance, MONTHS[0], MONTHS[0], "customer", "gone", "total")
    assert not result.success
    file = filled.root / MODEL / "process_model.json"
    assert failure(result) == (
        f"1 of 3 partitions failed; {keys('gone', MONTHS[0])[0]}: {file} has no such key; it has customer, total"
    )
    assert set(logged(instance, result.run_id)) == {keys("customer", MONTHS[0])[0], keys("total", MONTHS[0])[0]}


def test_a_model_that_cannot_be_read_fails_with_file_and_line(filled: World, instance: dg.DagsterInstance) -> None:
    file = filled.model(None)
    file.write_text("{\n]")
    result = run(filled, instance, MONTHS[0], MONTHS[1], "customer")
    assert f"the process model cannot be read: {file}, line 2: not JSON" in failure(result)
    assert filled.values() == {}


def test_the_path_is_the_one_in_the_file_when_the_run_begins(filled: World, instance: dg.DagsterInstance) -> None:
    filled.model({"customer": "invoice.total"})
    result = run(filled, instance, MONTHS[0], MONTHS[0], "customer")
    assert filled.values() == {(2, "customer"): "1.5"}
    assert logged(instance, result.run_id)[keys("customer", MONTHS[0])[0]]["path"] == "invoice.total"


def test_a_path_that_changes_meanwhile_stops_the_run_before_its_next_batch(
    filled: World, instance: dg.DagsterInstance
) -> None:
    filled.batch_size = 1
    filled.before_each_batch = partial(filled.model, {"customer": "invoice.total"}, age=1_800_000_000)
    result = run(filled, instance, MONTHS[0], MONTHS[3], "customer")
    assert not result.success
    assert filled.values() == {(1, "customer"): "7"}
    assert failure(result).startswith("4 of 4 partitions failed; ")
    assert "was changed meanwhile" in failure(result)


def test_rows_that_are_there_stay_unless_it_overwrites_what_was_there_before(
    filled: World, instance: dg.DagsterInstance
) -> None:
    old = MetadataRow(instance_id=1, key="customer", value="by hand", updated_at=5, created_at=5)
    live = MetadataRow(instance_id=2, key="customer", value="live", updated_at=2**40, created_at=5)
    filled.installation.rows = {(1, "customer"): old, (2, "customer"): live}
    result = run(filled, instance, MONTHS[0], MONTHS[0], "customer")
    assert filled.values() == {(1, "customer"): "by hand", (2, "customer"): "live"}
    assert logged(instance, result.run_id)[keys("customer", MONTHS[0])[0]]["unchanged"] == 2
    config = {"ops": {OP: {"config": {"overwrite": True}}}}
    run(filled, instance, MONTHS[0], MONTHS[0], "customer", config=config)
    assert filled.values() == {(1, "customer"): "7", (2, "customer"): "live"}


def test_a_limited_run_completes_no_partition_and_says_what_it_saw(filled: World, instance: dg.DagsterInstance) -> None:
    config = {"ops": {OP: {"config": {"most_instances": 1}}}}
    result = run(filled, instance, MONTHS[0], MONTHS[3], "customer", config=config)
    assert result.success
    assert logged(instance, result.run_id) == {}
    observed = logged(instance, result.run_id, "ASSET_OBSERVATION")
    assert set(observed) == set(keys("customer", *MONTHS))
    assert sum(told["processed"] for told in observed.values()) == 1
    assert filled.values() == {(1, "customer"): "7"}


def test_instances_that_fail_are_rejected_and_the_check_names_month_and_field(
    filled: World, instance: dg.DagsterInstance
) -> None:
    filled.instances(2, "{ no json")
    result = run(filled, instance, MONTHS[0], MONTHS[3], "customer")
    assert result.success
    told = logged(instance, result.run_id)[keys("customer", MONTHS[1])[0]]
    assert (told["rows_rejected"], told["complete"]) == (1, False)
    assert checked(result) == (
        False,
        f"2024-02 {MODEL}:customer: 1 instances failed; see `backfill dead-letters list`",
    )
    [letter] = filled.dead_letters.letters()
    assert (letter.service, letter.table, letter.partition) == (MODEL, "customer", keys("customer", MONTHS[1])[0])


def test_the_check_looks_at_the_newest_materialisation_and_leaves_forgotten_fields_out(
    filled: World, instance: dg.DagsterInstance
) -> None:
    filled.instances(2, "{ no json")
    run(filled, instance, MONTHS[0], MONTHS[3], "customer")
    filled.installation.tasks.pop()
    filled.installation.instances.pop()
    result = run(filled, instance, MONTHS[1], MONTHS[1], "customer")
    assert checked(result) == (True, "4 months of fields have all their rows")
    filled.instances(2, "{ no json")
    assert not checked(run(filled, instance, MONTHS[1], MONTHS[1], "customer"))[0]
    filled.fields.remember({MODEL: {"total": "invoice.total"}})
    assert checked(run(filled, instance, MONTHS[0], MONTHS[0], "total"))[0]


def test_a_resumed_run_skips_what_earlier_runs_of_its_group_did(filled: World, instance: dg.DagsterInstance) -> None:
    first = run(filled, instance, MONTHS[0], MONTHS[0], "customer")
    job = dg.Definitions(
        assets=[PROCESS_MODELS, metadata_asset(START)],
        resources={"wiring": filled.wiring},
        executor=dg.in_process_executor,
    ).resolve_implicit_global_asset_job_def()
    tags = {**first.dagster_run.tags, "dagster/asset_partition_range_end": keys("customer", MONTHS[3])[0]}
    group = {"dagster/root_run_id": first.run_id, "dagster/parent_run_id": first.run_id, RESUME_TAG: "true"}
    again = instance.create_run_for_job(
        job_def=job, tags={**tags, **group}, root_run_id=first.run_id, parent_run_id=first.run_id
    )
    execute_run(InMemoryJob(job), again, instance, raise_on_error=False)
    assert instance.get_runs(RunsFilter(run_ids=[again.run_id]))[0].is_success
    assert set(logged(instance, again.run_id)) == set(keys("customer", *MONTHS[1:]))


def test_the_process_models_are_an_external_asset_above_the_rows() -> None:
    graph = definitions().resolve_asset_graph()
    [key] = graph.external_asset_keys
    assert key.path == ["process_metadata", "process_models"]
    [child] = graph.get(key).child_keys
    assert child.path == ["process_metadata", "process_instance_metadata"]


def test_fields_of_the_same_months_are_filled_together_and_others_apart() -> None:
    asked = [
        "2024-01-01|m:a",
        "2024-02-01|m:a",
        "2024-01-01|m:b",
        "2024-02-01|m:b",
        "2024-02-01|m:c%2Cd",
        "2024-01-01|n:a",
    ]
    found = by_model(START, asked)
    shown = {
        model: [([month.key for month in months], names) for months, names in passes] for model, passes in found.items()
    }
    assert shown == {
        "m": [(["2024-01-01", "2024-02-01"], ["a", "b"]), (["2024-02-01"], ["c,d"])],
        "n": [(["2024-01-01"], ["a"])],
    }


def test_a_key_with_colons_belongs_to_the_model_before_the_first() -> None:
    assert taken_apart("2024-01-01|a/b:c:d%7Ce") == ("2024-01-01", "a/b", "c:d|e")
