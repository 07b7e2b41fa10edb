"""A copy that is killed at any step and run again loses no row and doubles none."""

from random import Random

import pytest

from backfill_assets_tests.adapters.tables.ends import Ends
from backfill_assets_tests.killing import run_and_kill

pytestmark = pytest.mark.timeout(60)

SAMPLE, SEEDS = 4, 30
STEPS = 45
"""A little fewer than the steps of a whole copy, so that every kill falls into one."""


def kill_and_run_again(ends: Ends, *, seed: int, seeds: int) -> None:
    ends.at_source("CREATE TABLE t (a int, b text, v int, PRIMARY KEY (a, b))")
    ends.at_source("INSERT INTO t SELECT n / 10, 'k''' || n, n FROM generate_series(1, 300) n")
    at = seed * STEPS // seeds + Random(seed).randint(1, max(1, STEPS // seeds))
    steps = run_and_kill("adapters.tables.killable", ends.source, ends.destination, at=at)
    committed = max((int(step.split()[1]) for step in steps if step.startswith("committed")), default=0)
    positions, verdict = ends.copy(ends.load(create_table=True))
    assert verdict.complete
    assert ends.same()
    # What was committed was not copied again: at most the commit that was not told of lies between.
    written = (positions[-1].rows - positions[0].rows + 50) if positions else 0
    assert written <= 300 - committed


@pytest.mark.parametrize("seed", range(SAMPLE))
def test_a_killed_copy_that_runs_again_leaves_exactly_the_rows(ends: Ends, seed: int) -> None:
    kill_and_run_again(ends, seed=seed, seeds=SAMPLE)


@pytest.mark.proof
@pytest.mark.parametrize("seed", range(SEEDS))
def test_no_step_at_which_a_copy_is_killed_makes_a_difference(ends: Ends, seed: int) -> None:
    kill_and_run_again(ends, seed=seed, seeds=SEEDS)
