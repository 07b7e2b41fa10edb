"""What `backfill worker` says when no run could reach it."""

from collections.abc import Iterator

import pytest
import yaml

from backfill_assets_tests.celery.installation import Installation, installed


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installed(tmp_path_factory.mktemp("refusals")) as installation:
        yield installation


def test_a_worker_does_not_start_where_celery_is_not_enabled(installation: Installation) -> None:
    ended = installation.backfill("worker", SPIFFWORKFLOW_BACKEND_CELERY_ENABLED="false")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        "Error: SPIFFWORKFLOW_BACKEND_CELERY_ENABLED is not true, so no run would ever reach this worker; set it to "
        "true, and let dagster.yaml launch runs with WorkerRunLauncher (docs/celery.md)\n"
    )


def test_a_worker_does_not_start_where_runs_are_launched_elsewhere(installation: Installation) -> None:
    file = installation.home / "dagster.yaml"
    written = file.read_text()
    launcher = {"module": "backfill_assets.run_launcher", "class": "ProcessRunLauncher"}
    file.write_text(yaml.safe_dump({**yaml.safe_load(written), "run_launcher": launcher}))
    try:
        ended = installation.backfill("worker")
    finally:
        file.write_text(written)
    assert ended.returncode == 1
    assert ended.stderr == (
        f"Error: dagster.yaml in {installation.home} launches runs with ProcessRunLauncher, so none would ever reach "
        "this worker; give it WorkerRunLauncher (docs/celery.md)\n"
    )


def test_a_worker_that_cannot_reach_its_broker_says_where_it_looked_without_the_password(
    installation: Installation,
) -> None:
    ended = installation.backfill("worker", SPIFFWORKFLOW_BACKEND_CELERY_BROKER_URL="redis://:hush@127.0.0.1:1/0")
    assert ended.returncode == 1
    assert ended.stderr.startswith("Error: the broker redis://:**@127.0.0.1:1/0 cannot be reached (Error 111")
    assert ended.stderr.count("\n") == 1
    assert "hush" not in ended.stderr


def test_the_launcher_refuses_to_work_where_celery_is_not_enabled(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dagster import DagsterInstance

    from backfill_assets.errors import ConfigurationError

    monkeypatch.setenv("SPIFFWORKFLOW_BACKEND_CELERY_ENABLED", "false")
    with (
        DagsterInstance.from_config(str(installation.home)) as instance,
        pytest.raises(ConfigurationError, match="CELERY_ENABLED is not true"),
    ):
        _ = instance.run_launcher
