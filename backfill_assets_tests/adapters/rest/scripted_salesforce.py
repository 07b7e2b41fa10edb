"""Answers of a scripted Salesforce: signing in, what it describes, parts of queries, and bulk jobs."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import httpx

from backfill_assets.adapters.rest.salesforce import SalesforceSource
from backfill_assets.core.pacing import Pacer
from backfill_assets.core.retries import RetryPolicy
from backfill_assets_tests.adapters.rest.scripted import Script, answer

BASE_URL = "https://acme.my.salesforce.example.com"
CREDENTIAL = {
    "client_id": "the-client-id",
    "client_secret": "the-client-secret",
    "username": "reader@acme.example.com",
    "password": "the-password",
    "security_token": "the-token",
}
SECRETS = ("the-client-secret", "the-password", "the-token", "first-session", "second-session")
FIELDS = {
    "Id": "id",
    "IsDeleted": "boolean",
    "Name": "string",
    "NumberOfEmployees": "int",
    "AnnualRevenue": "currency",
    "SystemModstamp": "datetime",
    "BillingAddress": "address",
    "Photo": "base64",
}
ASKED_FOR = "Id, IsDeleted, Name, NumberOfEmployees, AnnualRevenue, SystemModstamp"
REST = "/services/data/v58.0/query/01gA0000000001-2000"
JOB = "750A0000000001"


def signed_in(token: str = "first-session") -> httpx.Response:
    """What the token's address answers."""
    return answer({"access_token": token, "instance_url": BASE_URL, "token_type": "Bearer"})


def versions(*numbers: str) -> httpx.Response:
    """The versions of the interface that the service lists."""
    return answer([{"label": "x", "url": f"/services/data/v{number}", "version": number} for number in numbers])


def described(fields: Mapping[str, str] = FIELDS) -> httpx.Response:
    """What a table's description says."""
    return answer({"name": "Account", "fields": [{"name": name, "type": kind} for name, kind in fields.items()]})


OPENING = (signed_in(), versions("57.0", "58.0", "66.0"))
"""The first answers that every client asks for."""


def account(key: Any, updated: Any = "2024-01-02T00:00:00.000+0000", **more: Any) -> dict[str, Any]:
    """An account as a query sends it."""
    return {
        "attributes": {"type": "Account", "url": f"/services/data/v58.0/sobjects/Account/{key}"},
        "Id": key,
        "IsDeleted": False,
        "Name": "Acme",
        "NumberOfEmployees": 12,
        "AnnualRevenue": 1000.5,
        "SystemModstamp": updated,
        **more,
    }


def part(*records: Any, rest: str | None = None, held: int | None = None, date: str | None = None) -> httpx.Response:
    """An answer to a query: whole, or the part of it before the address of the rest."""
    body = {"totalSize": len(records) if held is None else held, "done": rest is None, "records": list(records)}
    content = json.dumps({**body, "nextRecordsUrl": rest} if rest else body)
    return httpx.Response(200, content=content, headers={"Date": date} if date else {})


def counted(number: int) -> httpx.Response:
    """An answer to a count."""
    return part(held=number)


def refusal(status: int, code: str, message: str = "sorry") -> httpx.Response:
    """An error, which is a list."""
    return httpx.Response(status, json=[{"errorCode": code, "message": message}])


def job(state: str, **more: Any) -> httpx.Response:
    """A bulk job in this state."""
    return answer({"id": JOB, "operation": "queryAll", "state": state, **more})


def rows(*lines: str, locator: str = "null", **headers: str) -> httpx.Response:
    """A part of a bulk job's result; each line is a row of it."""
    header = ",".join(f'"{name}"' for name in ASKED_FOR.split(", "))
    return httpx.Response(
        200,
        text="\n".join([header, *lines, ""]),
        headers={
            "Content-Type": "text/csv",
            "Sforce-Locator": locator,
            "Sforce-NumberOfRecords": str(len(lines)),
            **headers,
        },
    )


def salesforce(script: Script, *, pacer: Pacer | None = None, **settings: Any) -> SalesforceSource:
    """A client that talks to the script; pages of 2, no bulk jobs unless they are asked for."""
    wire = script.wire(policy=settings.pop("policy", RetryPolicy()))
    return SalesforceSource(
        **{
            "tenant": "acme",
            "base_url": BASE_URL,
            "credential": CREDENTIAL,
            "credential_names": ("BACKFILL_ACME_SALESFORCE_PASSWORD",),
            "page_size": 2,
            "bulk_above_rows": None,
            "wire": replace(wire, pacer=pacer) if pacer else wire,
            **settings,
        }
    )
