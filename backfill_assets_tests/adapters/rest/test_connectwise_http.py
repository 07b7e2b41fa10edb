"""The ConnectWise client against a server that misbehaves over real HTTP."""

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest

from backfill_assets.adapters.rest.connectwise import ConnectWiseSource
from backfill_assets.adapters.rest.connectwise_tables import TICKETS
from backfill_assets.adapters.rest.http import REAL_WIRE
from backfill_assets.adapters.rest.registry import Access, connectors
from backfill_assets.errors import (
    BackfillError,
    CredentialRefused,
    SourceUnreachable,
    TransientError,
    UnexpectedResponse,
)
from backfill_assets.sandbox.connectwise.account import credentials
from backfill_assets.sandbox.server import SandboxServer
from backfill_assets_tests.adapters.rest.stands import SINCE, UNTIL, sandbox_client

START, END = SINCE, SINCE + timedelta(days=14)
IMPATIENT = replace(REAL_WIRE, timeout=httpx.Timeout(0.2))


def spoil(sandbox: SandboxServer, kind: str, **fault: Any) -> None:
    httpx.post(f"{sandbox.url}/_sandbox/faults", json={"kind": kind, **fault}).raise_for_status()


def requests_seen(sandbox: SandboxServer) -> dict[str, Any]:
    seen: dict[str, Any] = httpx.get(f"{sandbox.url}/_sandbox/requests").json()
    return seen


def read(source: ConnectWiseSource) -> list[int]:
    with closing(source):
        return [record["id"] for page in source.records(TICKETS, START, END) for record in page]


@pytest.fixture
def expected(sandbox: SandboxServer) -> list[int]:
    ids = read(sandbox_client(sandbox))
    httpx.delete(f"{sandbox.url}/_sandbox/requests").raise_for_status()
    return ids


@contextmanager
def expected_failure(kind: type[BackfillError], words: str) -> Iterator[None]:
    with pytest.raises(kind, match=words) as caught:
        yield
    assert "acme-private" not in str(caught.value)


@pytest.mark.parametrize("kind", ["status", "drop", "html", "truncate"])
def test_three_failures_in_mid_table_lose_nothing(sandbox: SandboxServer, expected: list[int], kind: str) -> None:
    spoil(sandbox, kind, times=3, after_page=2)
    pauses: list[float] = []
    assert read(sandbox_client(sandbox, pauses=pauses)) == expected
    assert len(pauses) == 3
    assert all(0 <= pause <= 4 for pause in pauses)


@pytest.mark.parametrize(
    ("kind", "error", "words"),
    [
        ("status", TransientError, "answered 500"),
        ("drop", TransientError, "did not answer in full"),
        ("html", UnexpectedResponse, "not JSON"),
        ("truncate", UnexpectedResponse, "not JSON"),
    ],
)
def test_a_failure_that_stays_is_raised_after_four_tries(
    sandbox: SandboxServer, kind: str, error: type[BackfillError], words: str
) -> None:
    spoil(sandbox, kind)
    with expected_failure(error, f"{words}.*Gave up after 4 tries"):
        read(sandbox_client(sandbox))
    assert requests_seen(sandbox)["counts"]["connectwise/acme/service/tickets"] == 4


def test_an_answer_that_is_too_slow_is_tried_again(sandbox: SandboxServer, expected: list[int]) -> None:
    spoil(sandbox, "timeout", seconds=5, times=2)
    pauses: list[float] = []
    assert read(sandbox_client(sandbox, wire=IMPATIENT, pauses=pauses)) == expected
    assert len(pauses) == 2


def test_an_answer_that_stays_too_slow_is_given_up(sandbox: SandboxServer) -> None:
    spoil(sandbox, "timeout", seconds=5)
    with expected_failure(TransientError, "ReadTimeout.*Gave up after 4 tries"):
        read(sandbox_client(sandbox, wire=IMPATIENT))


