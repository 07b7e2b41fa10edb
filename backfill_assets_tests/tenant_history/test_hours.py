"""Whether a tenant's history may be read now, and what is said when it may not."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest

from backfill_assets.core.opening import Hours
from backfill_assets.settings import TenantService
from backfill_assets.tenant_history.hours import (
    Closed,
    Halt,
    TimedOut,
    closed,
    described,
    halt,
    halted_sentence,
    opening_of,
)
from backfill_assets_tests.tenant_history.worlds import DESK, World

NIGHT = Hours(start=time(22), end=time(6))
LAUNCHED = datetime(2026, 11, 23, 22, tzinfo=UTC)
CLOSING = datetime(2026, 11, 24, 5, tzinfo=UTC)
"""06:00 in Berlin."""


@pytest.fixture
def acme(tmp_path: Path) -> TenantService:
    world = World(root=tmp_path)
    world.add("acme", spec=replace(DESK, backfill_hours=NIGHT, timeout_hours=24), time_zone="Europe/Berlin")
    return world.accounts["acme"]


def at(service: TenantService, now: datetime) -> Halt | None:
    return halt(service, began=LAUNCHED, now=now)


def test_hours_go_by_the_tenants_own_clocks(acme: TenantService) -> None:
    assert at(acme, CLOSING - timedelta(microseconds=1)) is None
    assert at(acme, CLOSING) == Closed(service=acme, at=CLOSING, until=datetime(2026, 11, 24, 21, tzinfo=UTC))
    assert at(replace(acme, time_zone="UTC"), CLOSING) is None
    assert described(acme) == "22:00-06:00 Europe/Berlin"


def test_a_service_without_hours_is_always_open(acme: TenantService) -> None:
    always = replace(acme, spec=replace(acme.spec, backfill_hours=None))
    assert (closed(always, CLOSING), opening_of(always), described(always)) == (None, None, "")


def test_a_backfill_has_its_longest_time_and_not_a_moment_more(acme: TenantService) -> None:
    end = LAUNCHED + timedelta(hours=24)
    assert at(acme, end - timedelta(microseconds=1)) is None
    assert at(acme, end) == TimedOut(service=acme)


def test_what_took_too_long_is_not_said_to_go_on_by_itself_when_it_is_closed_too(acme: TenantService) -> None:
    assert at(acme, LAUNCHED + timedelta(days=2, hours=12)) == TimedOut(service=acme)


def test_the_sentence_says_why_how_much_is_left_and_who_goes_on(acme: TenantService) -> None:
    [pause, stop] = [at(acme, CLOSING), at(acme, LAUNCHED + timedelta(hours=24))]
    assert pause is not None
    assert stop is not None
    paused = "paused at 06:00 Europe/Berlin, outside of the backfill hours of acme (22:00-06:00)"
    assert halted_sentence([pause], "abc", left=12, of=26) == (
        f"{paused}: 12 of 26 partitions are left, it goes on at 2026-11-24 22:00 Europe/Berlin by itself"
    )
    assert halted_sentence([pause], None, left=12, of=26) == (
        f"{paused}: 12 of 26 partitions are left; materialize them again when they may be read"
    )
    assert halted_sentence([stop], "abc", left=1, of=2) == (
        "stopped after 24 hours (timeout_hours): 1 of 2 partitions are left; `backfill resume abc` goes on"
    )
