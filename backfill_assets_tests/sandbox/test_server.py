"""The sandbox as a program: its configuration, its rate limit, and that its memory does not grow with its records."""

import signal
import socket
import subprocess
import sys
import time
import tracemalloc
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from backfill_assets.errors import ConfigurationError
from backfill_assets.sandbox.server import SandboxConfig, SandboxServer, serve
from backfill_assets.sandbox.traffic import Allowance, RateLimit
from backfill_assets_tests.sandbox.account import TICKETS, Account, between
from backfill_assets_tests.sandbox.conftest import UNTIL
from backfill_assets_tests.sandbox.instance import BY_TIME, Instance
from backfill_assets_tests.sandbox.organisation import Organisation

MEGABYTE = 2**20


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"scale": 0}, "scale"),
        ({"since": datetime(2024, 1, 1, 5, tzinfo=UTC)}, "midnight"),
        ({"since": datetime(2026, 1, 1, tzinfo=UTC)}, "before its since"),
        ({"until": datetime(2026, 1, 1)}, "time zone"),  # noqa: DTZ001 the point of the test
        ({"requests_per_minute": 0}, "requests_per_minute"),
        ({"allowances": {"unicorn": Allowance(requests=1)}}, "no service unicorn"),
        ({"allowances": {"salesforce": Allowance(requests=0)}}, "no requests"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(values: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        SandboxConfig(**{"until": UNTIL, **values})


def test_until_is_now_to_the_second_unless_given() -> None:
    until = SandboxConfig().until
    assert until.microsecond == 0
    assert abs(datetime.now(UTC) - until) < timedelta(seconds=60)


def test_a_tenant_over_its_limit_is_told_to_wait_and_others_are_not() -> None:
    config = SandboxConfig(until=UNTIL, requests_per_minute=3)
    with SandboxServer(config) as server, Account(server, "acme") as acme, Account(server, "globex") as globex:
        statuses = [acme.get("system/info").status_code for _ in range(4)]
        refused = acme.get(TICKETS)
        assert globex.get("system/info").status_code == 200
    assert statuses == [200, 200, 200, 429]
    assert refused.json()["code"] == "TooManyRequests"
    assert 50 <= int(refused.headers["Retry-After"]) <= 60


def test_the_limit_holds_over_any_minute() -> None:
    now = 0.0
    limit = RateLimit(Allowance(requests=2), clock=lambda: now)
    assert [limit.wait("a"), limit.wait("a"), limit.wait("a")] == [0, 0, 60]
    now = 59.5
    assert limit.wait("a") == 1
    now = 60.0
    assert limit.wait("a") == 0
    assert limit.wait("b") == 0


def test_a_sandbox_stops_when_its_context_ends() -> None:
    with SandboxServer(SandboxConfig(until=UNTIL)) as server:
        assert httpx.get(f"{server.url}/_sandbox/requests").status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/_sandbox/requests")


def test_a_sandbox_in_the_foreground_ends_quietly_when_interrupted() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = f"from backfill_assets.sandbox.server import SandboxConfig, serve; serve(SandboxConfig(), port={port})"
    with subprocess.Popen([sys.executable, "-W", "error", "-c", code], stderr=subprocess.PIPE, text=True) as program:
        try:
            wait_for(f"http://127.0.0.1:{port}/_sandbox/requests")
            program.send_signal(signal.SIGINT)
            _, complaints = program.communicate(timeout=10)
        finally:
            program.kill()
    assert (program.returncode, complaints) == (0, "")


def test_a_port_in_use_is_refused_before_anything_is_announced() -> None:
    told: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"port {port} of 127.0.0.1: .* in use.*--port"):
            serve(SandboxConfig(until=UNTIL), port=port, announce=told.append)
    assert told == []


def wait_for(url: str) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with suppress(httpx.ConnectError):
            httpx.get(url).raise_for_status()
            return
        time.sleep(0.05)
    raise TimeoutError(url)


def test_two_sandboxes_with_equal_configurations_hold_equal_records() -> None:
    def first_page() -> list[dict[str, Any]]:
        with SandboxServer(SandboxConfig(seed=5, until=UNTIL)) as server, Account(server, "initech") as account:
            return account.records(TICKETS, pageSize=200)

    assert first_page() == first_page()


def test_millions_of_records_are_served_from_little_memory() -> None:
    tracemalloc.start()
    try:
        config = SandboxConfig(scale=200, until=UNTIL, tenants=("acme",))
        with SandboxServer(config) as server, Account(server, "acme") as acme:
            assert acme.count(TICKETS) > 1_000_000
            month = between("2024-01-01T00:00:00Z", "2024-01-29T00:00:00Z")
            assert len(acme.records(TICKETS, conditions=month, pageSize=1000)) == 1000
            two_years = between("2023-07-01T00:00:00Z", "2025-06-30T00:00:00Z")
            assert len(acme.records(TICKETS, conditions=two_years, pageSize=1000)) == 1000
            assert len(acme.records(TICKETS, conditions=f"{two_years} and id > 700000", pageSize=1000)) == 1000
            assert len(acme.records(TICKETS, conditions="id > 700000", pageSize=1000)) == 1000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 24 * MEGABYTE


def test_pages_of_millions_of_records_by_time_need_neither_memory_nor_a_walk() -> None:
    config = SandboxConfig(scale=200, until=UNTIL)
    with (
        SandboxServer(config) as server,
        Instance(server, "acme") as instance,
        Organisation(server, "acme") as organisation,
    ):
        tracemalloc.start()
        try:
            started = time.perf_counter()
            assert instance.count("incident") > 1_000_000
            late = "2024-06-01T00:00:00Z"
            order = "ORDER BY SystemModstamp, Id LIMIT 1000"
            assert len(organisation.records(f"SELECT Id FROM Case WHERE SystemModstamp > {late} {order}")) == 1000
            query = f"sys_updated_on>=2024-06-01 00:00:00^{BY_TIME}"
            assert len(instance.records("incident", query, limit=1000)) == 1000
            took = time.perf_counter() - started
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 24 * MEGABYTE
    assert took < 15


def test_a_large_page_of_a_range_takes_a_fraction_of_a_second(acme: Account) -> None:
    wanted = between("2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z")
    acme.get(TICKETS, conditions=wanted, pageSize=1000)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        acme.get(TICKETS, conditions=wanted, pageSize=1000)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.5
