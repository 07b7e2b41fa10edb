"""How fast rows of a table get from PostgreSQL to PostgreSQL, beside a pipe that promises nothing, and how much memory.

The comparison of both ends after a copy is measured by itself: the pipe has none.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
from sqlalchemy import make_url

from backfill_assets.adapters.tables.postgres_destination import PostgresDestination
from backfill_assets.adapters.tables.postgres_source import PostgresTables
from backfill_assets.core.tables import Load
from backfill_assets.sandbox.postgres import EmbeddedPostgres
from backfill_assets_tests.benchmarks.measured import Measured

ROWS, PAGED_ROWS = 500_000, 50_000
TIMES = 5
SHARE_OF_THE_PIPE = 0.48
TIMES_THE_PAGES = 8
MEGABYTES = 300

TABLE = """
    CREATE TABLE {name} (
        id bigint PRIMARY KEY, customer int NOT NULL, name text, email varchar(80), amount numeric(12,2), ratio float8,
        active boolean, created timestamptz, day date, tag uuid, notes text, version int
    )
"""
FILL = """
    INSERT INTO shop SELECT n, n % 9973, 'name ' || n, n || '@example.com', n / 7.0, n / 3.0, n % 3 = 0,
        timestamptz '2024-01-01' + n * interval '1 second', date '2024-01-01' + n % 700, md5(n::text)::uuid,
        repeat('note ', n % 9), n % 5 FROM generate_series(1, {rows}) n
"""


@contextmanager
def ends(rows: int) -> Iterator[tuple[str, str]]:
    """A source with so many rows of 12 columns, and a destination with an empty table; gives how to connect."""
    with TemporaryDirectory() as home:
        postgres = EmbeddedPostgres(Path(home) / "postgres", durable=False)
        try:
            postgres.start()
            places = []
            for name in ("source", "destination"):
                postgres.create_database(name)
                url = make_url(postgres.url(name)).set(drivername="postgresql")
                places.append(url.render_as_string(hide_password=False))
                _run(places[-1], TABLE.format(name="shop"))
            _run(places[0], FILL.format(rows=rows))
            _run(places[0], "VACUUM ANALYZE shop")
            yield places[0], places[1]
        finally:
            postgres.remove()


def measure() -> list[Measured]:
    """The speed beside that of a pipe and of pages by OFFSET, and the memory."""
    with ends(ROWS) as (source, destination):
        pipes, copies, verifications, peaks = [], [], [], []
        for _ in range(TIMES):
            _run(destination, "TRUNCATE shop")
            pipes.append(_pipe(source, destination))
            _run(destination, "TRUNCATE shop")
            found = run(source, destination)
            copies.append(found["seconds"])
            verifications.append(found["verifying"])
            peaks.append(found["megabytes"])
        _run(destination, "TRUNCATE shop")
        pages = PAGED_ROWS / _pages(source, destination, PAGED_ROWS)
    speed, pipe = ROWS / statistics.median(copies), ROWS / statistics.median(pipes)
    return [
        Measured(
            what=f"{ROWS:,} rows x 12 columns, PostgreSQL to PostgreSQL, beside a bare COPY pipe",
            asked=f"at least {SHARE_OF_THE_PIPE:.0%}",
            told=f"{speed / pipe:.0%} of {pipe:,.0f} rows/s",
            holds=speed >= SHARE_OF_THE_PIPE * pipe,
        ),
        Measured(
            what=f"the same, beside OFFSET pages, delete and executemany (over {PAGED_ROWS:,} of them)",
            asked=f"at least {TIMES_THE_PAGES} times",
            told=f"{speed / pages:.1f} times {pages:,.0f} rows/s",
            holds=speed >= TIMES_THE_PAGES * pages,
        ),
        Measured(
            what="comparing both ends afterwards",
            asked="told apart",
            told=f"{ROWS / statistics.median(verifications):,.0f} rows/s",
            holds=True,
        ),
        Measured(
            what="its peak memory",
            asked=f"under {MEGABYTES} MB",
            told=f"{max(peaks):.0f} MB",
            holds=max(peaks) < MEGABYTES,
        ),
    ]


def run(source: str, destination: str) -> dict[str, float]:
    """`seconds`, `verifying` and peak `megabytes` of a copy in a process of its own: a peak never goes down again."""
    command = [sys.executable, "-m", "backfill_assets_tests.benchmarks.tables", source, destination]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def _pipe(source: str, destination: str) -> float:
    began = time.perf_counter()
    with psycopg.connect(source) as reading, psycopg.connect(destination) as writing:
        with (
            reading.cursor().copy("COPY shop TO STDOUT (FORMAT binary)") as out,
            writing.cursor().copy("COPY shop FROM STDIN (FORMAT binary)") as into,
        ):
            for message in out:
                into.write(message)
        writing.commit()
    return time.perf_counter() - began


def _pages(source: str, destination: str, rows: int, page: int = 10_000) -> float:
    began = time.perf_counter()
    with psycopg.connect(source) as reading, psycopg.connect(destination) as writing:
        for offset in range(0, rows, page):
            found = reading.execute("SELECT * FROM shop ORDER BY id LIMIT %s OFFSET %s", (page, offset)).fetchall()
            with writing.cursor() as cursor:
                cursor.execute("DELETE FROM shop WHERE id = ANY(%s)", ([row[0] for row in found],))
                cursor.executemany(f"INSERT INTO shop VALUES ({', '.join(['%s'] * 12)})".encode(), found)
            writing.commit()
    return time.perf_counter() - began


def _run(conninfo: str, statement: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(statement.encode())


def _copy(source_at: str, destination_at: str) -> None:
    with closing(PostgresTables(source_at)) as source, closing(PostgresDestination(destination_at)) as destination:
        shape = source.shape("shop")
        if shape is None:
            raise RuntimeError("there is no table")
        load = Load(job=str(time.time_ns()), shape=shape, target="shop")
        began = time.perf_counter()
        destination.prepare(load)
        for _ in destination.copy(load, source):
            pass
        copied = time.perf_counter()
        if not destination.verify(load, source).complete:
            raise RuntimeError("the copy came out short")
        verifying = time.perf_counter() - copied
    # Not getrusage: its peak is the parent's where that was larger at the start of this process.
    [peak] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    print(json.dumps({"seconds": copied - began, "verifying": verifying, "megabytes": int(peak.split()[1]) / 1024}))


if __name__ == "__main__":
    _copy(sys.argv[1], sys.argv[2])
