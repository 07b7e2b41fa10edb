"""How much CPU it takes to scrub a work order, with names and by patterns only."""

import time

from backfill_assets.adapters.pii.analysis import scrub
from backfill_assets_tests.benchmarks.measured import Measured
from backfill_assets_tests.work_orders.pii.labelled import HALVES, lines

CORES = 2
ROUNDS = 5


def measure() -> list[Measured]:
    """Records an hour on two cores, were there nothing else to do; each mode in this process, by its CPU time."""
    texts = [f"{line.text} ({number})" for number in range(ROUNDS) for half in HALVES for line in lines(half)]
    return [_mode(texts, names=True, least=200_000), _mode(texts, names=False, least=400_000)]


def _mode(texts: list[str], *, names: bool, least: int) -> Measured:
    scrub(texts[:1], names=names)  # loads the model
    began = time.process_time()
    scrub(texts, names=names)
    seconds = (time.process_time() - began) / len(texts)
    hourly = CORES * 3600 / seconds
    return Measured(
        what=f"scrubbing {'with names' if names else 'by patterns only'}, {CORES} cores",
        asked=f"over {least:,} records/h",
        told=f"{hourly:,.0f} records/h, {seconds * 1000:.1f} ms of CPU each",
        holds=hourly >= least,
    )
