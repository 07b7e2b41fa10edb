"""The product's database on any of the three engines: which instances there are, and transactions on their values.

Here belongs what all have in common. What is read and written in a transaction belongs to `postgres.py` and
`portable.py`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from sqlalchemy import Connection, Engine, text

from backfill_assets.adapters.spiffworkflow.connecting import told
from backfill_assets.adapters.spiffworkflow.tables import last_of_the_first, spans
from backfill_assets.core.instances import InstanceWork, Part, Span, Standing
from backfill_assets.core.metadata import MetadataField
from backfill_assets.core.windows import Window

VALUES_AT_ONCE = 20_000
"""How many values one statement counts, which bounds its length, and the memory where they are counted here."""

Count = Callable[[Connection, Part, Sequence[MetadataField]], Sequence[Standing]]


class SqlInstances:
    """An `InstanceDatabase`; share an instance between threads, not between processes."""

    def __init__(
        self, engine: Engine, *, work: Callable[[Connection], InstanceWork], count: Count, batches_at_once: int
    ) -> None:
        self._engine = engine
        self._reading = engine.execution_options(only_reads=True)
        self._work = work
        self._count = count
        self._batches_at_once = batches_at_once

    @property
    def batches_at_once(self) -> int:
        """See `InstanceDatabase.batches_at_once`."""
        return self._batches_at_once

    def spans(self, model: str, months: Sequence[Window]) -> Sequence[Span]:
        """See `InstanceDatabase.spans`."""
        if not months:
            return []
        with self._connected() as connection:
            found = {row[0]: row[1:] for row in connection.execute(spans(model, months))}
        return [_span(model, month, *found.get(number, (0, 1, 0))) for number, month in enumerate(months)]

    def cut(self, part: Part, limit: int) -> Span | None:
        """See `InstanceDatabase.cut`."""
        with self._connected() as connection:
            last, instances = connection.execute(last_of_the_first(part, limit)).one()
        return Span(part=replace(part, upto=last), instances=instances) if instances else None

    @contextmanager
    def begin(self) -> Iterator[InstanceWork]:
        """See `InstanceDatabase.begin`."""
        with told(self._engine.url), self._engine.begin() as connection:
            yield self._work(connection)

    def standings(self, part: Part, fields: Sequence[MetadataField]) -> Sequence[Standing]:
        """See `InstanceDatabase.standings`."""
        standings = [Standing()] * len(fields)
        while (cut := self.cut(part, max(1, VALUES_AT_ONCE // len(fields)))) is not None:
            with self._connected() as connection:
                found = self._count(connection, cut.part, fields)
            standings = [one + other for one, other in zip(standings, found, strict=True)]
            part = replace(part, after=cut.part.upto)
        return standings

    def check(self) -> None:
        """See `InstanceDatabase.check`."""
        with self._connected() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        """See `InstanceDatabase.close`."""
        self._engine.dispose()

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        with told(self._engine.url), self._reading.connect() as connection:
            yield connection


def _span(model: str, month: Window, instances: int, first: int, last: int) -> Span:
    return Span(part=Part(model=model, month=month, after=first - 1, upto=last), instances=instances)
