"""The environment, and what all of the settings promise together."""

import pickle
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError
from sqlalchemy import make_url

from backfill_assets.adapters.rest.registry import connectors
from backfill_assets.configuration.domains import DOMAINS
from backfill_assets.errors import ConfigurationError
from backfill_assets.settings import Settings, load_settings
from backfill_assets_tests.configuration.settings_under_test import (
    DESK,
    DESK_ADDRESS,
    DESK_CREDENTIAL,
    Files,
    acme,
)

TODAY = date(2026, 6, 18)
"""The lookbacks of all built-in services begin after the default start of history."""


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(folder=tmp_path)


def test_an_empty_environment_gives_the_built_in_services_and_no_tenants() -> None:
    settings = load_settings({}, today=TODAY)
    assert settings.services == {name: connector.spec for name, connector in connectors().items()}
    assert (settings.tenants, settings.notes, settings.domains) == ({}, (), ("tenant_history",))


def test_state_and_lake_lie_in_the_dagster_home(tmp_path: Path) -> None:
    settings = load_settings({"DAGSTER_HOME": str(tmp_path)}, today=TODAY)
    assert settings.dagster_home == tmp_path
    assert settings.lake_root == tmp_path / "lake"
    assert settings.database_url.get_secret_value() == f"sqlite:///{tmp_path}/backfill.sqlite3"


def test_state_and_lake_lie_in_the_current_folder_without_a_dagster_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings({"DAGSTER_HOME": "  ", "BACKFILL_LAKE_ROOT": ""}, today=TODAY)
    assert settings.lake_root == tmp_path / "lake"
    assert settings.database_url.get_secret_value() == f"sqlite:///{tmp_path}/backfill.sqlite3"


def test_a_relative_lake_root_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings({"BACKFILL_LAKE_ROOT": "raw"}, today=TODAY).lake_root == tmp_path / "raw"


