"""Tenants in DynamoDB and secrets in Secrets Manager: what is wrong with one is told, what is wrong with all stops."""

from typing import TYPE_CHECKING

import pytest

from backfill_assets.errors import ConfigurationError
from backfill_assets.settings import Settings, load_settings
from backfill_assets_tests.configuration.aws_under_test import HELD, Installation
from backfill_assets_tests.configuration.settings_under_test import DESK, DESK_ADDRESS, TODAY

if TYPE_CHECKING:
    from backfill_assets_tests.adapters.aws.server import Aws


def missing(settings: Settings, tenant: str = "acme") -> tuple[str, ...]:
    return settings.tenants[tenant].services["desk"].missing


def test_a_table_that_is_not_there_is_told_and_is_not_taken_for_no_tenants(installation: Installation) -> None:
    assert installation.refusal({"BACKFILL_TENANT_SERVICES_TABLE": "Elsewhere"}) == (
        "DynamoDB table Elsewhere cannot be read: there is no such table in this account and region; correct "
        "BACKFILL_TENANT_SERVICES_TABLE or AWS_DEFAULT_REGION"
    )


@pytest.mark.parametrize("variable", ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"])
def test_a_wrong_key_is_told_and_not_shown(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "hush-hush")
    sentence = installation.refusal()
    # moto answers DynamoDB's clients without AWS's own code; test_refusals has those.
    assert sentence.startswith(f"DynamoDB table {installation.table} cannot be read: the credential is refused (403); ")
    assert "hush" not in sentence


def test_a_user_without_the_right_is_told_which_one_it_takes(
    aws: "Aws", installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in aws.environ(aws.guest).items():
        monkeypatch.setenv(name, value)
    assert installation.refusal() == (
        f"DynamoDB table {installation.table} cannot be read: the credential is refused (403); "
        f"check it, and allow it dynamodb:Scan on table {installation.table}"
    )


def test_a_user_who_may_not_read_secrets_is_told_which_rights_it_takes(
    aws: "Aws", installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.desk(secret_name=installation.secret("acme", HELD))
    for rights in (("dynamodb:Scan",), ("dynamodb:Scan", "secretsmanager:BatchGetSecretValue")):
        for name, value in aws.environ(aws.user_who_may(*rights)).items():
            monkeypatch.setenv(name, value)
        if len(rights) == 2:
            assert missing(installation.load()) == ()
            return
        assert installation.refusal() == (
            "the tenants' secrets cannot be read: the credential is refused (403); check it, and allow it "
            "secretsmanager:BatchGetSecretValue, and secretsmanager:GetSecretValue on the tenants' secrets"
        )


def test_no_region_is_told(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    assert installation.refusal() == (
        f"DynamoDB table {installation.table} cannot be read: no AWS region is set; set AWS_DEFAULT_REGION"
    )


def test_an_endpoint_that_cannot_be_reached_is_told(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:1")
    assert "127.0.0.1 cannot be reached; check the network" in installation.refusal()


def test_secrets_that_cannot_be_read_at_all_are_told(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.desk(secret_name="acme")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://127.0.0.1:1")
    assert installation.refusal() == (
        "the tenants' secrets cannot be read: 127.0.0.1 cannot be reached; "
        "check the network, the region and the endpoint"
    )


def test_a_tenant_without_services_that_are_on_needs_no_secrets(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.desk(enabled=False, secret_name="acme")
    installation.desk("globex", service="halo", secret_name="globex")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://127.0.0.1:1")
    assert set(installation.load().tenants) == {"acme", "globex"}


def test_a_secret_that_is_not_there_is_missing_and_stops_no_other_tenant(installation: Installation) -> None:
    installation.desk(secret_name="gone")
    installation.desk("globex", secret_name=installation.secret("globex", HELD))
    settings = installation.load()
    assert missing(settings) == ("secret gone (cannot be read: there is no such secret)",)
    assert missing(settings, "globex") == ()


@pytest.mark.parametrize("content", ["hush-hush", '["hush-hush"]', '{"desk": "hush-hush"}', "[" * 100_000])
def test_a_secret_that_is_no_json_object_is_missing_and_not_shown(installation: Installation, content: str) -> None:
    name = installation.secret("acme", content)
    installation.desk(secret_name=name)
    [sentence] = missing(installation.load())
    assert sentence.startswith(f"secret {name} ")
    assert sentence.endswith("(cannot be read: it is no JSON object)")
    assert "hush" not in sentence


def test_a_field_that_the_secret_lacks_is_named_in_both_places(installation: Installation) -> None:
    name = installation.secret("acme", {"company_id": "acme-inc", "private_key": "  "})
    installation.desk(secret_name=name)
    desk = installation.load().tenants["acme"].services["desk"]
    assert desk.missing == (f"BACKFILL_ACME_DESK_PRIVATE_KEY (or private_key in secret {name})",)
    assert desk.credential_names == (f"secret {name}", "BACKFILL_ACME_DESK_PRIVATE_KEY")


def test_a_service_whose_item_names_no_secret_may_have_its_variables(installation: Installation) -> None:
    installation.desk()
    installation.desk("globex")
    environ = {f"BACKFILL_ACME_DESK_{name.upper()}": value for name, value in HELD.items()}
    settings = installation.load(environ)
    assert missing(settings) == ()
    name = f"tenant/globex/{installation.environment}"
    assert missing(settings, "globex") == (f"secret {name} (cannot be read: there is no such secret)",)


def test_a_secret_may_hold_the_address_and_may_be_shared(installation: Installation) -> None:
    name = installation.secret("both", {**HELD, "api_base_url": DESK_ADDRESS, "private_key_file": "/etc/passwd"})
    for tenant in ("acme", "globex"):
        installation.put(tenant_id=tenant, service="desk", enabled="True", secret_name=name)
    tenants = installation.load().tenants
    assert [tenants[name].services["desk"].base_url for name in ("acme", "globex")] == [DESK_ADDRESS] * 2
    assert tenants["acme"].services["desk"].credential == HELD


def test_a_variable_overrides_the_address_of_an_item(installation: Installation) -> None:
    installation.desk(desk_url="https://old.example.com")
    environ = {"BACKFILL_ACME_DESK_API_BASE_URL": DESK_ADDRESS}
    assert installation.load(environ).tenants["acme"].services["desk"].base_url == DESK_ADDRESS


def test_an_address_that_is_none_leaves_out_that_service_alone(installation: Installation) -> None:
    installation.desk(desk_url="https://user:hush-hush@host")
    installation.desk("globex")
    settings = installation.load()
    assert set(settings.tenants["acme"].services) == set()
    assert set(settings.tenants["globex"].services) == {"desk"}
    assert settings.notes == (
        (
            f"desk_url of tenant_id acme in DynamoDB table {installation.table} must be an address like "
            "https://api.example.com, without a user or a query"
        ),
    )


def test_a_number_that_cannot_be_leaves_out_that_service_alone(installation: Installation) -> None:
    installation.desk(custom_config='{"lookback_days": 9000}')
    [note] = installation.load().notes
    assert note.startswith(
        f"DynamoDB table {installation.table}: tenant_id acme service desk.lookback_days (9000) begins"
    )


def test_a_service_that_is_not_known_is_a_note(installation: Installation) -> None:
    installation.desk(service="halo")
    [note] = installation.load().notes
    assert note.startswith(f"DynamoDB table {installation.table}: tenant_id acme service halo is not a service")


def test_tenants_whose_variables_are_the_same_are_refused_only_where_such_a_variable_is_set(
    installation: Installation,
) -> None:
    for tenant in ("acme-inc", "acme.inc"):
        installation.desk(tenant)
    assert set(installation.load().tenants) == {"acme-inc", "acme.inc"}
    assert "would read their credentials from the same variables" in installation.refusal(
        {"BACKFILL_ACME_INC_DESK_COMPANY_ID": "x"}
    )


def test_a_table_and_secrets_of_many_pages_are_read_to_the_end(installation: Installation) -> None:
    names = [f"tenant-{number:02}" for number in range(45)]
    for name in names:
        secret = installation.secret(name, HELD)
        installation.desk(name, secret_name=secret, company_name="x" * 60_000)
    tenants = installation.load().tenants
    assert list(tenants) == names
    assert {tenant.services["desk"].missing for tenant in tenants.values()} == {()}


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        (
            {"BACKFILL_TENANT_SERVICES_TABLE": "TenantServices-prod"},
            (
                "BACKFILL_TENANT_SERVICES_TABLE is set, but BACKFILL_TENANT_SOURCE is not dynamodb; "
                "unset BACKFILL_TENANT_SERVICES_TABLE, or set BACKFILL_TENANT_SOURCE"
            ),
        ),
        (
            {"BACKFILL_LAST_UPDATED_TABLE": "LastUpdated-prod"},
            (
                "BACKFILL_LAST_UPDATED_TABLE is set, but BACKFILL_TENANT_SOURCE is not dynamodb; "
                "unset BACKFILL_LAST_UPDATED_TABLE, or set BACKFILL_TENANT_SOURCE"
            ),
        ),
        (
            {"BACKFILL_TENANT_ENVIRONMENT": "prod"},
            (
                "BACKFILL_TENANT_ENVIRONMENT is set, but BACKFILL_TENANT_SOURCE is not dynamodb; "
                "unset BACKFILL_TENANT_ENVIRONMENT, or set BACKFILL_TENANT_SOURCE"
            ),
        ),
    ],
)
def test_a_setting_of_a_directory_that_is_not_used_is_refused(environ: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load_settings(environ, builtin={"desk": DESK}, today=TODAY)
    assert str(refused.value) == sentence


def test_a_tenants_file_beside_the_table_is_refused(installation: Installation) -> None:
    assert installation.refusal({"BACKFILL_TENANTS_FILE": "/tenants.yaml"}) == (
        "BACKFILL_TENANT_SOURCE is dynamodb, but BACKFILL_TENANTS_FILE names a file; unset one of them"
    )


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("BACKFILL_TENANT_SERVICES_TABLE", "a b", "is no name that a DynamoDB table can have"),
        ("BACKFILL_LAST_UPDATED_TABLE", "a b", "is no name that a DynamoDB table can have"),
        ("BACKFILL_TENANT_ENVIRONMENT", "a/b", "must be a name like prod"),
    ],
)
def test_a_name_that_cannot_be_is_refused(installation: Installation, variable: str, value: str, reason: str) -> None:
    assert f"{variable} {reason}" in installation.refusal({variable: value}).split("\n")


def test_watermarks_go_to_the_table_beside_the_one_of_tenants_unless_another_is_named(
    installation: Installation,
) -> None:
    assert load_settings({}, builtin={"desk": DESK}, today=TODAY).last_updated_table == "LastUpdated"
    assert installation.load().last_updated_table == f"LastUpdated-{installation.environment}"
    assert installation.load({"BACKFILL_LAST_UPDATED_TABLE": "Marks"}).last_updated_table == "Marks"
