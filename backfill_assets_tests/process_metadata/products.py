"""Databases of the product for tests: each kind filled, opened for a backfill, and looked at.

Here belongs what differs between the kinds when a test arranges and checks.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine, NullPool, create_engine, func, inspect, select

from backfill_assets.adapters.spiffworkflow.memory import Installation, MemoryInstances, MetadataRow
from backfill_assets.adapters.spiffworkflow.opening import open_instances
from backfill_assets.core.instances import InstanceDatabase
from backfill_assets.sandbox.spiffworkflow.loading import load, stored_rows
from backfill_assets.sandbox.spiffworkflow.schema import DOCUMENTS, INSTANCES, ROWS, TASKS, create

Rows = Mapping[tuple[int, str], MetadataRow]

SQL_KINDS = ("sqlite", "postgres", pytest.param("mariadb", marks=pytest.mark.mariadb))
KINDS = ("memory", *SQL_KINDS)


class InMemory:
    """The twin."""

    def __init__(self) -> None:
        self.installation = Installation()

    def load(self, installation: Installation) -> None:
        """Hold all of this."""
        self.installation = installation

    @contextmanager
    def open(self) -> Iterator[InstanceDatabase]:
        """Open it as a backfill does."""
        yield MemoryInstances(self.installation)

    def rows(self) -> Rows:
        """The metadata rows that it holds."""
        return dict(self.installation.rows)


@dataclass(frozen=True, kw_only=True)
class InSql:
    """A real one."""

    url: str

    @property
    def engine(self) -> Engine:
        """What the product itself connects with, so to speak."""
        return create_engine(self.url, poolclass=NullPool)

    def load(self, installation: Installation) -> None:
        """Hold all of this."""
        create(self.engine)
        load(self.engine, installation)

    @contextmanager
    def open(self) -> Iterator[InstanceDatabase]:
        """Open it as a backfill does."""
        with open_instances(self.url) as database:
            yield database

    def rows(self) -> Rows:
        """The metadata rows that it holds."""
        return stored_rows(self.engine)

    def highest_id(self) -> int:
        """The last id that a metadata row was given."""
        with self.engine.connect() as connection:
            return int(connection.execute(select(func.max(ROWS.c.id))).scalar_one())

    def everything_else(self) -> Mapping[str, list[tuple[object, ...]]]:
        """The tables and indexes that there are, and all rows but those of metadata."""
        with self.engine.connect() as connection:
            names = inspect(connection).get_table_names()
            indexes = {f"indexes of {name}": [(str(inspect(connection).get_indexes(name)),)] for name in names}
            tables = [INSTANCES, DOCUMENTS, TASKS]
            return indexes | {
                table.name: [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key))]
                for table in tables
            }

    def execute(self, statement: str) -> None:
        """Change something as the product would."""
        with self.engine.begin() as connection:
            connection.exec_driver_sql(statement)


def url_of(kind: str, request: pytest.FixtureRequest, folder: Path) -> str:
    """The URL of an empty database of this kind."""
    match kind:
        case "sqlite":
            return f"sqlite:///{folder / 'product.sqlite3'}"
        case "postgres":
            return str(request.getfixturevalue("database_url"))
        case _:
            return str(request.getfixturevalue("mariadb_url"))


Product = InMemory | InSql
