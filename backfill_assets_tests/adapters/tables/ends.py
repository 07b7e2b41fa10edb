"""Two PostgreSQL databases to copy between, and what a test says of them.

Here belong the shop that tests fill and read; what holds of a copy belongs to the tests.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from sqlalchemy import make_url

from backfill_assets.adapters.tables.postgres_destination import PostgresDestination
from backfill_assets.adapters.tables.postgres_source import PostgresTables
from backfill_assets.core.tables import Load, Position, Verdict


def conninfo(url: str) -> str:
    """What psycopg connects with, of a SQLAlchemy URL."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


@dataclass(frozen=True, kw_only=True)
class Ends:
    """A source and a destination."""

    source: str
    destination: str

    def at_source(self, statement: str) -> list[tuple[Any, ...]]:
        """Run it there; return its rows, if it has any."""
        return run(self.source, statement)

    def at_destination(self, statement: str) -> list[tuple[Any, ...]]:
        """Run it there; return its rows, if it has any."""
        return run(self.destination, statement)

    def at_both(self, statement: str) -> None:
        """Run it at both ends."""
        self.at_source(statement)
        self.at_destination(statement)

    @contextmanager
    def reading(self) -> Iterator[PostgresTables]:
        """The source."""
        with closing(PostgresTables(self.source)) as source:
            yield source

    @contextmanager
    def writing(self) -> Iterator[PostgresDestination]:
        """The destination."""
        with closing(PostgresDestination(self.destination)) as destination:
            yield destination

    def load(self, table: str = "t", **options: Any) -> Load:
        """A job that copies a table to one of the same name."""
        with self.reading() as source:
            shape = source.shape(table)
        assert shape is not None
        defaults: dict[str, Any] = {"job": "job", "target": table, "batch_rows": 50}
        return Load(shape=shape, **{**defaults, **options})

    def copy(self, load: Load) -> tuple[list[Position], Verdict]:
        """Prepare, copy and verify."""
        with self.reading() as source, self.writing() as destination:
            destination.prepare(load)
            return list(destination.copy(load, source)), destination.verify(load, source)

    def same(self, table: str = "t") -> bool:
        """Whether both tables hold the same rows."""
        rows = f"SELECT md5(t::text) FROM {table} AS t ORDER BY 1"
        return self.at_source(rows) == self.at_destination(rows)


def run(conninfo: str, statement: str) -> list[tuple[Any, ...]]:
    """Run a statement in a connection of its own."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []
