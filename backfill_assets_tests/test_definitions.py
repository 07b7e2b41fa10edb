"""The code location loads in every configuration, and lightly."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from backfill_assets.adapters.state.schema import initialise
from backfill_assets_tests.adapters.state.test_schema import run_sql, version_table

LOAD = """
import json, os, sys
import dagster as dg
from backfill_assets.definitions import backfill_assets
from backfill_assets.settings import publish

told = []
for variables in json.loads(sys.argv[1]):
    for name in [name for name in os.environ if name.startswith(("BACKFILL_", "SPIFFWORKFLOW_"))]:
        del os.environ[name]
    publish(variables)
    defs = backfill_assets()
    dg.Definitions.validate_loadable(defs)
    repository = defs.get_repository_def()
    assets = repository.asset_graph.materializable_asset_keys
    windows = {key.to_user_string(): repository.asset_graph.get(key).partitions_def for key in assets}
    sensors = [(s.name, s.default_status.value, s.minimum_interval_seconds) for s in repository.sensor_defs]
    grains = {
        key: type(found.get_partitions_def_for_dimension("window")).__name__
        for key, found in windows.items()
        if isinstance(found, dg.MultiPartitionsDefinition) and "window" in found.partition_dimension_names
    }
    tenants = {key: found.name for key, found in windows.items() if isinstance(found, dg.DynamicPartitionsDefinition)}
    schedules = {s.name: (s.cron_schedule, s.default_status.value) for s in repository.schedule_defs}
    external = sorted(key.to_user_string() for key in repository.asset_graph.external_asset_keys)
    loaded = sorted(name for name in sys.modules if "process_metadata" in name and ".configuration." not in name)
    more = {"external": external, "loaded": loaded, "all": sorted(windows)}
    told.append({**more, "grains": grains, "sensors": sensors, "tenants": tenants, "schedules": schedules})
heavy = ("pandas", "duckdb", "snowflake", "spacy", "alembic", "boto3", "psycopg", "cryptography")
heavy = [name for name in heavy if name in sys.modules]
print(json.dumps({"told": told, "heavy": heavy}))
"""

METADATA_ALONE = {"SPIFFWORKFLOW_BACKEND_PROCESS_INSTANCE_METADATA_BACKFILL_ENABLED": "true"}
METADATA = {
    **METADATA_ALONE,
    "SPIFFWORKFLOW_BACKEND_CELERY_ENABLED": "true",
    "SPIFFWORKFLOW_BACKEND_DATABASE_URI": "postgresql://me:secret@127.0.0.1:1/product",
    "SPIFFWORKFLOW_BACKEND_BPMN_SPEC_ABSOLUTE_DIR": "/not/there",
}
ROWS = "process_metadata/process_instance_metadata"

TABLES = ["connectwise/service_tickets", "connectwise/time_entries", "servicenow/sys_user", "salesforce/case"]
WEEKLY, DAILY, MONTHLY = (f"{grain}PartitionsDefinition" for grain in ("Weekly", "Daily", "Monthly"))
EXTRA = {"version_field": "_info/lastUpdated", "incremental_field": "lastUpdated"}
SERVICE_FILES: list[Any] = [
    {"services": {"connectwise": {"grain": "daily", "sync_frequency": "15min"}}},
    {"services": {"connectwise": {"grain": "monthly", "tables": {"project/projects": EXTRA}}}},
    {"service_settings": {"connectwise": {"default_lookback_days": 730, "chunk_size_days": 30}}},
]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the code location holds in each of these configurations, loaded one after the other in one process."""
    folder = tmp_path_factory.mktemp("home")
    configurations: list[dict[str, str]] = [{}]
    for number, content in enumerate(SERVICE_FILES):
        file = folder / f"{number}.yaml"
        file.write_text(yaml.safe_dump(content))
        configurations.append({"BACKFILL_SERVICES_FILE": str(file)})
    configurations.append({"BACKFILL_DOMAINS": "tenant_history"})
    configurations.append({"BACKFILL_DATABASE_URL": "postgresql://me:secret@127.0.0.1:1/away"})
    configurations.append(METADATA)
    configurations.append({**METADATA, "BACKFILL_DOMAINS": "tenant_history"})
    configurations.append({"BACKFILL_QUEUE_DATABASE_URL": "postgresql://me:secret@127.0.0.1:1/platform"})
    return load(folder, configurations)


