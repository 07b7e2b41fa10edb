"""Comparing a table with its source again, at each destination, whenever somebody asks.

Here belongs what is compared, and that nothing is changed by it. How rows are compared belongs to the adapters.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from backfill_assets.core.jobs import Job, JobQueue, Route, SourceServer
from backfill_assets.core.tables import Filter, Load, TableDestination, TableShape, TableSource, Verdict
from backfill_assets.errors import BackfillError, PermanentError, UsageError
from backfill_assets.table_backfill.filters import both, read_filter

NO_JOB = "reconcile"


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What a destination holds of a table; `problem` says why it could not be compared."""

    destination: str
    verdict: Verdict | None
    problem: str = ""

    @property
    def is_equal(self) -> bool:
        """Whether every row is there as it is at the source."""
        return self.verdict is not None and self.verdict.complete


@dataclass(frozen=True, kw_only=True)
class TableReconcile:
    """Compares tables of pipelines."""

    queue: JobQueue
    open_source: Callable[[SourceServer], AbstractContextManager[TableSource]]
    open_destination: Callable[[Route], AbstractContextManager[TableDestination]]

    def compare(self, pipeline_id: int, table: str, filter_sql: str | None) -> Iterator[Compared]:
        """Compare the rows that match at each destination; raises `UsageError` for what is not there."""
        server = self.queue.pipeline_source(pipeline_id)
        asked = Job(id=0, pipeline_id=pipeline_id, source_id=server.id, table_name=table)
        with self.open_source(server) as source:
            shape = source.shape(table)
            if shape is None:
                raise UsageError(f"Table '{table}' does not exist in source")
            try:
                routes, wanted = self.queue.routes(asked), read_filter(filter_sql, shape)
            except PermanentError as error:
                raise UsageError(str(error)) from None
            for route in routes:
                try:
                    verdict = self._compare(source, shape, route, wanted)
                except BackfillError as error:
                    yield Compared(destination=route.name, verdict=None, problem=str(error))
                else:
                    yield Compared(destination=route.name, verdict=verdict)

    def _compare(self, source: TableSource, shape: TableShape, route: Route, wanted: Filter) -> Verdict:
        if route.custom_sql is not None:
            raise PermanentError("the table is synchronised by custom_sql, so there are no rows to compare one by one")
        filtered = both(wanted, read_filter(route.filter_sql, shape))
        with self.open_destination(route) as destination:
            return destination.verify(Load(job=NO_JOB, shape=shape, target=route.table, filter=filtered), source)
