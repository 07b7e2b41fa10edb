"""How fast records are enriched by a provider that takes 200 ms to answer, and what one costs in CPU."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from backfill_assets.adapters.ai.http import Wire
from backfill_assets.adapters.ai.opening import Opened, Provider, opened
from backfill_assets.adapters.state.database import StateDatabase
from backfill_assets.adapters.state.schema import initialise
from backfill_assets.core.enrichment import Limits
from backfill_assets.sandbox.ai import server
from backfill_assets.sandbox.ports import answers, free_port
from backfill_assets.sandbox.postgres import EmbeddedPostgres
from backfill_assets_tests.benchmarks.measured import Measured

RECORDS = 10_000
AT_ONCE = 64
LATENCY = 0.2
RECORDS_PER_HOUR = 400_000
CPU_MILLISECONDS = 8.0
SECONDS_TO_START = 20
TEXT = "Gantry fan noisy since Monday, error 4013 on the console. Replaced the fan, cleaned the filter, test scan good."


@dataclass(frozen=True, kw_only=True)
class Pass:
    """What one pass over all records took."""

    seconds: float
    cpu_seconds: float

    @property
    def per_hour(self) -> float:
        """Records an hour."""
        return RECORDS / self.seconds * 3600

    @property
    def cpu_milliseconds(self) -> float:
        """CPU of a record, in this process."""
        return self.cpu_seconds / RECORDS * 1000


def measure() -> list[Measured]:
    """Insight and embedding of each record, one record a call for the first and 64 for the second."""
    with TemporaryDirectory() as folder, _state(Path(folder)) as state, _provider() as url:
        found = asyncio.run(_enrich(state, url))
    return [
        Measured(
            what=f"insights and embeddings, {LATENCY * 1000:.0f} ms a request, {AT_ONCE} at once",
            asked=f"at least {RECORDS_PER_HOUR:,} records/h",
            told=f"{found.per_hour:,.0f} records/h",
            holds=found.per_hour >= RECORDS_PER_HOUR,
        ),
        Measured(
            what="CPU of a record: asking, budget and reading, without scrubbing and storing",
            asked=f"at most {CPU_MILLISECONDS:.0f} ms",
            told=f"{found.cpu_milliseconds:.2f} ms",
            holds=found.cpu_milliseconds <= CPU_MILLISECONDS,
        ),
    ]


async def _enrich(state: StateDatabase, url: str) -> Pass:
    provider = Provider(
        endpoint=server.endpoints(url)["azure_openai"],
        chat_model="gpt-4o",
        embedding_model="text-embedding-3-small",
        limits=Limits(dollars=10_000, requests_per_minute=1_000_000, tokens_per_minute=1_000_000_000),
        wire=Wire(at_once=AT_ONCE),
    )
    texts = [f"{TEXT} Order {number}." for number in range(RECORDS)]
    async with opened(provider, state) as opened_provider:
        await asyncio.gather(*map(opened_provider.extractor.extract, texts[:AT_ONCE]))  # opens the connections
        began, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(_insights(opened_provider, texts), _vectors(opened_provider, texts))
        return Pass(seconds=time.perf_counter() - began, cpu_seconds=time.process_time() - cpu)


async def _insights(provider: Opened, texts: list[str]) -> None:
    waiting = iter(texts)

    async def work() -> None:
        for text in waiting:
            await provider.extractor.extract(text)

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))


async def _vectors(provider: Opened, texts: list[str]) -> None:
    size = provider.embedder.batch_size
    for start in range(0, len(texts), size):
        await provider.embedder.embed(texts[start : start + size])


@contextmanager
def _state(folder: Path) -> Iterator[StateDatabase]:
    postgres = EmbeddedPostgres(folder / "postgres", durable=False)
    try:
        postgres.start()
        postgres.create_database("backfill")
        initialise(postgres.url("backfill"))
        with StateDatabase.open(postgres.url("backfill")) as state:
            yield state
    finally:
        postgres.remove()


@contextmanager
def _provider() -> Iterator[str]:
    """The stand-in in a process of its own, whose CPU does not count."""
    port = free_port()
    with subprocess.Popen([sys.executable, "-m", server.__name__, str(port), str(LATENCY)]) as process:
        try:
            _await(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


def _await(port: int) -> None:
    ends = time.monotonic() + SECONDS_TO_START
    while not answers(port):
        if time.monotonic() > ends:
            raise TimeoutError(f"the stand-in does not answer at port {port}")
        time.sleep(0.05)
