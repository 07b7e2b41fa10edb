"""Stand-ins for tables at both ends, as far as a job asks of them, which fail when a test says so.

Here belongs what a job meets; what real databases do is tested with their adapters.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from backfill_assets.core.jobs import Claimant, JobQueue, Route, SourceServer
from backfill_assets.core.tables import (
    Column,
    Condition,
    Filter,
    Load,
    Position,
    Short,
    Span,
    TableDestination,
    TableShape,
    TableSource,
    Verdict,
)
from backfill_assets.table_backfill.backfill import TableBackfill

ME = Claimant(engine="here", run_id="run 1")
ORDERS = TableShape(
    schema="public",
    name="orders",
    key=("id",),
    columns=(Column(name="id", type="integer"), Column(name="region", type="text")),
)


@dataclass(kw_only=True)
class Shelf:
    """A source: the regions of orders by id."""

    rows: dict[int, str]
    shapes: dict[str, TableShape] = field(default_factory=lambda: {"orders": ORDERS})

    def shape(self, table: str) -> TableShape | None:
        return self.shapes.get(table)

    def count(self, shape: TableShape, filter: Filter) -> int:
        return len(self.matching(filter))

    def matching(self, filter: Filter) -> dict[int, str]:
        """The rows that one condition on a column lets through."""
        if filter is None:
            return dict(self.rows)
        conditions = [filter] if isinstance(filter, Condition) else filter.members
        found = dict(self.rows)
        for each in conditions:
            assert isinstance(each, Condition)
            texts = {id_: str(id_) if each.column == "id" else region for id_, region in found.items()}
            found = {id_: region for id_, region in found.items() if texts[id_] in each.values}
        return found


@dataclass(kw_only=True)
class Target:
    """A destination; `before_batch` is called before each of its batches, and may raise."""

    rows: dict[int, str] = field(default_factory=dict)
    positions: dict[str, Position] = field(default_factory=dict)
    before_batch: Callable[[int], None] = lambda _number: None
    prepare_fails: Exception | None = None
    loses: set[int] = field(default_factory=set)
    batches: int = 0
    forgotten: list[str] = field(default_factory=list)

    def prepare(self, load: Load) -> None:
        if self.prepare_fails is not None:
            raise self.prepare_fails

    def position(self, load: Load) -> Position:
        return self.positions.get(load.job, Position())

    def copy(self, load: Load, source: Shelf) -> Iterator[Position]:
        at = self.position(load)
        left = sorted(id_ for id_ in source.matching(load.filter) if at.last is None or id_ > int(at.last[0]))
        for start in range(0, len(left), load.batch_rows):
            self.batches += 1
            self.before_batch(self.batches)
            ids = left[start : start + load.batch_rows]
            self.rows |= {id_: source.rows[id_] for id_ in ids if id_ not in self.loses}
            at = Position(rows=at.rows + len(ids), last=(str(ids[-1]),))
            self.positions[load.job] = at
            yield at

    def verify(self, load: Load, source: Shelf) -> Verdict:
        wanted = source.matching(load.filter)
        missing = [id_ for id_ in wanted if self.rows.get(id_) != wanted[id_]]
        short = (Short(span=Span(upto=(str(max(missing)),)), missing=len(missing), different=0),) if missing else ()
        return Verdict(source_rows=len(wanted), short=short)

    def forget(self, job: str) -> None:
        self.positions.pop(job, None)
        self.forgotten.append(job)


@dataclass(kw_only=True)
class Shop:
    """A source, destinations by name, and a job's way between them."""

    queue: JobQueue
    source: Shelf
    targets: dict[str, Target]
    told: list[str] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    now: float = 0.0

    def backfill(self, by: Claimant = ME) -> TableBackfill:
        """The use case, with batches of ten rows."""
        return TableBackfill(
            queue=self.queue,
            by=by,
            open_source=self.open_source,
            open_destination=self.open_destination,
            batch_size=10,
            log=self.told.append,
            clock=lambda: self.now,
            sleep=self.pauses.append,
        )

    def open_source(self, server: SourceServer) -> AbstractContextManager[TableSource]:
        """The shelf, whichever server it is."""
        return _opened(cast(TableSource, self.source))

    def open_destination(self, route: Route) -> AbstractContextManager[TableDestination]:
        """The target of this name."""
        return _opened(cast(TableDestination, self.targets[route.name]))


@contextmanager
def _opened(end: Any) -> Iterator[Any]:
    yield end
