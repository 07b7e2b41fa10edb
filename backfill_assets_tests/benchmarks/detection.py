"""How long a tick of the sensor takes with many tenants, all of whose histories have been filled in."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from dagster import DagsterInstance
from dagster._core.execution.backfill import BulkActionStatus

from backfill_assets.adapters.rest.registry import connectors
from backfill_assets.adapters.state.schema import initialise
from backfill_assets.cli.instance import asset_graph
from backfill_assets.launching import KEY_TAG, TENANT_TAG
from backfill_assets.resources import Wiring, open_wiring
from backfill_assets.sandbox.postgres import EmbeddedPostgres
from backfill_assets.settings import load_settings, publish
from backfill_assets.tenant_history.onboarding import launch_history, onboard, whole_history
from backfill_assets_tests.benchmarks.measured import Measured

TENANTS = 1000
SECONDS = 5.0
FIRST = "tenant0"


def measure() -> list[Measured]:
    """A tick when nothing is new, as nearly every tick is: settings, facts of every service, verdicts."""
    with TemporaryDirectory() as folder, _databases(Path(folder)) as variables:
        publish({**variables, **_tenants(Path(folder))})
        with DagsterInstance.from_config(variables["DAGSTER_HOME"]) as instance:
            with open_wiring(load_settings()) as wiring:
                _fill_in_all(wiring, instance)
            _tick(instance)  # the first one notes that every service is on
            began = time.perf_counter()
            _tick(instance)
            seconds = time.perf_counter() - began
    return [
        Measured(
            what=f"detection over {TENANTS:,} tenants x {len(connectors())} services, a tick",
            asked=f"under {SECONDS:.0f} s",
            told=f"{seconds:.1f} s",
            holds=seconds < SECONDS,
        )
    ]


def _tick(instance: DagsterInstance) -> None:
    with open_wiring(load_settings()) as wiring:
        if list(onboard(wiring, instance, asset_graph(), requested_by="the benchmark")):
            raise RuntimeError("something was launched")


@contextmanager
def _databases(home: Path) -> Iterator[Mapping[str, str]]:
    postgres = EmbeddedPostgres(home / "postgres", durable=False)
    try:
        postgres.start()
        for name in ("dagster", "backfill"):
            postgres.create_database(name)
        initialise(postgres.url("backfill"))
        storage = {"postgres": {"postgres_url": postgres.url("dagster")}}
        (home / "dagster.yaml").write_text(yaml.safe_dump({"storage": storage, "telemetry": {"enabled": False}}))
        yield {
            "DAGSTER_HOME": str(home),
            "BACKFILL_DATABASE_URL": postgres.url("backfill"),
            "BACKFILL_LAKE_ROOT": str(home / "lake"),
            "BACKFILL_TENANTS_FILE": str(home / "tenants.yaml"),
        }
    finally:
        postgres.remove()


def _tenants(home: Path) -> Mapping[str, str]:
    """Write the tenants file; return the variables of all credentials."""
    specs = [connector.spec for connector in connectors().values()]
    names = [f"tenant{number}" for number in range(TENANTS)]
    services = {spec.name: {"base_url": f"http://127.0.0.1:1/{spec.name}"} for spec in specs}
    (home / "tenants.yaml").write_text(yaml.safe_dump({"tenants": {name: {"services": services} for name in names}}))
    return {
        f"BACKFILL_{name.upper()}_{spec.name.upper()}_{field.upper()}": "benchmark"
        for name in names
        for spec in specs
        for field in spec.credential_fields
    }


def _fill_in_all(wiring: Wiring, instance: DagsterInstance) -> None:
    """One completed backfill of the whole history for each service of each tenant."""
    graph = asset_graph()
    for service in wiring.settings.tenants[FIRST].services.values():
        plan = whole_history(wiring, service)
        asked: Mapping[str, Any] = {"reason": "benchmark", "requested_by": "benchmark"}
        launched = launch_history(wiring, instance, graph, service, plan, **asked)
        backfill = instance.get_backfill(launched.backfill_id)
        if backfill is None:
            raise RuntimeError("the backfill was not launched")
        done = backfill._replace(status=BulkActionStatus.COMPLETED_SUCCESS)
        instance.update_backfill(done)
        for tenant in wiring.settings.tenants:
            if tenant != FIRST:
                tags = {**done.tags, TENANT_TAG: tenant, KEY_TAG: f"{tenant}/{service.spec.name}"}
                instance.add_backfill(done._replace(backfill_id=f"{service.spec.name}-{tenant}", tags=tags))
