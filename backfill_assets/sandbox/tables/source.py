"""A shop's database: what a pipeline of the platform reads, made from a seed and changed while it is read.

Here belong the table, its first rows and who changes them. The platform's own tables belong to `platform.py`.
"""

import threading
from random import Random
from typing import Any, Self

from sqlalchemy import Connection, Engine, NullPool, create_engine, text

ORDERS = "orders"
AT_ONCE = 5_000
MOST_WAIT = 0.2
"""Seconds between two changes, at most."""

MAKE = """
CREATE TABLE orders(
    id BIGINT PRIMARY KEY,
    region TEXT NOT NULL,
    customer TEXT,
    zip VARCHAR(10),
    amount NUMERIC(12, 2) NOT NULL,
    discount DOUBLE PRECISION,
    is_open BOOLEAN NOT NULL,
    ordered_on DATE NOT NULL,
    details JSONB NOT NULL,
    tags TEXT[] NOT NULL,
    version BIGINT NOT NULL,
    changed_at TIMESTAMPTZ NOT NULL
)
"""
FILL = text("""
INSERT INTO orders
SELECT number,
    (ARRAY['eu', 'us', 'asia'])[1 + (number + :seed) % 3],
    CASE WHEN number % 11 = 0 THEN NULL WHEN number % 7 = 0 THEN 'O''Brien ' || number ELSE 'customer ' || number END,
    lpad((number % 100000)::text, 5, '0'),
    round((number % 10007) * 1.37, 2),
    CASE WHEN number % 5 = 0 THEN NULL ELSE (number % 100) / 7.0 END,
    number % 2 = 0,
    DATE '2023-01-01' + (number % 700)::int,
    jsonb_build_object('items', number % 9, 'note', 'n ' || number),
    ARRAY['t' || number % 3, 'u' || number % 4],
    1,
    TIMESTAMPTZ '2024-01-01 00:00:00Z' + number * INTERVAL '61 seconds'
FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) AS number
""")
CHANGE = text("""
UPDATE orders SET amount = amount + 1, version = version + 1, changed_at = clock_timestamp() WHERE id = :id
""")
DELETE = text("DELETE FROM orders WHERE id = :id")


def make_source(url: str, *, rows: int, seed: int = 1) -> None:
    """Make the table in this database, with so many rows."""
    engine = _engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql(MAKE)
        _fill(connection, 1, rows, seed)


def _fill(connection: Connection, first: int, last: int, seed: int) -> None:
    for start in range(first, last + 1, AT_ONCE):
        connection.execute(FILL, {"first": start, "last": min(start + AT_ONCE - 1, last), "seed": seed})


def _engine(url: str) -> Engine:
    return create_engine(url, poolclass=NullPool)


class LiveWriter:
    """Changes, adds and removes orders until it is stopped; `changes` says how many times it did."""

    def __init__(self, url: str, *, rows: int, seed: int = 1) -> None:
        self._engine = _engine(url)
        self._random = Random(seed)
        self._last = rows
        self._seed = seed
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write, name="shop's writer", daemon=True)
        self.changes = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Finish the change that is under way, and make no other."""
        self._stop.set()
        self._thread.join()

    def _write(self) -> None:
        with self._engine.connect() as connection:
            while not self._stop.wait(self._random.random() * MOST_WAIT):
                with connection.begin():
                    self._change(connection)
                self.changes += 1

    def _change(self, connection: Connection) -> None:
        chosen: dict[str, Any] = {"id": self._random.randint(1, self._last)}
        dice = self._random.random()
        if dice < 0.1:
            connection.execute(DELETE, chosen)
        elif dice < 0.3:
            self._last += 1
            _fill(connection, self._last, self._last, self._seed)
        else:
            connection.execute(CHANGE, chosen)