def test_ten_rate_limits_are_waited_out(sandbox: SandboxServer, expected: list[int]) -> None:
    spoil(sandbox, "rate_limit", retry_after=20, times=10)
    pauses: list[float] = []
    assert read(sandbox_client(sandbox, pauses=pauses)) == expected
    assert len(pauses) == 10
    assert all(20 <= pause <= 21 for pause in pauses)


def test_an_answer_of_another_shape_is_no_empty_page(sandbox: SandboxServer) -> None:
    spoil(sandbox, "wrong_shape", after_page=1)
    with expected_failure(UnexpectedResponse, "dict instead of a list"):
        read(sandbox_client(sandbox))


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_credential_stops_after_exactly_one_request(sandbox: SandboxServer, status: int) -> None:
    spoil(sandbox, "status", status=status)
    with expected_failure(CredentialRefused, "tenant acme at 127.*Check BACKFILL_ACME_CONNECTWISE_PRIVATE_KEY"):
        read(sandbox_client(sandbox))
    assert requests_seen(sandbox)["counts"]["connectwise/acme/service/tickets"] == 1


def test_a_wrong_private_key_is_refused_and_not_told(sandbox: SandboxServer) -> None:
    source = sandbox_client(sandbox, credential={**credentials("acme"), "private_key": "a-wrong-secret"})
    with closing(source), pytest.raises(CredentialRefused, match="PRIVATE_KEY") as caught:
        source.check()
    assert "a-wrong-secret" not in str(caught.value)
    assert requests_seen(sandbox)["counts"]["connectwise/acme/system/info"] == 1


def test_an_unreachable_host_is_told_apart_after_a_minute() -> None:
    with socket.socket() as bound:
        # Bound but not listening: nobody else takes the port, and every connection to it is refused.
        bound.bind(("127.0.0.1", 0))
        pauses: list[float] = []
        source = ConnectWiseSource(
            tenant="acme",
            base_url=f"http://127.0.0.1:{bound.getsockname()[1]}",
            credential=credentials("acme"),
            wire=replace(REAL_WIRE, sleep=pauses.append),
        )
        with closing(source), pytest.raises(SourceUnreachable, match=r"cannot be reached.*Gave up after \d+ tries"):
            source.check()
    assert 60 <= sum(pauses) <= 90


def test_no_request_ever_asks_for_a_page_by_its_number(sandbox: SandboxServer, expected: list[int]) -> None:
    assert len(expected) > 21
    read(sandbox_client(sandbox))
    queries = [httpx.QueryParams(request["query"]) for request in requests_seen(sandbox)["requests"]]
    paged = [query for query in queries if "pageSize" in query]
    assert len(paged) > 3
    assert not any("page" in query or "pageId" in query for query in queries)
    assert all("id > " in query["conditions"] for query in paged[1:])


@pytest.mark.parametrize("table", connectors()["connectwise"].spec.tables, ids=lambda table: table.slug)
def test_every_table_of_the_registry_is_read_whole(sandbox: SandboxServer, table: Any) -> None:
    access = Access(
        tenant="acme",
        spec=connectors()["connectwise"].spec,
        base_url=sandbox.base_url("connectwise", "acme"),
        credential=credentials("acme"),
        credential_names=(),
    )
    assert credentials("acme")["private_key"] not in repr(access)
    with closing(connectors()["connectwise"].open(access)) as source:
        found = [record for page in source.records(table, SINCE, UNTIL) for record in page]
        assert len(found) == source.count(table, SINCE, UNTIL) > 0
        assert source.check() == f"ConnectWise v2024.1 at {sandbox.url.removeprefix('http://')}"


def test_one_client_reads_as_often_as_it_is_asked(sandbox: SandboxServer, expected: list[int]) -> None:
    with closing(sandbox_client(sandbox)) as source:
        for _ in range(2):
            assert sum(len(page) for page in source.records(TICKETS, START, END)) == len(expected)
