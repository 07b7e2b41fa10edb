"""Connections of new services are tried side by side, and in turns when there is no time for all."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from backfill_assets.adapters.rest.memory import MemorySource
from backfill_assets.errors import BackfillError, SourceUnreachable, TransientError
from backfill_assets.tenant_history.onboarding import CHECK_SECONDS, CHECKERS, check_connections
from backfill_assets_tests.tenant_history.worlds import NOW, World


@dataclass(kw_only=True)
class Hosts:
    """Accounts at hosts that are dead, which is known after so many seconds; `tried` are those that were asked."""

    world: World
    seconds: float
    tried: list[str] = field(default_factory=list)

    def add(self, number: int) -> None:
        """Add so many tenants, t00 and on, each with a dead host."""
        for tenant in (f"t{n:02}" for n in range(number)):
            self.world.add(tenant)
            self.world.sources[tenant] = Dead(self, tenant)

    def check(self, *, within: float = CHECK_SECONDS) -> Sequence[BackfillError | None]:
        """What is said of each, in the order of the tenants."""
        return check_connections(self.world.wiring, list(self.world.accounts.values()), seconds=within)


class Dead(MemorySource):
    """One account at a dead host."""

    def __init__(self, hosts: Hosts, tenant: str) -> None:
        super().__init__({})
        self._hosts, self._tenant = hosts, tenant

    def check(self) -> str:
        """Find out that nobody answers."""
        self._hosts.tried.append(self._tenant)
        time.sleep(self._hosts.seconds)
        raise SourceUnreachable(f"nobody answers {self._tenant}")


def test_dead_hosts_do_not_add_up(world: World) -> None:
    hosts = Hosts(world=world, seconds=0.2)
    hosts.add(CHECKERS)
    before = time.monotonic()
    told = hosts.check()
    assert time.monotonic() - before < CHECKERS * 0.2 / 2
    assert [str(problem) for problem in told] == [f"nobody answers t{n:02}" for n in range(CHECKERS)]
    assert all(source.closed for source in world.sources.values())


@pytest.mark.parametrize("turn", [0, 1, 7])
def test_when_time_is_up_the_rest_is_told_so_and_the_next_time_begins_elsewhere(world: World, turn: int) -> None:
    many = CHECKERS + 4
    # A moment at which it is the first one's turn.
    first = NOW - timedelta(seconds=NOW.timestamp() // CHECK_SECONDS % many * CHECK_SECONDS)
    world.now = first + timedelta(seconds=turn * CHECK_SECONDS)
    hosts = Hosts(world=world, seconds=0.4)
    hosts.add(many)
    told = hosts.check(within=0.3)
    expected = {f"t{(turn + n) % many:02}" for n in range(CHECKERS)}
    assert set(hosts.tried) == expected
    for tenant, problem in zip(world.accounts, told, strict=True):
        late = "its connection was not tried this time, since others took too long"
        assert str(problem) == (f"nobody answers {tenant}" if tenant in expected else late)
        assert isinstance(problem, TransientError)


def test_one_that_answers_has_nothing_in_its_way(world: World) -> None:
    hosts = Hosts(world=world, seconds=0)
    hosts.add(2)
    world.add("alive")
    assert [problem is None for problem in hosts.check()] == [False, False, True]


def test_nobody_to_ask_is_no_error(world: World) -> None:
    assert Hosts(world=world, seconds=0).check() == []
