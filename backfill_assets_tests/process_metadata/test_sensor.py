"""The whole way on real files and databases: a tick of the sensor, its backfill, the runs, and what is there then."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from backfill_assets.adapters.state.schema import initialise
from backfill_assets.core.metadata import MetadataField
from backfill_assets.errors import PermanentError
from backfill_assets.following import backfills
from backfill_assets.process_metadata.automation import new_metadata_fields
from backfill_assets.process_metadata.definitions import build
from backfill_assets.process_metadata.partitions import KEY
from backfill_assets.resources import wiring
from backfill_assets.sandbox.spiffworkflow.peculiar import MODEL, installation
from backfill_assets.sandbox.spiffworkflow.truth import expected
from backfill_assets.settings import load_settings
from backfill_assets_tests.process_metadata.models import write_model
from backfill_assets_tests.process_metadata.products import InSql
from backfill_assets_tests.process_metadata.worlds import run_ranges

# Dagster writes queries that SQLAlchemy grumbles about.
pytestmark = pytest.mark.filterwarnings("ignore:Coercing Subquery:sqlalchemy.exc.SAWarning")


@pytest.fixture
def product(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InSql:
    """An installation whose one model has no field yet."""
    database = InSql(url=f"sqlite:///{tmp_path / 'product.sqlite3'}")
    database.load(installation(11, instances=60))
    write_model(tmp_path / "models", MODEL, {"known": "flat"})
    state = f"sqlite:///{tmp_path / 'state.db'}"
    initialise(state)
    for name, value in {
        "SPIFFWORKFLOW_BACKEND_PROCESS_INSTANCE_METADATA_BACKFILL_ENABLED": "true",
        "SPIFFWORKFLOW_BACKEND_CELERY_ENABLED": "true",
        "SPIFFWORKFLOW_BACKEND_DATABASE_URI": database.url,
        "SPIFFWORKFLOW_BACKEND_BPMN_SPEC_ABSOLUTE_DIR": str(tmp_path / "models"),
        "BACKFILL_DATABASE_URL": state,
        "BACKFILL_LAKE_ROOT": str(tmp_path / "lake"),
        "BACKFILL_METADATA_START_DATE": "2024-01-01",
    }.items():
        monkeypatch.setenv(name, value)
    return database


@pytest.fixture
def on_disk(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """A Dagster instance in SQLite."""
    home = tmp_path / "dagster"
    home.mkdir()
    with dg.DagsterInstance.local_temp(str(home)) as local:
        yield local


def defined() -> dg.Definitions:
    ours = dg.Definitions(resources={"wiring": wiring}, executor=dg.in_process_executor)
    return dg.Definitions.merge(ours, build(load_settings()))


def tick(instance: dg.DagsterInstance, cursor: str | None = None) -> tuple[str, str | None]:
    """What one evaluation says, and its cursor."""
    with dg.build_sensor_context(instance, repository_def=defined().get_repository_def(), cursor=cursor) as context:
        skipped = new_metadata_fields(context)
        assert isinstance(skipped, dg.SkipReason)
        return str(skipped.skip_message), context.cursor


def test_a_key_added_to_a_model_reaches_every_instance_that_holds_a_value(
    product: InSql, tmp_path: Path, on_disk: dg.DagsterInstance
) -> None:
    told, _ = tick(on_disk)
    assert told == "1 metadata fields of 1 process models are known from now on"
    assert tick(on_disk)[0] == "no process model has changed"
    write_model(tmp_path / "models", MODEL, {"known": "flat", "customer, id": "customer.id"}, age=1_700_000_100)
    assert tick(on_disk)[0].startswith(f"{MODEL}: customer, id: launched backfill ")
    [backfill] = backfills(on_disk, {})
    job = defined().resolve_implicit_global_asset_job_def()
    for first, last in run_ranges(on_disk, backfill.backfill_id):
        tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
        result = job.execute_in_process(
            instance=on_disk,
            asset_selection=[KEY],
            tags={**backfill.tags, "dagster/backfill": backfill.backfill_id, **tags},
        )
        assert result.success
    field = MetadataField(model=MODEL, key="customer, id", path="customer.id")
    owed = expected(installation(11, instances=60), [field])
    assert len(owed) > 10
    assert {place: row.value for place, row in product.rows().items()} == owed
    done = on_disk.get_materialized_partitions(KEY)
    assert {key.partition("|")[2] for key in done} == {f"{MODEL}:customer%2C id"}
    assert len(done) >= 24
    [check] = result.get_asset_check_evaluations()
    assert check.metadata["rows_missing"].value == 0
    assert tick(on_disk)[0] == "no process model has changed"


def test_a_file_that_cannot_be_read_fails_the_tick_with_file_and_line(
    product: InSql, tmp_path: Path, on_disk: dg.DagsterInstance
) -> None:
    tick(on_disk)
    file = write_model(tmp_path / "models", "bad", None)
    file.write_text("{\n\n,")
    with pytest.raises(PermanentError, match=f"{file}, line 3: not JSON"):
        tick(on_disk)