def load(folder: Path, configurations: list[dict[str, str]]) -> Any:
    program = [sys.executable, "-c", LOAD, json.dumps(configurations)]
    environ = {"PYTHONPATH": str(Path(__file__).parents[1]), "PATH": "/usr/bin:/bin"}
    ran = subprocess.run(program, capture_output=True, text=True, cwd=folder, env=environ, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


def grains_of(told: Any, service: str) -> set[str]:
    return {grain for key, grain in told["grains"].items() if key.startswith(f"{service}/")}


def test_it_loads_without_any_setting(loaded: Any) -> None:
    grains = loaded["told"][0]["grains"]
    assert set(TABLES) < set(grains)
    assert set(grains.values()) == {WEEKLY}
    assert loaded["told"][4] == loaded["told"][0]


def test_the_grain_is_the_services_files(loaded: Any) -> None:
    assert grains_of(loaded["told"][1], "connectwise") == {DAILY}
    assert grains_of(loaded["told"][1], "servicenow") == {WEEKLY}
    assert grains_of(loaded["told"][2], "connectwise") == {MONTHLY}


def test_a_table_that_the_services_file_adds_is_an_asset(loaded: Any) -> None:
    assert "connectwise/project_projects" in loaded["told"][2]["grains"]


def test_an_existing_backfill_config_loads_unchanged(loaded: Any) -> None:
    assert set(TABLES) < set(loaded["told"][3]["grains"])


def test_the_sensors_run_by_default_and_often(loaded: Any) -> None:
    ours = {"new_tenant_services", "backfill_hours"}
    for number, told in enumerate(loaded["told"]):
        more = {6: {"new_metadata_fields"}, 8: {"queued_tables"}}.get(number, set())
        assert {name for name, _, _ in told["sensors"]} == ours | more
        for _, status, seconds in told["sensors"]:
            assert status == "RUNNING"
            assert seconds <= 30


def test_canonical_tables_are_partitioned_by_tenant(loaded: Any) -> None:
    entities = {
        "connectwise": ["companies", "contacts", "tickets", "time_entries"],
        "servicenow": ["companies", "contacts", "tickets", "time_entries"],
        "salesforce": ["companies", "contacts", "tickets"],
    }
    assert loaded["told"][0]["tenants"] == {
        f"canonical/{service}/{entity}": f"{service}_tenants" for service in entities for entity in entities[service]
    }


def test_each_service_is_synced_by_a_schedule_that_runs_by_default(loaded: Any) -> None:
    hourly = {f"{service}_sync": ["0 * * * *", "RUNNING"] for service in ("connectwise", "salesforce", "servicenow")}
    assert loaded["told"][0]["schedules"] == hourly
    assert loaded["told"][1]["schedules"] == {**hourly, "connectwise_sync": ["*/15 * * * *", "RUNNING"]}


def test_nothing_of_process_metadata_is_loaded_unless_it_is_switched_on(loaded: Any) -> None:
    for told in (*loaded["told"][:6], loaded["told"][7]):
        assert told["external"] == []
        assert ROWS not in told["all"]
    assert not any(told["loaded"] for told in loaded["told"][:6])


def test_switched_on_the_metadata_rows_are_an_asset_below_the_process_models(loaded: Any) -> None:
    assert loaded["told"][6]["external"] == ["process_metadata/process_models"]
    assert ROWS in loaded["told"][6]["all"]


def test_jobs_of_tables_are_an_asset_where_there_is_a_queue(loaded: Any) -> None:
    with_queue = [number for number, told in enumerate(loaded["told"]) if "table_backfill/table_rows" in told["all"]]
    assert with_queue == [8]


def test_process_metadata_without_celery_stops_the_load_with_the_sentence_of_the_product(tmp_path: Path) -> None:
    with pytest.raises(AssertionError) as stopped:
        load(tmp_path, [METADATA_ALONE])
    assert (
        "SPIFFWORKFLOW_BACKEND_PROCESS_INSTANCE_METADATA_BACKFILL_ENABLED is set to true but "
        "SPIFFWORKFLOW_BACKEND_CELERY_ENABLED is set to false. "
        "The metadata backfill feature requires Celery to be enabled."
    ) in str(stopped.value)


def test_loading_brings_in_no_heavy_library(loaded: Any) -> None:
    assert loaded["heavy"] == []


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_the_schema_of_another_version_stops_the_load_and_no_schema_does_not(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    if kind == "postgres":
        url = request.getfixturevalue("database_url")
    state = {"BACKFILL_DATABASE_URL": url}
    load(tmp_path, [state])
    assert list(tmp_path.iterdir()) == []
    initialise(url)
    load(tmp_path, [state])
    run_sql(url, f"UPDATE {version_table(url)} SET version_num = '9999'")
    with pytest.raises(AssertionError, match=r"is at revision 9999 and this version needs .*; run `backfill init`"):
        load(tmp_path, [state])


def test_a_setting_that_makes_no_sense_stops_the_load_with_its_sentence(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="BACKFILL_DOMAINS names 'work', which is no domain"):
        load(tmp_path, [{"BACKFILL_DOMAINS": "work"}])
