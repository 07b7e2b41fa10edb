"""`make bench`: what is asked of the speed, beside what is measured, each ratio within this one run."""

import sys
from collections.abc import Callable

from rich.console import Console
from rich.table import Table

from backfill_assets_tests.benchmarks import ai, canonical, detection, memory, metadata, reading, work_orders
from backfill_assets_tests.benchmarks.measured import Measured

BENCHMARKS: tuple[Callable[[], list[Measured]], ...] = (
    reading.measure,
    memory.measure,
    detection.measure,
    canonical.measure,
    metadata.measure,
    work_orders.measure,
    ai.measure,
)


def main() -> int:
    """Run all benchmarks; 1 when one falls short of what is asked."""
    measured = [found for measure in BENCHMARKS for found in measure()]
    table = Table("what", "asked", "measured", "")
    for found in measured:
        table.add_row(found.what, found.asked, found.told, "yes" if found.holds else "NO")
    Console(width=140).print(table)
    return 0 if all(found.holds for found in measured) else 1


if __name__ == "__main__":
    sys.exit(main())
