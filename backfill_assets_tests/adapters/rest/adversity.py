"""What goes wrong while a client reads, by a seeded schedule, and the promise that it keeps meanwhile.

Here belong the means. What is asserted of which failure belongs to `test_adversarial`.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random
from typing import Any

import httpx

from backfill_assets.adapters.rest.http import REAL_WIRE, Wire
from backfill_assets.errors import TransientError
from backfill_assets.sandbox.server import SandboxServer
from backfill_assets_tests.adapters.rest.stands import (
    CLIENTS,
    SINCE,
    UNTIL,
    Client,
    Held,
    Identified,
    control,
    move,
    spoil,
    truth,
)

START, MIDDLE, END = (SINCE + timedelta(days=days) for days in (3, 17, 31))
WINDOWS = ((START, MIDDLE), (MIDDLE, END))
SECOND = timedelta(seconds=1)
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


def begin(sandbox: SandboxServer, name: str) -> Play:
    """An account that nothing has happened to yet."""
    client = CLIENTS[name]
    return Play(sandbox=sandbox, client=client, held=truth(sandbox, client))


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
