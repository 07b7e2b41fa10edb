"""Every table of every service, opened as a run opens it, over real HTTP."""

from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest

from backfill_assets.adapters.rest.registry import Access, connectors
from backfill_assets.adapters.rest.salesforce_tables import SALESFORCE
from backfill_assets.core.source import RecordSource, TableSpec
from backfill_assets.core.windows import BEGINNING
from backfill_assets.errors import CredentialRefused
from backfill_assets.sandbox.server import SandboxServer
from backfill_assets.tenant_history.rows import RowFitter
from backfill_assets_tests.adapters.rest.stands import CLIENTS, SINCE, UNTIL

TABLES = [
    (service, table)
    for service, connector in connectors().items()
    if service in CLIENTS
    for table in connector.spec.tables
]


def opened(sandbox: SandboxServer, service: str, **credential: str) -> RecordSource:
    client = CLIENTS[service]
    access = Access(
        tenant="acme",
        spec=connectors()[service].spec,
        base_url=sandbox.base_url(service, "acme"),
        credential={**client.credential("acme"), **credential},
        credential_names=("BACKFILL_ACME_SECRET",),
    )
    assert not any(value in repr(access) for value in client.credential("acme").values() if len(value) > 5)
    return connectors()[service].open(access)


def read(source: RecordSource, table: TableSpec, start: datetime = SINCE) -> list[Any]:
    with closing(source):
        return [record for page in source.records(table, start, UNTIL) for record in page]


@pytest.mark.parametrize(("service", "table"), TABLES, ids=[f"{s}/{table.slug}" for s, table in TABLES])
def test_every_table_of_the_registry_is_read_whole_and_fits_its_columns(
    sandbox: SandboxServer, service: str, table: TableSpec
) -> None:
    found = read(opened(sandbox, service), table, BEGINNING)
    with closing(opened(sandbox, service)) as source:
        assert len(found) == source.count(table, BEGINNING, UNTIL) > 0
    fitter = RowFitter(table)
    assert len({fitter.fit(record).record_id for record in found}) == len(found)


@pytest.mark.parametrize("service", ["connectwise", "servicenow", "salesforce"])
def test_check_names_what_answered(sandbox: SandboxServer, service: str) -> None:
    names = {"connectwise": "ConnectWise v2024.1", "servicenow": "ServiceNow", "salesforce": "Salesforce v58.0"}
    with closing(opened(sandbox, service)) as source:
        assert source.check() == f"{names[service]} at {sandbox.url.removeprefix('http://')}"


@pytest.mark.parametrize(
    ("service", "secret"),
    [("connectwise", "private_key"), ("servicenow", "password"), ("salesforce", "client_secret")],
)
def test_a_wrong_secret_is_refused_and_not_told(sandbox: SandboxServer, service: str, secret: str) -> None:
    with (
        closing(opened(sandbox, service, **{secret: "a-wrong-secret"})) as source,
        pytest.raises(CredentialRefused, match="Check BACKFILL_ACME_SECRET") as caught,
    ):
        source.check()
    assert "a-wrong-secret" not in str(caught.value)


@pytest.mark.parametrize("table", SALESFORCE.tables, ids=lambda table: table.slug)
def test_a_record_of_salesforce_is_the_same_to_the_byte_by_query_and_by_bulk_job(
    sandbox: SandboxServer, table: TableSpec
) -> None:
    by_query = read(CLIENTS["salesforce"].source(sandbox), table)
    by_job = read(CLIENTS["salesforce by bulk job"].source(sandbox), table)
    assert len(by_query) > 20
    fitter = RowFitter(table)
    rows = [{repr(fitter.fit(record)) for record in found} for found in (by_query, by_job)]
    assert rows[0] == rows[1]
    assert sorted(map(repr, by_query)) == sorted(map(repr, by_job))


def test_deleted_records_of_salesforce_are_read_and_say_so(sandbox: SandboxServer) -> None:
    for name in ("salesforce", "salesforce by bulk job"):
        client = CLIENTS[name]
        records = read(client.source(sandbox), client.table, datetime(2024, 1, 1, tzinfo=UTC))
        assert {record["IsDeleted"] for record in records} == {True, False}
