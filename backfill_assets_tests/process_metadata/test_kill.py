"""A backfill that is killed at any step and run again leaves exactly the rows that it owes."""

from datetime import timedelta
from random import Random

import pytest

from backfill_assets.sandbox.spiffworkflow.truth import expected
from backfill_assets_tests.killing import run_and_kill
from backfill_assets_tests.process_metadata.filling import NOW, Filling
from backfill_assets_tests.process_metadata.killable import FIELDS, INSTALLATION, MONTHS
from backfill_assets_tests.process_metadata.products import InSql

pytestmark = pytest.mark.timeout(60)

SEEDS = 20
STEPS = 76
"""A little fewer than the steps of a whole backfill, so that every kill falls into one."""


def owed() -> dict[tuple[int, str], str]:
    """The rows of the months that are filled."""
    moments = {one.id: one.created_at for one in INSTALLATION.instances}
    start, end = MONTHS[0].start.timestamp(), MONTHS[-1].end.timestamp()
    return {
        place: text for place, text in expected(INSTALLATION, FIELDS).items() if start <= (moments[place[0]] or 0) < end
    }


def kill_and_run_again(product: InSql, *, at: int) -> None:
    product.load(INSTALLATION)
    run_and_kill("process_metadata.killable", product.url, at=at)
    half = product.rows()
    with product.open() as database:
        filling = Filling(database=database, now=NOW + timedelta(days=1))
        filling.fill(FIELDS, MONTHS)
    rows = product.rows()
    assert {place: row.value for place, row in rows.items()} == owed()
    # What was committed before the kill was not written a second time.
    assert half.items() <= rows.items()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_killed_backfill_that_runs_again_leaves_exactly_the_rows_it_owes(on_postgres: InSql, seed: int) -> None:
    kill_and_run_again(on_postgres, at=seed * STEPS // SEEDS + Random(seed).randint(1, STEPS // SEEDS))


@pytest.mark.proof
@pytest.mark.parametrize("at", range(1, STEPS + 1))
def test_no_step_at_which_a_backfill_is_killed_makes_a_difference(real_product: InSql, at: int) -> None:
    kill_and_run_again(real_product, at=at)


def test_only_some_months_were_owed() -> None:
    assert 0 < len(owed()) < len(expected(INSTALLATION, FIELDS))