@pytest.mark.parametrize("given", ["state.db", "./folder/../state.db", "file with spaces & %20.db"])
def test_a_relative_sqlite_file_is_the_same_for_a_process_in_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.chdir(tmp_path)
    url = load_settings({"BACKFILL_DATABASE_URL": f"sqlite:///{given}"}, today=TODAY).database_url.get_secret_value()
    assert make_url(url).database == str(tmp_path / given)
    monkeypatch.chdir("/")
    again = load_settings({"BACKFILL_DATABASE_URL": url}, today=TODAY).database_url.get_secret_value()
    assert again == url


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgresql://u:p%40ss@host/state", "postgresql+psycopg2://u:p%40ss@host/state"),
        ("postgresql+psycopg2://u@host:5433/state?sslmode=require", None),
        ("sqlite:////var/lib/state.sqlite3", None),
    ],
)
def test_a_database_url_names_the_driver_that_is_used(given: str, used: str | None) -> None:
    settings = load_settings({"BACKFILL_DATABASE_URL": given}, today=TODAY)
    assert settings.database_url.get_secret_value() == (used or given)


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("DAGSTER_HOME", "home", "DAGSTER_HOME must be an absolute path"),
        ("DAGSTER_HOME", "~nobody-of-this-name/home", "DAGSTER_HOME must be an absolute path"),
        (
            "BACKFILL_DOMAINS",
            "tenant_history, tenants",
            f"BACKFILL_DOMAINS names 'tenants', which is no domain; known are {', '.join(DOMAINS)}",
        ),
        (
            "BACKFILL_DOMAINS",
            ",",
            "BACKFILL_DOMAINS names no domain; known are tenant_history, process_metadata, table_backfill, work_orders",
        ),
        (
            "BACKFILL_DATABASE_URL",
            "mysql://u:hush-hush@host/state",
            "BACKFILL_DATABASE_URL cannot be a mysql database; use postgresql+psycopg2:// or sqlite:///",
        ),
        (
            "BACKFILL_DATABASE_URL",
            "hush-hush",
            "BACKFILL_DATABASE_URL is not a SQLAlchemy URL like postgresql+psycopg2://user:password@host/database",
        ),
        (
            "BACKFILL_DATABASE_URL",
            "postgresql://u:hush-hush@host:port/state",
            "BACKFILL_DATABASE_URL is not a SQLAlchemy URL like postgresql+psycopg2://user:password@host/database",
        ),
        (
            "BACKFILL_DATABASE_URL",
            "sqlite://",
            "BACKFILL_DATABASE_URL must name a file: no other process sees a database in memory",
        ),
        *(
            ("BACKFILL_LAKE_ROOT", value, f"BACKFILL_LAKE_ROOT {reason}")
            for value, reason in [
                ("gs://bucket", "must be a local folder or s3://bucket/prefix"),
                ("s3://", "names no bucket that can be; write s3://bucket or s3://bucket/prefix"),
                ("s3://Bucket_1", "names no bucket that can be; write s3://bucket or s3://bucket/prefix"),
                ("s3://key:hush@bucket", "names no bucket that can be; write s3://bucket or s3://bucket/prefix"),
                ("s3://bucket/a//b", "has a prefix with an empty part, a blank, ? or #; write s3://bucket/prefix"),
                ("s3://bucket/a b", "has a prefix with an empty part, a blank, ? or #; write s3://bucket/prefix"),
            ]
        ),
        (
            "BACKFILL_S3_ENDPOINT_URL",
            "https://minio:9000",
            (
                "BACKFILL_S3_ENDPOINT_URL names a store, but BACKFILL_LAKE_ROOT is not set, so the lake would be a "
                "local folder; set BACKFILL_LAKE_ROOT to s3://bucket or to that folder"
            ),
        ),
        ("BACKFILL_TENANT_SOURCE", "files", "BACKFILL_TENANT_SOURCE must be file or dynamodb"),
        (
            "BACKFILL_SERVICES_FILE",
            "/nowhere/services.yaml",
            "BACKFILL_SERVICES_FILE names /nowhere/services.yaml, which cannot be read: No such file or directory",
        ),
        (
            "BACKFILL_TENANTS_FILE",
            "/nowhere/tenants.yaml",
            "BACKFILL_TENANTS_FILE names /nowhere/tenants.yaml, which cannot be read: No such file or directory",
        ),
    ],
)
def test_a_variable_that_cannot_be_is_refused_with_one_sentence(variable: str, value: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load_settings({variable: value}, today=TODAY)
    assert str(refused.value) == sentence


@pytest.mark.parametrize("root", ["s3://bucket", "s3://bucket/", "s3://bucket/some/prefix/"])
def test_the_lake_can_be_in_a_bucket(root: str) -> None:
    settings = load_settings({"BACKFILL_LAKE_ROOT": root}, today=TODAY)
    assert settings.lake_root == root.rstrip("/")


@pytest.mark.parametrize("address", ["http://127.0.0.1:9000/", "https://minio.example.com", "http://[::1]:9000"])
def test_a_store_that_speaks_s3_has_an_address(address: str) -> None:
    environ = {"BACKFILL_LAKE_ROOT": "s3://bucket", "BACKFILL_S3_ENDPOINT_URL": address}
    assert load_settings(environ, today=TODAY).s3_endpoint_url == address.rstrip("/")


@pytest.mark.parametrize(
    "address",
    [
        "minio:9000",
        "ftp://minio",
        "https://",
        "http://[::1",
        "https://key:hush@minio",
        "https://minio/bucket",
        "http://a:b",
    ],
)
def test_an_address_of_a_store_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load_settings({"BACKFILL_LAKE_ROOT": "s3://bucket", "BACKFILL_S3_ENDPOINT_URL": address}, today=TODAY)
    assert str(refused.value) == (
        "BACKFILL_S3_ENDPOINT_URL must be an address like https://minio.example.com:9000, "
        "without a user, a path or a query"
    )


def test_everything_that_is_wrong_is_told_at_once(files: Files) -> None:
    sentences = files.refusal(
        services={"services": {"desk": {"grain": "hourly"}}},
        tenants={"tenants": {"acme": {"time_zone": "Mars"}, "globex": {"services": {"dusk": {}}}}},
        environ={"BACKFILL_DOMAINS": "none", "BACKFILL_TENANT_SOURCE": "ldap"},
    )
    assert sentences == [
        "services.yaml: services.desk.grain must be daily, weekly or monthly, not 'hourly'",
        "tenants.yaml: tenants.acme.time_zone must be a time zone like Europe/Berlin, not 'Mars'",
        "tenants.yaml: tenants.globex.services.dusk is not a service that is known; known are desk",
        f"BACKFILL_DOMAINS names 'none', which is no domain; known are {', '.join(DOMAINS)}",
        "BACKFILL_TENANT_SOURCE must be file or dynamodb",
    ]


def test_a_refusal_carries_no_other_error_with_it(files: Files) -> None:
    with pytest.raises(ConfigurationError) as refused:
        files.load(tenants=acme(lookback_days="hush-hush"), environ={"BACKFILL_DATABASE_URL": "hush-hush"})
    assert (refused.value.__cause__, refused.value.__context__) == (None, None)


def test_no_secret_is_in_any_text_or_dump(files: Files) -> None:
    environ = {**DESK_CREDENTIAL, "BACKFILL_DATABASE_URL": "postgresql://u:hush-hush@host/state"}
    settings = files.load(tenants=acme(base_url=DESK_ADDRESS), environ=environ)
    desk = settings.tenants["acme"].services["desk"]
    assert desk.credential["private_key"] == "hush-hush"
    texts = [repr(settings), str(settings), settings.model_dump_json(), str(settings.model_dump()), repr(desk)]
    texts += [repr(settings.tenants), settings.model_dump_json(include={"tenants", "database_url"})]
    assert not [text for text in texts if "hush-hush" in text]


def test_no_secret_is_in_a_refusal(files: Files) -> None:
    sentences = files.refusal(
        services={"services": {"desk": "hush-hush"}},
        tenants={
            "tenants": {
                "acme": {"services": {"desk": {"private_key": "hush-hush", "base_url": "https://u:hush-hush@host"}}},
                "globex": {"services": {"desk": {"base_url": "https://u:hush-hush@host"}}},
                "initech": {"services": {"desk": "hush-hush"}},
            }
        },
        environ={
            "BACKFILL_DATABASE_URL": "oracle://u:hush-hush@host/state",
            "BACKFILL_GLOBEX_DESK_PRIVATE_KEY": "hush-hush",
            "BACKFILL_GLOBEX_DESK_PRIVATE_KEY_FILE": "/hush-hush",
            "BACKFILL_GLOBEX_DESK_COMPANY_ID_FILE": "/hush-hush",
        },
    )
    assert len(sentences) >= 4
    assert not [sentence for sentence in sentences if "hush-hush" in sentence]


def test_settings_cannot_be_changed() -> None:
    settings = load_settings({}, today=TODAY)
    with pytest.raises(ValidationError):
        settings.domains = ()  # type: ignore[misc]


def test_settings_made_by_hand_read_no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BACKFILL_LAKE_ROOT", "/elsewhere")
    settings = Settings(lake_root=tmp_path, database_url=SecretStr("sqlite:///x"), services={"desk": DESK})
    assert (settings.lake_root, settings.services["desk"]) == (tmp_path, DESK)
    assert Settings().lake_root == Path.cwd() / "lake"


def test_the_process_environment_counts_where_none_is_handed_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for field in Settings.model_fields.values():
        monkeypatch.delenv(str(field.validation_alias), raising=False)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    assert load_settings().lake_root == tmp_path / "lake"


def test_files_are_read_again_at_each_load(files: Files) -> None:
    assert set(files.load(tenants={"tenants": {"acme": {}}}).tenants) == {"acme"}
    assert set(files.load(tenants={"tenants": {"acme": {}, "globex": {}}}).tenants) == {"acme", "globex"}


def test_a_tenant_survives_a_trip_to_another_process(files: Files) -> None:
    tenant = files.load(tenants=acme(base_url=DESK_ADDRESS), environ=DESK_CREDENTIAL).tenants["acme"]
    assert pickle.loads(pickle.dumps(tenant)) == tenant


def test_the_built_in_lookback_is_checked_too(files: Files) -> None:
    [sentence] = files.refusal(builtin={"desk": replace(DESK, lookback_days=900)})
    assert sentence == (
        "the built-in settings: services.desk.lookback_days (900) begins before services.desk.history_start "
        "(2023-01-01); look back 899 days at most, or set an earlier history_start"
    )
