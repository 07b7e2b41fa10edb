"""How fast records become files: from pages in memory, and from a service that answers at once."""

import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from multiprocessing import get_context
from statistics import median
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backfill_assets.adapters.rest.connectwise import ConnectWiseSource
from backfill_assets.adapters.rest.connectwise_tables import TICKETS
from backfill_assets.core.source import Identity, Record, RecordId, TableSpec
from backfill_assets.core.windows import Window, plan_chunks
from backfill_assets.sandbox.connectwise.account import credentials
from backfill_assets.sandbox.ports import answers, free_port
from backfill_assets.sandbox.server import SandboxConfig, create_app
from backfill_assets_tests.benchmarks.measured import Measured
from backfill_assets_tests.benchmarks.worlds import SINCE, TARGET, fill, lake, tickets, weeks

RECORDS_A_SECOND = 25_000
PART_OF_BARE = 0.25
IN_MEMORY = 100_000
WEEKS = 8
PAGE = 1000
ROUNDS = 5
"""Of which the middle one counts: the disk is not always as fast."""


def measure() -> list[Measured]:
    """Both speeds."""
    return [_from_memory(), _from_a_service()]


class Pages:
    """A source that holds its pages in memory: the best that any service could do."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = sorted(records, key=lambda record: str(record["_info"]["lastUpdated"]))
        self._moments = [datetime.fromisoformat(r["_info"]["lastUpdated"]) for r in self._records]

    def check(self) -> str:
        """See `RecordSource.check`."""
        return "pages in memory"

    def records(self, table: TableSpec, start: datetime, end: datetime) -> Iterator[Sequence[Record]]:
        """See `RecordSource.records`."""
        found = self._within(start, end)
        return (found[first : first + PAGE] for first in range(0, len(found), PAGE))

    def count(self, table: TableSpec, start: datetime, end: datetime) -> int:
        """See `RecordSource.count`."""
        return len(self._within(start, end))

    def identities(self, table: TableSpec, start: datetime, end: datetime) -> Iterator[Sequence[Identity]]:
        """See `RecordSource.identities`."""
        raise RuntimeError("no record is bad")

    def fetch(self, table: TableSpec, ids: Sequence[RecordId]) -> Sequence[Record]:
        """See `RecordSource.fetch`."""
        raise RuntimeError("no record is bad")

    def close(self) -> None:
        """See `RecordSource.close`."""

    def _within(self, start: datetime, end: datetime) -> Sequence[Record]:
        return self._records[bisect_left(self._moments, start) : bisect_left(self._moments, end)]


def _from_memory() -> Measured:
    pages = Pages(tickets(IN_MEMORY, scale=200))
    windows = weeks(4)
    _round(pages, windows)  # the first use of the libraries is not what is measured
    rounds = [_round(pages, windows) for _ in range(ROUNDS)]
    rows, speed = rounds[0][1], median(rows / seconds for seconds, rows in rounds)
    return Measured(
        what="pages in memory to daily zstd Parquet, one process",
        asked=f"at least {RECORDS_A_SECOND:,} records/s",
        told=f"{speed:,.0f} records/s ({rows:,} records, {len(TICKETS.columns)} declared columns)",
        holds=speed >= RECORDS_A_SECOND,
    )


def _round(pages: Pages, windows: Sequence[Window]) -> tuple[float, int]:
    with lake() as empty:
        return _timed(lambda: fill(pages, empty, windows))


class Canned:
    """Answers each request the second time as it did the first, without making the answer again."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._kept: dict[tuple[str, bytes], list[Message]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        key = (scope.get("path", ""), scope.get("query_string", b""))
        if key not in self._kept:
            messages: list[Message] = []

            async def keep(message: Message) -> None:
                messages.append(message)

            await self._app(scope, receive, keep)
            self._kept[key] = messages
        for message in self._kept[key]:
            await send(message)


def _serve(port: int) -> None:
    config = SandboxConfig(since=SINCE, until=SINCE + timedelta(weeks=WEEKS + 1), scale=100, tenants=("acme",))
    uvicorn.run(Canned(create_app(config)), host="127.0.0.1", port=port, log_level="error", lifespan="off")


@contextmanager
def _canned_service() -> Iterator[str]:
    port = free_port()
    server = get_context("spawn").Process(target=_serve, args=(port,), daemon=True)
    server.start()
    try:
        while not answers(port):
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/connectwise/acme"
    finally:
        server.kill()
        server.join()


def _from_a_service() -> Measured:
    with _canned_service() as url, lake() as warm, lake() as empty, closing(_client(url)) as source:
        fill(source, warm, weeks(WEEKS))  # every answer that either of the two needs is canned now
        bare_seconds, records = _timed(lambda: _read_and_drop(source))
        seconds, rows = _timed(lambda: fill(source, empty, weeks(WEEKS)))
    if rows != records:
        raise RuntimeError(f"{rows} rows of {records} records")
    part = bare_seconds / seconds
    return Measured(
        what="a service's canned pages over HTTP to daily Parquet, beside the bare client that drops them",
        asked=f"at least {PART_OF_BARE:.0%} of it",
        told=f"{part:.0%} ({rows / seconds:,.0f} of {records / bare_seconds:,.0f} records/s, {rows:,} records)",
        holds=part >= PART_OF_BARE,
    )


def _client(url: str) -> ConnectWiseSource:
    return ConnectWiseSource(tenant="acme", base_url=url, credential=credentials("acme"))


def _read_and_drop(source: ConnectWiseSource) -> int:
    chunks = plan_chunks(weeks(WEEKS), TARGET.days)
    return sum(len(page) for chunk in chunks for page in source.records(TICKETS, chunk.start, chunk.end))


def _timed(work: Any) -> tuple[float, int]:
    began = time.perf_counter()
    found = work()
    return time.perf_counter() - began, found
