"""What every client keeps while everything around it goes wrong: one suite over real HTTP against the sandbox.

The promise: every record that held still while a window was read is read exactly once in it, and none is ever read
twice in the same version. Between any two requests of a client (`Meddler`) something happens by a seeded schedule.

Failure classes: records that change between requests, forward within the window, out of it, into it, or all to one
moment; connections that drop; bodies that are cut; HTML instead of JSON or CSV; 5xx; rate limits (429, and Salesforce's
403); pages shortened by hidden rows, and whole pages of them; queries cancelled inside a success; tokens that run out,
and signing in that fails; cursors that expire; bulk jobs that fail.

Which mutation of the clients each test catches (each was made once, and the test seen to fail):

* everything_at_once: fails when the keyset goes on with >= instead of > (ServiceNow, Salesforce), when it goes on with
  the version alone, and when a page is asked for by its offset instead of after the last record.
* records_of_one_moment: fails when the keyset goes on with the version alone, so that whoever shares it is skipped.
* leavers: fails when pages are asked for by their offset: each one that leaves pulls another onto a page already read.
* each_failure: fails when a body that is not JSON or CSV is taken for an empty page, when a connection that broke is
  not tried again, when a rate limit of Salesforce counts as a refused credential, when a cancelled query of ServiceNow
  is taken for an empty page, and when the rows of a cut CSV are taken as they are.
* hidden_rows: fails when a page shorter than asked for is taken for the end.
* whole_pages_of_hidden_rows: fails when an empty page is taken for the end although it names a next one.
* hidden_rows_that_leave: fails when the next offset is a whole page further on instead of half of one.
* tokens: fails when a 401 does not renew the token, and when a failure to sign in is not tried again.
* expired_cursors: fails when an expired cursor is raised, and when it is taken for the end.
* failed_jobs: fails when a failed job counts as one that found nothing.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from random import Random
from typing import Any

import httpx
import pytest

from backfill_assets.adapters.rest.http import REAL_WIRE, Wire
from backfill_assets.errors import TransientError
from backfill_assets.sandbox.server import SandboxServer
from backfill_assets_tests.adapters.rest.stands import (
    CLIENTS,
    PAGE_SIZE,
    SINCE,
    UNTIL,
    Client,
    Held,
    Identified,
    control,
    move,
    reset,
    spoil,
    truth,
)

START, MIDDLE, END = (SINCE + timedelta(days=days) for days in (3, 17, 31))
WINDOWS = ((START, MIDDLE), (MIDDLE, END))
SECOND = timedelta(seconds=1)
SALESFORCE = [name for name in CLIENTS if name.startswith("salesforce")]
FAILURES: list[dict[str, Any]] = [
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 503},
    {"kind": "drop"},
    {"kind": "html"},
    {"kind": "truncate"},
    {"kind": "rate_limit", "retry_after": 30},
    {"kind": "query_timeout"},
]


class Meddler(httpx.BaseTransport):
    """Lets something happen before each request of a client but signing in, and the one that signing in was for.

    A token that runs out before its first use is a refused credential, and stops a client for good.
    """

    def __init__(self, happen: Callable[[], None]) -> None:
        self._happen = happen
        self._has_new_token = False
        self._inner = httpx.HTTPTransport(verify=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        is_signing_in = request.url.path.endswith("oauth2/token")
        if not is_signing_in and not self._has_new_token:
            self._happen()
        self._has_new_token = is_signing_in
        return self._inner.handle_request(request)

    def close(self) -> None:
        self._inner.close()


@dataclass
class Play:
    """One account that is read window by window while things happen to it."""

    sandbox: SandboxServer
    client: Client
    held: Held
    hidden: set[Any] = field(default_factory=set)
    changed: set[Any] = field(default_factory=set)

    def move(self, key: Any, moment: datetime) -> None:
        """Let a record change, forward in time as all records do."""
        if moment > self.held[key]:
            move(self.sandbox, self.client, key, moment)
            self.held[key] = moment
            self.changed.add(key)

    def within(self, start: datetime, end: datetime) -> list[Any]:
        """The ids of a window, in the order of time."""
        return sorted(
            (key for key, at in self.held.items() if start <= at < end), key=lambda key: (self.held[key], key)
        )

    def spoil(self, kind: str, **fault: Any) -> None:
        """Let a failure hit the next requests that read."""
        spoil(self.sandbox, kind, service=self.client.service, tenant="acme", **fault)

    def read(self, start: datetime, end: datetime, happen: Callable[[], None] = lambda: None) -> list[Identified]:
        """Read one window as a run would: a try that failed in passing is made anew from the start."""
        wire = replace(REAL_WIRE, transport=Meddler(happen))
        for _ in range(4):
            try:
                return list(self._read_once(start, end, wire))
            except TransientError:
                continue
        raise AssertionError("the window could not be read in four tries")

    def _read_once(self, start: datetime, end: datetime, wire: Wire) -> Iterator[Identified]:
        with closing(self.client.source(self.sandbox, wire=wire)) as source:
            for page in source.records(self.client.table, start, end):
                yield from map(self.client.identified, page)

    def check(self, start: datetime, end: datetime, happen: Callable[[], None] = lambda: None) -> None:
        """Read a window, and compare with what held still meanwhile."""
        self.changed.clear()
        before = dict(self.held)
        found = Counter(self.read(start, end, happen))
        still = {
            (key, at): 1
            for key, at in before.items()
            if start <= at < end and self.held[key] == at and key not in self.hidden
        }
        assert {pair: found[pair] for pair in still} == still
        assert set(found.values()) <= {1}
        assert {key for key, _ in found.keys() - still.keys()} <= self.changed | self.hidden


@pytest.fixture(params=list(CLIENTS))
def play(request: pytest.FixtureRequest, sandbox: SandboxServer) -> Play:
    return begin(sandbox, request.param)


def begin(sandbox: SandboxServer, name: str) -> Play:
    client = CLIENTS[name]
    return Play(sandbox=sandbox, client=client, held=truth(sandbox, client))


def only(names: Iterable[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("play", list(names), indirect=True)


class Schedule:
    """What happens before each request, drawn from a seed; at most `events` things in all."""

    def __init__(self, play: Play, seed: int, *, events: int = 40) -> None:
        self._play, self._random, self._left = play, Random(seed), events
        self._window = WINDOWS[0]
        self._moment = START + timedelta(days=self._random.uniform(8, 27))
        kinds = {"leave": 3, "stay": 3, "enter": 2, "crowd": 2, "fail": 3}
        if play.client.service == "salesforce":
            kinds |= {"log out": 1, "expire": 1}
        self._kinds = list(Counter(kinds).elements())

    def run(self) -> None:
        """Read all windows; from the start, some records share a moment with others."""
        moment = self._moment.replace(microsecond=0)
        for key in self._random.sample(self._play.within(SINCE, moment - timedelta(days=1)), 12):
            self._play.move(key, moment)
        for self._window in WINDOWS:
            self._play.check(*self._window, self._happen)

    def _happen(self) -> None:
        if self._left <= 0 or self._random.random() < 0.4:
            return
        self._left -= 1
        kind = self._random.choice(self._kinds)
        match kind:
            case "fail":
                self._fail()
            case "log out":
                log_out(self._play)
            case "expire":
                self._play.spoil("expired_cursor", times=1)
            case _:
                self._move(kind)

    def _fail(self) -> None:
        # What is left of the last failure would add up with this one to more than a client's tries.
        control(self._play.sandbox, "DELETE", "faults")
        fault = self._random.choice(FAILURES)
        self._play.spoil(**fault, times=self._random.randint(1, 2))

    def _move(self, kind: str) -> None:
        start, end = self._window
        inside = self._play.within(start, end)
        key = self._random.choice(self._play.within(SINCE, start) if kind == "enter" else inside or [None])
        if key is None:
            return
        last = UNTIL if kind == "leave" else end
        first = end if kind == "leave" else max(start, self._play.held[key])
        seconds = int((last - first).total_seconds())
        moment = first + self._random.randrange(max(1, seconds)) * SECOND
        self._play.move(key, self._crowded(start, end) if kind == "crowd" else moment)

    def _crowded(self, start: datetime, end: datetime) -> datetime:
        return max(start, min(self._moment.replace(microsecond=0), end - SECOND))


def log_out(play: Play) -> None:
    """Let every token run out."""
    control(play.sandbox, "DELETE", "sessions")


@pytest.mark.parametrize("seed", range(5))
def test_everything_at_once_loses_and_repeats_nothing_that_held_still(play: Play, seed: int) -> None:
    Schedule(play, seed).run()


@pytest.mark.proof
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", list(CLIENTS))
def test_everything_at_once_by_many_schedules(sandbox: SandboxServer, name: str) -> None:
    for seed in range(1000, 1200):
        reset(sandbox)
        Schedule(begin(sandbox, name), seed, events=80).run()


def test_records_of_one_moment_are_each_read_once(play: Play) -> None:
    moment = MIDDLE - timedelta(days=2)
    for key in play.within(START, moment)[: 4 * PAGE_SIZE]:
        play.move(key, moment)
    play.check(*WINDOWS[0])


def test_leavers_take_nobody_else_along(play: Play) -> None:
    leavers = iter(play.within(*WINDOWS[0])[: 3 * PAGE_SIZE : 2])

    def leave() -> None:
        for key in (next(leavers, None), next(leavers, None)):
            if key is not None:
                play.move(key, UNTIL - SECOND)

    play.check(*WINDOWS[0], leave)


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: f"{failure['kind']}-{failure.get('status', '')}")
def test_each_failure_in_mid_window_loses_nothing(play: Play, failure: dict[str, Any]) -> None:
    # Of a bulk job, the parts of its result: what comes before is described, counted, made and looked at twice.
    play.spoil(**failure, after_page=3 if play.client.order else 6, times=2)
    play.check(*WINDOWS[0])


@only(["connectwise", "servicenow"])
def test_hidden_rows_shorten_pages_and_end_nothing(play: Play) -> None:
    for key in play.within(*WINDOWS[0])[::3]:
        play.hidden.add(key)
        play.spoil("hidden_records", record_id=key)
    play.check(*WINDOWS[0])


@only(["servicenow"])
def test_whole_pages_of_hidden_rows_end_nothing(play: Play) -> None:
    hide(play, 4 * PAGE_SIZE)
    play.check(*WINDOWS[0])


@only(["servicenow"])
@pytest.mark.parametrize("number", range(50, 60, 2))
def test_hidden_rows_that_leave_meanwhile_pull_nobody_onto_a_page_already_passed(play: Play, number: int) -> None:
    leavers = iter(hide(play, number))

    def leave() -> None:
        for key in islice(leavers, PAGE_SIZE // 2):
            play.move(key, UNTIL - SECOND)

    play.check(*WINDOWS[0], leave)


def hide(play: Play, number: int) -> list[Any]:
    """Hide about so many rows in a row from the middle of the first window; their ids."""
    rows = play.within(*WINDOWS[0])[PAGE_SIZE:]
    start, end = play.held[rows[0]], play.held[rows[number]]
    play.spoil("hidden_records", **{"from": start.isoformat(), "to": end.isoformat()})
    hidden = play.within(start, end)
    play.hidden.update(hidden)
    return hidden


@only(SALESFORCE)
def test_tokens_that_run_out_at_any_request_and_signing_in_that_fails_lose_nothing(play: Play) -> None:
    requests = iter(range(10_000))

    def happen() -> None:
        number = next(requests)
        if number % 3 == 2:
            log_out(play)
        if number == 8:
            play.spoil("status", status=503, table="oauth2/token", times=2)

    play.check(*WINDOWS[0], happen)


@only(["salesforce"])
def test_expired_cursors_lose_nothing(play: Play) -> None:
    play.spoil("expired_cursor")
    play.check(*WINDOWS[0])


@only(["salesforce by bulk job"])
def test_failed_jobs_are_made_anew(play: Play) -> None:
    play.spoil("failed_job", times=2)
    play.check(*WINDOWS[0])
