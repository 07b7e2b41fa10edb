"""Settings of process metadata and of Celery: what they may be, and what they need."""

from datetime import date
from pathlib import Path

import pytest

from backfill_assets.configuration.process_metadata import (
    CELERY_BROKER_URL,
    CELERY_ENABLED,
    CELERY_RESULT_BACKEND,
    METADATA_ENABLED,
    PROCESS_MODELS,
    PRODUCT_DATABASE,
)
from backfill_assets.errors import ConfigurationError
from backfill_assets.settings import Settings, load_settings

WHOLE = {
    METADATA_ENABLED: "true",
    CELERY_ENABLED: "true",
    PRODUCT_DATABASE: "postgresql://spiff:geheim@db.example.com/spiff",
    PROCESS_MODELS: "/models",
}


def loaded(**said: str) -> Settings:
    return load_settings(said)


def refusal(said: dict[str, str]) -> list[str]:
    with pytest.raises(ConfigurationError) as refused:
        load_settings(said)
    return str(refused.value).splitlines()


def test_nothing_is_switched_on_unless_it_is_said() -> None:
    settings = loaded()
    assert (settings.metadata_enabled, settings.celery_enabled, settings.domains) == (False, False, ("tenant_history",))
    assert (settings.metadata_batch_size, settings.metadata_start) == (1000, date(2023, 1, 1))
    assert settings.metadata_on_changed_path == "redo"
    assert settings.celery_broker_url.get_secret_value() == "redis://localhost"


def test_the_domain_is_loaded_where_it_is_switched_on() -> None:
    settings = load_settings(WHOLE)
    assert settings.domains == ("tenant_history", "process_metadata")
    assert settings.process_models == Path("/models")
    assert load_settings({**WHOLE, "BACKFILL_DOMAINS": "tenant_history"}).domains == ("tenant_history",)


@pytest.mark.parametrize("celery", [{}, {CELERY_ENABLED: "false"}])
def test_without_celery_it_is_refused_in_the_words_of_the_usage_guide(celery: dict[str, str]) -> None:
    said = {name: value for name, value in WHOLE.items() if name != CELERY_ENABLED}
    [sentence] = refusal({**said, **celery})
    assert sentence == (
        "SPIFFWORKFLOW_BACKEND_PROCESS_INSTANCE_METADATA_BACKFILL_ENABLED is set to true but "
        "SPIFFWORKFLOW_BACKEND_CELERY_ENABLED is set to false. The metadata backfill feature requires Celery to be "
        "enabled."
    )


@pytest.mark.parametrize("lacking", [PRODUCT_DATABASE, PROCESS_MODELS])
def test_what_it_needs_is_named_where_it_lacks(lacking: str) -> None:
    [sentence] = refusal({name: value for name, value in WHOLE.items() if name != lacking})
    assert sentence.startswith(f"{METADATA_ENABLED} is set to true, but {lacking} is not set")


def test_the_domain_cannot_be_asked_for_while_it_is_switched_off() -> None:
    [sentence] = refusal({"BACKFILL_DOMAINS": "process_metadata"})
    assert sentence == f"BACKFILL_DOMAINS names process_metadata, but {METADATA_ENABLED} is not true"


@pytest.mark.parametrize(
    ("said", "driver"),
    [
        ("postgresql://spiff@db/spiff", "postgresql+psycopg2"),
        ("postgresql+psycopg://spiff@db/spiff", "postgresql+psycopg2"),
        ("mysql+mysqldb://spiff@db/spiff", "mysql+pymysql"),
        ("mariadb+mariadbconnector://spiff@db/spiff", "mysql+pymysql"),
        ("sqlite:////data/spiff.sqlite3", "sqlite"),
    ],
)
def test_whatever_driver_the_product_uses_ours_is_taken(said: str, driver: str) -> None:
    url = load_settings({**WHOLE, PRODUCT_DATABASE: said}).product_database_url
    assert url is not None
    assert url.get_secret_value().startswith(f"{driver}://")


@pytest.mark.parametrize(
    ("variable", "said", "sentence"),
    [
        (METADATA_ENABLED, "perhaps", "must be true or false"),
        (CELERY_ENABLED, "2", "must be true or false"),
        (CELERY_BROKER_URL, "localhost", "must be an address like redis://localhost"),
        (CELERY_RESULT_BACKEND, "localhost", "must be an address like redis://localhost"),
        (PRODUCT_DATABASE, "nonsense", "is not a SQLAlchemy URL like postgresql://user:password@host/database"),
        (PRODUCT_DATABASE, "sqlite://", "must name a file: no other process sees a database in memory"),
        (PROCESS_MODELS, "models", "must be an absolute path"),
        ("BACKFILL_METADATA_ON_CHANGED_PATH", "perhaps", "must be redo or ignore"),
        ("BACKFILL_METADATA_BATCH_SIZE", "0", "must be a whole number from 1 to 100000"),
        ("BACKFILL_METADATA_BATCH_SIZE", "many", "must be a whole number from 1 to 100000"),
        ("BACKFILL_METADATA_START_DATE", "soon", "must be a day like 2023-01-01"),
    ],
)
def test_what_cannot_be_is_refused_with_one_sentence(variable: str, said: str, sentence: str) -> None:
    assert refusal({variable: said}) == [f"{variable} {sentence}"]


def test_no_sentence_and_no_text_of_the_settings_shows_a_password() -> None:
    [sentence] = refusal({PRODUCT_DATABASE: "oracle://spiff:geheim@db/spiff"})
    assert "geheim" not in sentence
    settings = load_settings({**WHOLE, CELERY_BROKER_URL: "redis://:geheim@redis.example.com"})
    assert "geheim" not in f"{settings!r} {settings} {settings.model_dump()}"


def test_results_go_to_the_broker_where_it_can_keep_them() -> None:
    kept = load_settings({**WHOLE, CELERY_BROKER_URL: "redis://broker"}).celery_result_backend
    assert kept is not None
    assert kept.get_secret_value() == "redis://broker"
    assert load_settings({**WHOLE, CELERY_BROKER_URL: "amqp://broker"}).celery_result_backend is None
