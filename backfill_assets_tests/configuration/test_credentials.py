"""Names of the variables that hold credentials, their values, and addresses."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfill_assets.configuration.credentials import (
    Credential,
    collisions,
    find_credential,
    variable_name,
    variable_names,
)
from backfill_assets.core.source import ServiceSpec
from backfill_assets.settings import TenantService
from backfill_assets_tests.configuration.settings_under_test import DESK, DESK_ADDRESS, DESK_CREDENTIAL, Files, acme

FIELDS = ("COMPANY_ID", "PRIVATE_KEY")


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(folder=tmp_path)


def _desk(files: Files, environ: Mapping[str, str], **section: object) -> TenantService:
    return files.load(tenants=acme(**section), environ=environ).tenants["acme"].services["desk"]


def test_a_variable_is_upper_case_with_every_other_character_as_an_underscore() -> None:
    assert variable_name("Müller & Söhne", "desk", "private_key") == "BACKFILL_M_LLER___S_HNE_DESK_PRIVATE_KEY"


def test_a_service_with_everything_set_is_configured(files: Files) -> None:
    desk = _desk(files, {**DESK_CREDENTIAL, "BACKFILL_ACME_DESK_NOTE": "hello"}, base_url=f"{DESK_ADDRESS}/")
    assert desk.missing == ()
    assert desk.credential == {"company_id": "acme-inc", "private_key": "hush-hush", "note": "hello"}
    assert desk.base_url == DESK_ADDRESS
    assert desk.credential_names == (*DESK_CREDENTIAL, "BACKFILL_ACME_DESK_NOTE")


def test_what_is_missing_is_named_and_no_error(files: Files) -> None:
    desk = _desk(files, {"BACKFILL_ACME_DESK_COMPANY_ID": "acme-inc", "BACKFILL_ACME_DESK_PRIVATE_KEY": " "})
    assert desk.missing == ("BACKFILL_ACME_DESK_PRIVATE_KEY", "tenants.acme.services.desk.base_url")
    assert desk.credential_names == tuple(DESK_CREDENTIAL)


def test_a_secret_can_be_in_a_file_and_is_read_anew(files: Files) -> None:
    environ = {**DESK_CREDENTIAL, "BACKFILL_ACME_DESK_PRIVATE_KEY_FILE": files.write("key.txt", "first\n")}
    del environ["BACKFILL_ACME_DESK_PRIVATE_KEY"]
    desk = _desk(files, environ)
    assert desk.credential["private_key"] == "first"
    assert desk.credential_names == ("BACKFILL_ACME_DESK_COMPANY_ID", "BACKFILL_ACME_DESK_PRIVATE_KEY_FILE")
    files.write("key.txt", "second")
    assert _desk(files, environ).credential["private_key"] == "second"


def test_a_secret_that_is_set_twice_is_missing_until_one_is_removed(files: Files) -> None:
    environ = {**DESK_CREDENTIAL, "BACKFILL_ACME_DESK_PRIVATE_KEY_FILE": files.write("key.txt", "other")}
    desk = _desk(files, environ, base_url=DESK_ADDRESS)
    assert desk.missing == (
        "BACKFILL_ACME_DESK_PRIVATE_KEY (BACKFILL_ACME_DESK_PRIVATE_KEY_FILE is set too; remove one of them)",
    )
    assert "private_key" not in desk.credential


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "No such file or directory"), ("  \n", "it is empty"), (b"\xff", "it is not UTF-8 text")],
)
@pytest.mark.parametrize("field", ["PRIVATE_KEY", "NOTE", "API_BASE_URL"])
def test_a_file_that_cannot_be_read_is_missing_and_stops_no_other_tenant(
    files: Files, content: str | bytes | None, reason: str, field: str
) -> None:
    path = files.folder / "key.txt"
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    environ = {f"BACKFILL_{tenant}_DESK_{name}": "x" for tenant in ("ACME", "GLOBEX") for name in FIELDS}
    environ.pop(f"BACKFILL_ACME_DESK_{field}", None)
    environ[f"BACKFILL_ACME_DESK_{field}_FILE"] = str(path)
    desks = {name: {"services": {"desk": {"base_url": DESK_ADDRESS}}} for name in ("acme", "globex")}
    tenants = files.load(tenants={"tenants": desks}, environ=environ).tenants
    assert tenants["acme"].services["desk"].missing == (f"BACKFILL_ACME_DESK_{field}_FILE (cannot be read: {reason})",)
    assert tenants["globex"].services["desk"].missing == ()


def test_an_address_whose_file_cannot_be_read_is_told_once(files: Files) -> None:
    environ = {**DESK_CREDENTIAL, "BACKFILL_ACME_DESK_API_BASE_URL_FILE": "/nowhere"}
    reason = "(cannot be read: No such file or directory)"
    assert _desk(files, environ).missing == (f"BACKFILL_ACME_DESK_API_BASE_URL_FILE {reason}",)


def test_the_address_can_be_a_variable(files: Files) -> None:
    environ = {**DESK_CREDENTIAL, "BACKFILL_ACME_DESK_API_BASE_URL": f"{DESK_ADDRESS}/"}
    assert _desk(files, environ).base_url == DESK_ADDRESS
    assert _desk(files, environ, base_url=DESK_ADDRESS).missing == ()


def test_two_different_addresses_are_refused(files: Files) -> None:
    environ = {"BACKFILL_ACME_DESK_API_BASE_URL": "https://other.example.com"}
    assert files.refusal(tenants=acme(base_url=DESK_ADDRESS), environ=environ) == [
        (
            "tenants.yaml: tenants.acme.services.desk.base_url and BACKFILL_ACME_DESK_API_BASE_URL name different "
            "addresses; remove one of them"
        )
    ]


@pytest.mark.parametrize(
    "address",
    [
        *("desk.example.com", "ftp://desk.example.com", "https://", "http://[::1", "https://host:port"),
        *("https://user:hush@host", "https://host?key=hush", "https://host/#x", "https://ho st", "https://höst"),
    ],
)
def test_an_address_that_is_none_is_refused(files: Files, address: str) -> None:
    ending = "must be an address like https://api.example.com, without a user or a query"
    assert files.refusal(tenants=acme(base_url=address)) == [
        f"tenants.yaml: tenants.acme.services.desk.base_url {ending}"
    ]
    assert files.refusal(tenants=acme(), environ={"BACKFILL_ACME_DESK_API_BASE_URL": address}) == [
        f"BACKFILL_ACME_DESK_API_BASE_URL {ending}"
    ]


@pytest.mark.parametrize("address", ["http://127.0.0.1:8090/desk/acme", "http://[::1]:80", "HTTPS://Desk.example.com"])
def test_an_address_may_have_a_port_and_a_path(files: Files, address: str) -> None:
    assert _desk(files, {}, base_url=f"{address}/").base_url == address


def test_two_tenants_whose_variables_are_the_same_are_refused(files: Files) -> None:
    desks: dict[str, object] = {name: {"services": {"desk": {}}} for name in ("acme-inc", "acme.inc", "globex")}
    assert files.refusal(tenants={"tenants": desks}) == [
        (
            "desk of tenant 'acme-inc' and desk of tenant 'acme.inc' would read their credentials from the "
            "same variables (BACKFILL_ACME_INC_DESK...); rename one of the tenants"
        )
    ]


def test_a_prefix_that_continues_into_a_field_is_refused() -> None:
    """`a` at `b_c` with the field `d`, and `a_b` at `c` with the field `d`, are one variable."""
    one, other = replace(DESK, name="b_c"), replace(DESK, name="c")
    [sentence] = collisions([("a", one), ("a_b", other)])
    assert sentence.startswith("b_c of tenant 'a' and c of tenant 'a_b' would read")
    longer = replace(DESK, name="b", credential_fields=("c_company_id",))
    [sentence] = collisions([("a", longer), ("a_b", other)])
    assert "BACKFILL_A_B_C_" in sentence


def test_a_variable_that_is_the_file_of_another_is_refused() -> None:
    """`key` of `a` at `b` may be in BACKFILL_A_B_KEY_FILE, which is also `file` of `a_b` at `key`."""
    one = replace(DESK, name="b", credential_fields=("key",))
    other = replace(DESK, name="key", credential_fields=("file",))
    [sentence] = collisions([("a", one), ("a_b", other)])
    assert "BACKFILL_A_B_KEY_FILE" in sentence


_NAMES = st.text(alphabet="aAb_-.é ", min_size=1, max_size=4)
_SPECS = st.sampled_from([replace(DESK, name=name) for name in ("a", "b", "a_b", "desk")])


@given(st.lists(st.tuples(_NAMES, _SPECS), unique_by=lambda account: (account[0], account[1].name), max_size=6))
def test_accounts_without_a_told_collision_share_no_variable(pairs: list[tuple[str, ServiceSpec]]) -> None:
    shared = [(one, other) for one, other in combinations(pairs, 2) if variable_names(*one) & variable_names(*other)]
    assert bool(list(collisions(pairs))) == bool(shared)


PORTAL = replace(
    DESK,
    name="portal",
    credential_fields=("client_id", "username", "password"),
    optional_credential_fields=(),
    optional_together=("username", "password"),
    address_field="instance_url",
)


def _portal(environ: Mapping[str, str]) -> Credential:
    return find_credential({f"BACKFILL_ACME_PORTAL_{name}": value for name, value in environ.items()}, "acme", PORTAL)


def test_fields_that_are_optional_together_are_all_missing_or_none() -> None:
    assert _portal({"CLIENT_ID": "x"}).missing == ()
    assert _portal({"CLIENT_ID": "x"}).names == ("BACKFILL_ACME_PORTAL_CLIENT_ID",)
    assert _portal({"CLIENT_ID": "x", "USERNAME": "u"}).missing == ("BACKFILL_ACME_PORTAL_PASSWORD",)
    assert _portal({"CLIENT_ID": "x", "PASSWORD_FILE": "/nowhere"}).missing == (
        "BACKFILL_ACME_PORTAL_USERNAME",
        "BACKFILL_ACME_PORTAL_PASSWORD_FILE (cannot be read: No such file or directory)",
    )
    assert _portal({"CLIENT_ID": "x", "USERNAME": "u", "PASSWORD": "p"}).missing == ()


def test_each_service_calls_the_variable_of_its_address_its_own_way(files: Files) -> None:
    environ = {"BACKFILL_ACME_PORTAL_CLIENT_ID": "x", "BACKFILL_ACME_PORTAL_INSTANCE_URL": f"{DESK_ADDRESS}/"}
    said: dict[str, Any] = {"tenants": {"acme": {"services": {"portal": {}}}}}
    portal = files.load(tenants=said, environ=environ, builtin={"portal": PORTAL}).tenants["acme"].services["portal"]
    assert (portal.base_url, portal.missing, portal.credential) == (DESK_ADDRESS, (), {"client_id": "x"})
