"""A tenant's organisation at the sandbox's Salesforce, for tests: signed in, asking in every way there is.

Written apart from the client that the product uses, so that the two check each other.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import httpx

from backfill_assets.sandbox.salesforce.account import credentials
from backfill_assets.sandbox.server import SandboxServer

Pair = tuple[str, str]
VERSION = "services/data/v58.0"


def within(start: str, end: str) -> str:
    """The condition for a range of update times."""
    return f"SystemModstamp >= {start} AND SystemModstamp < {end}"


class Organisation:
    """Reads one tenant's records."""

    def __init__(self, server: SandboxServer, tenant: str) -> None:
        self._server = server
        self.tenant = tenant
        self.client = httpx.Client(base_url=server.base_url("salesforce", tenant), timeout=30)

    def __enter__(self) -> Self:
        self.client.headers["Authorization"] = f"Bearer {self.sign_in()}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()

    def ask_for_token(self, **other: str) -> httpx.Response:
        """Try to sign in by password, with some fields of the form changed."""
        form = {"grant_type": "password", **credentials(self.tenant), **other}
        return self.client.post("/services/oauth2/token", data=form)

    def sign_in(self) -> str:
        """A new token."""
        return str(self.ask_for_token().raise_for_status().json()["access_token"])

    def get(self, path: str, headers: Mapping[str, str] | None = None, **parameters: Any) -> httpx.Response:
        """One request below the version."""
        return self.client.get(f"/{VERSION}/{path}", params=parameters, headers=headers)

    def pages(self, soql: str, *, size: int = 2000, path: str = "query") -> Iterator[list[dict[str, Any]]]:
        """Every page of a query."""
        headers = {"Sforce-Query-Options": f"batchSize={size}"}
        answer = self.get(path, headers, q=soql).raise_for_status().json()
        yield answer["records"]
        while not answer["done"]:
            answer = self.client.get(answer["nextRecordsUrl"], headers=headers).raise_for_status().json()
            yield answer["records"]

    def records(self, soql: str, *, size: int = 2000, path: str = "query") -> list[dict[str, Any]]:
        """Everything that a query finds."""
        return [record for page in self.pages(soql, size=size, path=path) for record in page]

    def count(self, soql: str, path: str = "query") -> int:
        """The size that a query tells."""
        return int(self.get(path, q=soql).raise_for_status().json()["totalSize"])

    def start_job(self, soql: str, operation: str = "query", **other: str) -> httpx.Response:
        """Make a bulk job."""
        return self.client.post(f"/{VERSION}/jobs/query", json={"operation": operation, "query": soql, **other})

    def finished_job(self, soql: str, operation: str = "query", **other: str) -> str:
        """The id of a bulk job that has ended."""
        name = str(self.start_job(soql, operation, **other).raise_for_status().json()["id"])
        while self.get(f"jobs/query/{name}").json()["state"] in ("UploadComplete", "InProgress"):
            pass
        return name

    def rows(self, job: str, size: int) -> list[dict[str, str]]:
        """Everything that a bulk job has found."""
        found: list[dict[str, str]] = []
        locator: dict[str, Any] = {}
        while locator.get("locator") != "null":
            answer = self.get(f"jobs/query/{job}/results", maxRecords=size, **locator).raise_for_status()
            page = list(csv.DictReader(io.StringIO(answer.text)))
            assert len(page) == int(answer.headers["Sforce-NumberOfRecords"])
            found += page
            locator = {"locator": answer.headers["Sforce-Locator"]}
        return found

    def truth(self, name: str, start: str = "", end: str = "", **parameters: str) -> list[Pair]:
        """What the sandbox says that it really holds."""
        url = f"{self._server.url}/_sandbox/truth/salesforce/{self.tenant}/{name}"
        lines = httpx.get(url, params={"from": start, "to": end, **parameters}, timeout=30).text.splitlines()
        return [(record_id, updated) for record_id, updated in map(json.loads, lines)]


def pairs(records: list[dict[str, Any]]) -> list[Pair]:
    """Id and update time of each record, as the truth tells them."""
    return [(record["Id"], record["SystemModstamp"].replace(".000+0000", "Z")) for record in records]


def error_of(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of an answer that is an error."""
    (error,) = answer.json()
    assert set(error) == {"message", "errorCode"}
    return answer.status_code, error["errorCode"]
