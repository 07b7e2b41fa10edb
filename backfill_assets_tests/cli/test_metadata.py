"""`backfill metadata`, and dead letters of process metadata, on a real database of the product."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from backfill_assets.adapters.spiffworkflow.memory import Installation, Instance, Task
from backfill_assets.adapters.state.database import StateDatabase
from backfill_assets.core.dead_letters import DeadLetter
from backfill_assets.following import targets
from backfill_assets.process_metadata.assets import OP
from backfill_assets.process_metadata.partitions import KEY
from backfill_assets.settings import load_settings
from backfill_assets_tests.cli.conftest import Shell
from backfill_assets_tests.process_metadata.models import write_model
from backfill_assets_tests.process_metadata.products import InSql

OFF = (
    "Error: SPIFFWORKFLOW_BACKEND_PROCESS_INSTANCE_METADATA_BACKFILL_ENABLED is set to true but "
    "SPIFFWORKFLOW_BACKEND_CELERY_ENABLED is set to false. "
    "The metadata backfill feature requires Celery to be enabled.\n"
)
MODEL = "orders/invoice"
CREATED = int(datetime(2024, 2, 10, tzinfo=UTC).timestamp())


@pytest.fixture
def product(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InSql:
    """An installation with one model, whose instance holds a value for one of its two keys."""
    models = tmp_path / "models"
    write_model(models, MODEL, {"customer": "customer.id", "a,b": "x"})
    write_model(models, "orders/empty", None)
    write_model(models, "orders/bad", None).write_text("{\noops")
    database = InSql(url=f"sqlite:///{tmp_path / 'product.sqlite3'}")
    task = Task(guid="t", instance_id=1, state="COMPLETED", json_data_hash="h", ended_at=1)
    database.load(
        Installation(
            instances=[Instance(id=1, model=MODEL, created_at=CREATED)],
            tasks=[task],
            documents={"h": '{"customer": {"id": 7}}'},
        )
    )
    for name, value in {
        "PROCESS_INSTANCE_METADATA_BACKFILL_ENABLED": "true",
        "CELERY_ENABLED": "true",
        "DATABASE_URI": database.url,
        "BPMN_SPEC_ABSOLUTE_DIR": str(models),
    }.items():
        monkeypatch.setenv(f"SPIFFWORKFLOW_BACKEND_{name}", value)
    return database


def refused(shell: Shell, code: int, told: str, *arguments: str) -> None:
    result = shell.run("metadata", *arguments)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert told in result.stderr.splitlines()[-1]
    assert shell.backfills() == []


def test_all_keys_of_a_model_are_launched_for_all_months(shell: Shell, product: InSql) -> None:
    facts = shell.json("metadata", MODEL)
    assert facts["keys"] == ["customer", "a,b"]
    assert facts["instances"] == 1
    [backfill] = shell.backfills()
    assert backfill.backfill_id == facts["backfill_id"]
    assert backfill.tags["backfill/domain"] == "process_metadata"
    assert len(set(targets(backfill)[KEY])) == facts["partitions"]
    again = shell.json("metadata", MODEL)
    assert (again["backfill_id"], again["is_new"]) == (facts["backfill_id"], False)


def test_some_keys_some_months_and_how_are_as_asked(shell: Shell, product: InSql) -> None:
    asked = ("--overwrite", "--max-instances", "5", "--created-from", "2024-02-10", "--created-to", "2024-04-01")
    facts = shell.json("metadata", f"{MODEL}:customer", *asked)
    [backfill] = shell.backfills()
    assert set(targets(backfill)[KEY]) == {f"2024-02-01|{MODEL}:customer", f"2024-03-01|{MODEL}:customer"}
    assert backfill.run_config == {"ops": {OP: {"config": {"overwrite": True, "most_instances": 5}}}}
    assert (facts["partitions"], facts["runs"]) == (2, 1)


@pytest.mark.parametrize("arguments", [(f"{MODEL}:a,b",), (MODEL, "a,b")])
def test_a_key_with_a_comma_can_be_named(shell: Shell, product: InSql, arguments: tuple[str, ...]) -> None:
    assert shell.json("metadata", *arguments, "--dry-run")["keys"] == ["a,b"]


def test_a_dry_run_changes_nothing(shell: Shell, product: InSql) -> None:
    result = shell.run("metadata", MODEL, "--dry-run")
    assert result.stdout == "nothing was launched (--dry-run)\n"
    assert f"{MODEL}: 2 fields (customer, a,b), 1 instances, months 2023-01 to " in result.stderr
    assert shell.backfills() == []
    assert product.rows() == {}


def test_what_cannot_be_is_refused_with_a_sentence(shell: Shell, product: InSql) -> None:
    refused(shell, 2, "there is no process model 'orders/invoic' in ", "orders/invoic")
    refused(shell, 2, "; near it are orders/invoice", "orders/invoic")
    refused(shell, 2, "has no key 'custome'; it has customer, a,b; did you mean 'customer'?", f"{MODEL}:custome")
    refused(shell, 2, "process model 'orders/empty' has no metadata fields; add a key", "orders/empty")
    refused(shell, 1, "process_model.json, line 2: not JSON", "orders/bad")
    refused(shell, 2, "--created-from 'soon' is no ISO 8601 date", MODEL, "--created-from", "soon")
    backwards = ("--created-from", "2024-05-01", "--created-to", "2024-05-01")
    refused(shell, 2, "--created-to 2024-05-01 is not after --created-from 2024-05-01", MODEL, *backwards)
    refused(shell, 2, "lies in the future", MODEL, "--created-from", "2999-01-01")
    refused(shell, 2, "0 is not in the range x>=1", MODEL, "--max-instances", "0")


def test_without_celery_every_command_ends_with_the_sentence_of_the_product(
    shell: Shell, product: InSql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPIFFWORKFLOW_BACKEND_CELERY_ENABLED", "false")
    for command in (("metadata", MODEL), ("services", "--no-check")):
        result = shell.run(*command)
        assert (result.exit_code, result.stderr) == (1, OFF)


def test_switched_off_it_says_how_to_switch_it_on(shell: Shell) -> None:
    refused(shell, 1, "process metadata is switched off; set SPIFFWORKFLOW_BACKEND_PROCESS_INSTANCE", MODEL)


def test_a_product_database_that_is_away_is_a_sentence(
    shell: Shell, product: InSql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPIFFWORKFLOW_BACKEND_DATABASE_URI", "postgresql://me:hidden@127.0.0.1:1/spiff")
    result = shell.run("metadata", MODEL)
    assert result.exit_code == 1
    assert result.stderr.count("Error: ") == 1
    assert "hidden" not in result.output


def test_dead_letters_are_retried_by_their_own_domain(shell: Shell, product: InSql) -> None:
    letter = DeadLetter(
        domain="process_metadata",
        tenant="",
        service=MODEL,
        table="customer",
        partition=f"2024-02-01|{MODEL}:customer",
        record_id="1",
        version="",
        reason="it could not be read",
        payload='{"process_instance_id": 1, "key": "customer", "path": "customer.id", "rewrite_before": null}',
        run_id="run 1",
        seen_at=datetime(2024, 5, 1, tzinfo=UTC),
    )
    with StateDatabase.open(load_settings().database_url.get_secret_value()) as state:
        state.dead_letters.put([letter])
    facts = shell.json("dead-letters", "retry")
    assert facts["letters"] == [{"id": letter.id, "fate": "stored", "reason": "it has its row now"}]
    assert facts["partitions"] == [f"{letter.partition} (observed)"]
    assert {place: row.value for place, row in product.rows().items()} == {(1, "customer"): "7"}
    assert shell.json("dead-letters", "list") == []
