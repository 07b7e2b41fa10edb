"""Clients that others keep, unmodified: what they expect of the real services, the sandbox does."""

import csv
import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
import requests
from pysnc import ServiceNowClient
from pysnc.exceptions import AuthenticationException
from requests.adapters import HTTPAdapter
from simple_salesforce.api import Salesforce
from simple_salesforce.exceptions import SalesforceExpiredSession, SalesforceMalformedRequest

from backfill_assets.sandbox.server import SandboxServer
from backfill_assets.sandbox.servicenow.account import credentials
from backfill_assets_tests.sandbox.organisation import Organisation

MARCH = "sys_updated_on>=2024-03-01 00:00:00^sys_updated_on<2024-04-01 00:00:00"
IN_2024 = "SystemModstamp >= 2024-01-01T00:00:00Z AND SystemModstamp < 2025-01-01T00:00:00Z"


class ToSandbox(HTTPAdapter):
    """Sends what is meant for https://host to an address of plain HTTP below a path."""

    def __init__(self, base_url: str) -> None:
        super().__init__()
        self._base = urlsplit(base_url)

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """See `HTTPAdapter.send`."""
        meant = urlsplit(str(request.url))
        path = f"{self._base.path}{meant.path}"
        request.url = urlunsplit((self._base.scheme, self._base.netloc, path, meant.query, ""))
        return super().send(request, *args, **kwargs)


@pytest.fixture
def sessions(server: SandboxServer) -> Iterator[Callable[[str], requests.Session]]:
    with ExitStack() as opened:

        def open_session(service: str) -> requests.Session:
            session = opened.enter_context(requests.Session())
            session.mount("https://", ToSandbox(server.base_url(service, "globex")))
            return session

        yield open_session


@pytest.fixture
def salesforce(server: SandboxServer, sessions: Callable[[str], requests.Session]) -> Any:
    with Organisation(server, "globex") as globex:
        token = globex.sign_in()
    host = "https://globex.my.salesforce.com"
    return Salesforce(instance_url=host, session_id=token, session=sessions("salesforce"), version="58.0")


@pytest.fixture
def servicenow(sessions: Callable[[str], requests.Session]) -> ServiceNowClient:
    account, session = credentials("globex"), sessions("servicenow")
    session.auth = (account["username"], account["password"])
    return connect(session)


def connect(session: requests.Session) -> ServiceNowClient:
    # Its own retries would take the place of the adapter.
    return ServiceNowClient("https://globex.service-now.com", session, auto_retry=False)


def test_pysnc_reads_a_month_page_by_page(server: SandboxServer, servicenow: ServiceNowClient) -> None:
    record = servicenow.GlideRecord("incident", batch_size=10)
    record.add_encoded_query(MARCH)
    record.query()
    found = {(each.sys_id.get_value(), each.sys_updated_on.get_value()) for each in record}
    truth = requests.get(
        f"{server.url}/_sandbox/truth/servicenow/globex/incident",
        params={"from": "2024-03-01", "to": "2024-04-01"},
        timeout=30,
    ).text.splitlines()
    assert len(record) == len(found) == len(truth) > 50


def test_pysnc_gets_one_record_with_its_references(servicenow: ServiceNowClient) -> None:
    first = servicenow.GlideRecord("incident", batch_size=1)
    first.limit = 1
    first.query()
    assert first.next()
    one = servicenow.GlideRecord("incident")
    assert one.get(first.get_value("sys_id"))
    assert one.get_value("number") == first.get_value("number")
    assert one.get_display_value("company") != one.get_value("company")
    assert not servicenow.GlideRecord("incident").get("0" * 32)


def test_pysnc_is_told_that_it_is_not_signed_in(sessions: Callable[[str], requests.Session]) -> None:
    with pytest.raises(AuthenticationException):
        connect(sessions("servicenow")).GlideRecord("incident").get("0" * 32)


def test_simple_salesforce_reads_a_query_page_by_page(salesforce: Any) -> None:
    query = f"SELECT Id, SystemModstamp FROM Case WHERE {IN_2024} ORDER BY SystemModstamp, Id"
    headers = {"Sforce-Query-Options": "batchSize=200"}
    found = [record["Id"] for record in salesforce.query_all_iter(query, headers=headers)]
    assert len(found) == len(set(found)) == salesforce.query(query)["totalSize"] > 400
    first = salesforce.query(query, headers=headers)
    more = salesforce.query_more(first["nextRecordsUrl"].rpartition("/")[2])
    assert [record["Id"] for record in more["records"]][:200] == found[200:400]
    assert salesforce.api_usage["api-usage"].used > 0


def test_simple_salesforce_sees_deleted_records_when_it_asks_for_them(salesforce: Any) -> None:
    query = "SELECT COUNT() FROM Contact"
    everyone = salesforce.query(query, include_deleted=True)["totalSize"]
    assert everyone > salesforce.query(query)["totalSize"] > 0.9 * everyone


def test_simple_salesforce_describes_an_object_and_gets_a_record(salesforce: Any) -> None:
    types = {field["name"]: field["type"] for field in salesforce.Account.describe()["fields"]}
    assert (types["BillingAddress"], types["SystemModstamp"]) == ("address", "datetime")
    assert "Account" in [each["name"] for each in salesforce.describe()["sobjects"]]
    one = salesforce.query("SELECT Id FROM Account LIMIT 1")["records"][0]
    assert salesforce.Account.get(one["Id"]).keys() == {"attributes", *types}


def test_simple_salesforce_reads_a_bulk_query_in_parts(salesforce: Any) -> None:
    query = f"SELECT Id, Subject, IsClosed FROM Case WHERE {IN_2024} ORDER BY Id"
    parts = list(salesforce.bulk2.Case.query(query, max_records=300, wait=0))
    rows = [row for part in parts for row in csv.DictReader(io.StringIO(part))]
    expected = [
        {"Id": each["Id"], "Subject": each["Subject"], "IsClosed": str(each["IsClosed"]).lower()}
        for each in salesforce.query_all_iter(query)
    ]
    assert len(parts) > 2
    assert rows == expected


def test_simple_salesforce_knows_what_went_wrong(server: SandboxServer, salesforce: Any) -> None:
    with pytest.raises(SalesforceMalformedRequest) as refused:
        salesforce.query("SELECT Nothing FROM Case")
    told: Any = refused.value.content
    assert told[0]["errorCode"] == "INVALID_FIELD"
    requests.delete(f"{server.url}/_sandbox/sessions", params={"tenant": "globex"}, timeout=30)
    with pytest.raises(SalesforceExpiredSession):
        salesforce.query("SELECT Id FROM Case LIMIT 1")
