"""Five times the instances take about five times as long."""

import pytest

from backfill_assets_tests.benchmarks.metadata import installation, run

FEW, MANY = 200_000, 1_000_000
AT_MOST = 5.5


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_a_million_instances_take_little_more_than_five_times_as_long_as_a_fifth_of_them() -> None:
    seconds = {}
    for instances in (FEW, MANY):
        with installation(instances) as url:
            seconds[instances] = run(url)["seconds"]
    assert seconds[MANY] <= AT_MOST * seconds[FEW]
