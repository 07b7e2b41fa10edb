"""The scrubber that runs use: several processes, and nothing is scrubbed twice.

Here belong the pool, its death, and the memory of what was scrubbed. Workers are spawned, never forked: a run has threads.
Each loads the model once, at its first texts. No message holds a text: not of an error in a worker either.
"""

import hashlib
import multiprocessing
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain
from threading import Lock
from types import TracebackType
from typing import Self

from backfill_assets.adapters.pii.patterns import RULES_VERSION
from backfill_assets.core.scrubbing import Scrubbed
from backfill_assets.errors import ConfigurationError, RejectedRecord

REMEMBERED = 4096
"""Scrubbed texts kept in memory; what is asked about twice is asked soon: for the insight, then for the vector."""

SLICE = 64
"""The most texts that go to a worker at once."""


class PooledScrubber:
    """A `Scrubber` over `processes` processes; without `names` only by rules, which is some six times as fast."""

    def __init__(self, *, processes: int, names: bool = True, remembered: int = REMEMBERED) -> None:
        if processes < 1:
            raise ConfigurationError(f"Scrubbing needs at least one process, and {processes} are set: set 1 or more.")
        self.rules = RULES_VERSION if names else f"{RULES_VERSION}-patterns"
        self._processes = processes
        self._names = names
        self._remembered = remembered
        self._known: OrderedDict[tuple[bytes, str], Scrubbed] = OrderedDict()
        self._lock = Lock()
        self._pool: ProcessPoolExecutor | None = None

    def scrub(self, texts: Sequence[str]) -> Sequence[Scrubbed]:
        """See `Scrubber.scrub`."""
        keys = [(hashlib.sha256(text.encode(errors="surrogatepass")).digest(), self.rules) for text in texts]
        found = self._recall(keys)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
        if missing:
            new = dict(zip(missing, self._ask(list(missing.values())), strict=True))
            self._remember(new)
            found |= new
        return [found[key] for key in keys]

    def worker_ids(self) -> Sequence[int]:
        """The process ids of the workers that there are now."""
        with self._lock:
            return list(self._pool._processes) if self._pool else []

    def close(self) -> None:
        """End the workers; the scrubber starts new ones should it be used again."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool:
            pool.shutdown(cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, texts: Sequence[str]) -> list[Scrubbed]:
        size = max(1, min(SLICE, -(-len(texts) // self._processes)))
        pool = self._workers()
        try:
            asked: list[Future[list[Scrubbed]]] = [
                pool.submit(scrub_slice, texts[start : start + size], names=self._names)
                for start in range(0, len(texts), size)
            ]
            return list(chain.from_iterable(future.result() for future in asked))
        except BrokenProcessPool:
            self._discard(pool)
            raise RejectedRecord(
                f"A process that scrubs texts died while it had {len(texts)} of them; none was let through. New ones are "
                "started at the next try; where a single text does this again, look at that record and at the memory."
            ) from None

    def _workers(self) -> ProcessPoolExecutor:
        with self._lock:
            if self._pool is None:
                context = multiprocessing.get_context("spawn")
                self._pool = ProcessPoolExecutor(self._processes, mp_context=context)
            return self._pool

    def _discard(self, pool: ProcessPoolExecutor) -> None:
        with self._lock:
            if self._pool is pool:
                self._pool = None
        pool.shutdown(wait=False, cancel_futures=True)

    def _recall(self, keys: Sequence[tuple[bytes, str]]) -> dict[tuple[bytes, str], Scrubbed]:
        with self._lock:
            found = {key: self._known[key] for key in keys if key in self._known}
            for key in found:
                self._known.move_to_end(key)
        return found

    def _remember(self, new: dict[tuple[bytes, str], Scrubbed]) -> None:
        with self._lock:
            self._known |= new
            while len(self._known) > self._remembered:
                self._known.popitem(last=False)


def scrub_slice(texts: Sequence[str], *, names: bool) -> list[Scrubbed]:
    """What a worker does; its errors name their kind only, since a library's message may quote the text."""
    from backfill_assets.adapters.pii.analysis import scrub

    try:
        return scrub(texts, names=names)
    except ConfigurationError:
        raise
    except Exception as error:
        raise RejectedRecord(
            f"{len(texts)} texts could not be scrubbed ({type(error).__name__}); none was let through. Look at the record."
        ) from None
