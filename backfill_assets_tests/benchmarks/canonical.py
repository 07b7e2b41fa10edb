"""How fast a canonical table is made anew, beside the same SQL in DuckDB alone, and in how much memory."""

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from backfill_assets.adapters.lake.canonical import FILE, ROW
from backfill_assets.adapters.lake.engine import MODEST
from backfill_assets.adapters.lake.folder import Folder
from backfill_assets.adapters.lake.raw import RawLake
from backfill_assets.adapters.rest.connectwise_tables import CONNECTWISE, TICKETS
from backfill_assets.core.source import ColumnType
from backfill_assets.tenant_history.canonical.building import CanonicalBuild
from backfill_assets.tenant_history.canonical.mapping import CanonicalTable, canonical_tables
from backfill_assets.tenant_history.canonical.statement import SourceView, quoted, statement
from backfill_assets.tenant_history.reading import raw_table
from backfill_assets_tests.benchmarks.measured import Measured
from backfill_assets_tests.benchmarks.worlds import SINCE

FEW, MANY = 500_000, 5_000_000
DAYS = 730
VERSIONS_OF_A_RECORD = 5
TENANT = "acme"
THREADS = 2

SHARE = 0.8
MEGABYTES = 2000
TIMES = 11
"""How much longer ten times the versions may take."""

RAW = raw_table(TENANT, CONNECTWISE.name, TICKETS)

VALUES: Mapping[ColumnType, str] = {
    ColumnType.INTEGER: "({hash} % 500)::BIGINT",
    ColumnType.NUMBER: "({hash} % 400) / 4.0",
    ColumnType.BOOLEAN: "({hash} % 2) = 0",
    ColumnType.TIMESTAMP: "TIMESTAMPTZ '2024-01-01' + to_seconds(({hash} % 60000000)::BIGINT)",
    ColumnType.STRING: "'{name} ' || ({hash} % 300)",
}
OTHERS = {
    "id": "id",
    "_info__lastUpdated": "$day::TIMESTAMPTZ + to_microseconds(n * 86400000000 // $size)",
    "summary": "'Printer ' || hash(id, v) % 100000 || ' does not print after the update of ' || hash(id) % 5000",
    "customFields": "'[{{\"id\": 1, \"value\": ' || hash(id) % 50 || '}}]'",
    "_backfill_job_id": "'a backfill'",
}
"""35 columns in all, with the declared ones."""


def measure() -> list[Measured]:
    """Ours and DuckDB alone over many versions, and ours over few."""
    with TemporaryDirectory() as home:
        few, many = Path(home) / "few", Path(home) / "many"
        make(few, FEW)
        make(many, MANY)
        small, bare, ours = _run("ours", few), _run("bare", many), _run("ours", many)
        unbounded = _run("unbounded", many)
    share, times = bare["seconds"] / ours["seconds"], ours["seconds"] / small["seconds"]
    return [
        Measured(
            what=f"canonical table of {MANY:,} versions x 35 columns, beside its SQL in DuckDB alone, equally bounded",
            asked=f"at least {SHARE:.0%} of the speed",
            told=f"{share:.0%} ({ours['seconds']:.0f} s, {bare['seconds']:.0f} s alone; without any bound "
            f"{unbounded['seconds']:.0f} s in {unbounded['peak']:.0f} MB)",
            holds=share >= SHARE,
        ),
        Measured(
            what="its peak memory",
            asked=f"under {MEGABYTES} MB",
            told=f"{ours['peak']:.0f} MB",
            holds=ours["peak"] < MEGABYTES,
        ),
        Measured(
            what=f"its time, beside that of {FEW:,} versions",
            asked=f"at most {TIMES} times",
            told=f"{times:.1f} times {small['seconds']:.1f} s",
            holds=times <= TIMES,
        ),
    ]


def make(root: Path, versions: int) -> None:
    """A lake with so many versions of tickets, spread evenly over the days."""
    folder = root / RAW.folder
    folder.mkdir(parents=True)
    size, records = versions // DAYS, versions // VERSIONS_OF_A_RECORD
    columns = {name: VALUES[kind] for name, kind in TICKETS.columns.items()} | OTHERS
    told = ", ".join(
        f"{value.format(hash=f'hash(id, {number}, v)', name=name)} AS {quoted(name)}"
        for number, (name, value) in enumerate(columns.items())
    )
    # Of ten versions one says what the one before says.
    numbered = "SELECT n, ($first + n) % $records AS id, ($first + n) // $records AS number FROM range($size) AS _(n)"
    counted = f"SELECT n, id, number - (hash(id, number) % 10 = 0)::INT AS v FROM ({numbered})"
    with duckdb.connect(config={"threads": THREADS}) as duck:
        duck.execute("SET TimeZone = 'UTC'")
        for day in range(DAYS):
            begins = SINCE + timedelta(days=day)
            values = {"day": begins, "first": day * size, "records": records, "size": size}
            target = root / RAW.file(begins.date())
            duck.execute(f"COPY (SELECT {told} FROM ({counted})) TO '{target}' (COMPRESSION zstd)", values)


def _run(kind: str, root: Path) -> Mapping[str, float]:
    """Seconds and the peak in megabytes, of a process of its own."""
    command = [sys.executable, "-m", "backfill_assets_tests.benchmarks.canonical", kind, str(root)]
    found: Mapping[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def _tickets() -> CanonicalTable:
    return next(table for table in canonical_tables(CONNECTWISE) if table.entity == "tickets")


def _ours(root: Path) -> None:
    lake = RawLake(Folder(root), lock=lambda _name: nullcontext())
    CanonicalBuild(tenant=TENANT, service=CONNECTWISE.name, table=_tickets(), lake=lake).build()


def _bare(root: Path, memory: Mapping[str, str]) -> None:
    table = _tickets()
    with duckdb.connect(config={"threads": THREADS, "temp_directory": str(root / "spill"), **memory}) as duck:
        duck.execute("SET TimeZone = 'UTC'")
        scan = f"read_parquet('{root / RAW.folder}/*.parquet', union_by_name = true)"
        duck.execute(f"CREATE VIEW source_0 AS SELECT *, {FILE}, {ROW} FROM {scan}")
        columns = [column for column, *_ in duck.execute(f"DESCRIBE SELECT * FROM {scan}").fetchall()]
        view = SourceView(number=0, source=table.sources[0], raw=RAW, columns=columns)
        select = statement(table, tenant=TENANT, views=[view])
        duck.execute(f"COPY ({select}) TO '{root / 'bare.parquet'}' (FORMAT parquet, COMPRESSION zstd)")


def _main(kind: str, root: Path) -> None:
    begun = time.monotonic()
    match kind:
        case "ours":
            _ours(root)
        case "bare":
            _bare(root, {"memory_limit": f"{MODEST.memory_mb}MB"})
        case _:
            _bare(root, {})
    seconds = time.monotonic() - begun
    # Not getrusage: its peak is the parent's where that was larger at the start of this process.
    [peak] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    print(json.dumps({"seconds": seconds, "cpu": time.process_time(), "peak": int(peak.split()[1]) / 1024}))


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]))
