"""One table on its way to one destination: tried again where that may help, and compared at the end.

Here belongs what is done for a destination. What becomes of the whole job belongs to `backfill.py`, how rows are read,
written and compared to the adapters.
"""

import random
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

from backfill_assets.core.jobs import Route
from backfill_assets.core.retries import Random, RetryPolicy
from backfill_assets.core.tables import Load, TableDestination, TableSource, Verdict
from backfill_assets.errors import BackfillError, PermanentError, TransientError
from backfill_assets.table_backfill.filters import both, read_filter

TRIES = RetryPolicy(tries=6, base=1.0, cap=20.0)
"""One try and five more, with a pause before each that doubles; a batch that is written begins to count anew."""
SHOWN = 5

Log = Callable[[str], None]


@dataclass(kw_only=True)
class Copy:
    """The rows of a job that one destination is to have; `rows` are there, `total` are wanted, once it is counted.

    `problem` says why it ended before it was done.
    """

    route: Route
    load: Load
    open_source: Callable[[], AbstractContextManager[TableSource]]
    open_destination: Callable[[], AbstractContextManager[TableDestination]]
    log: Log
    sleep: Callable[[float], None] = time.sleep
    random: Random = field(default=random.random)
    rows: int = 0
    total: int = 0
    verdict: Verdict | None = None
    problem: str = ""

    def prepare(self) -> None:
        """Make ready to write, and count what there is to read."""
        for _ in self._trying(self._prepare):
            pass

    def advance(self) -> Generator[None]:
        """Write what is left, stop after each commit, and compare both ends."""
        return self._trying(self._copy)

    def forget(self) -> None:
        """Remove what is kept at the destination of a job that is gone."""
        for _ in self._trying(self._forget):
            pass

    def _trying(self, work: Callable[[], Iterator[None]]) -> Generator[None]:
        """Do the work, anew where that may help; what does not is kept as the problem, and concerns no other copy."""
        failures = 0
        while not self.problem:
            before = self.rows
            try:
                yield from work()
                return
            except TransientError as error:
                failures = 1 if self.rows > before else failures + 1
                if not TRIES.may_try_again(failures):
                    self.problem = str(error)
                    return
                pause = TRIES.delay(failures, self.random)
                self.log(f"destination {self.route.name}: {error} Trying again in {pause:.1f} s")
                self.sleep(pause)
            except BackfillError as error:
                self.problem = str(error)

    def _prepare(self) -> Iterator[None]:
        if self.route.custom_sql is not None:
            raise PermanentError(
                "the table is synchronised by custom_sql, which a backfill cannot follow row by row; remove custom_sql "
                "from the table's synchronisation, or load the table there by other means"
            )
        asked_there = read_filter(self.route.filter_sql, self.load.shape)
        load = replace(self.load, filter=both(self.load.filter, asked_there))
        with self.open_destination() as destination:
            destination.prepare(load)
            self.rows = destination.position(load).rows
        with self.open_source() as source:
            self.total = source.count(load.shape, load.filter)
        # Not before all of it went well: it may be done again.
        self.load = load
        yield from ()

    def _copy(self) -> Iterator[None]:
        with self.open_source() as source, self.open_destination() as destination:
            positions = destination.copy(self.load, source)
            try:
                for position in positions:
                    self.rows = position.rows
                    yield
            finally:
                if isinstance(positions, Generator):
                    positions.close()
            self.verdict = destination.verify(self.load, source)
        if not self.verdict.complete:
            raise PermanentError(_told(self.verdict))

    def _forget(self) -> Iterator[None]:
        with self.open_destination() as destination:
            destination.forget(self.load.job)
        yield from ()


def _told(verdict: Verdict) -> str:
    more = len(verdict.short) - SHOWN
    ranges = "; ".join([*map(str, verdict.short[:SHOWN]), *([f"and {more} more ranges"] if more > 0 else [])])
    return f"not all rows are there as they are at the source, by ranges of keys: {ranges}. Run the job again"
