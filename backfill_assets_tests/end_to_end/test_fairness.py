"""The proof that a tenant with a hundred times the backlog keeps the others waiting no longer than without it.

On a real stack with the limits of `dagster.yaml` as they are, and a service that takes 200 ms for each answer.
It shows the slots, the queue and the pace. It does not show processors that are all taken: the daemon launches runs one
by one, each costs seconds of a processor, and those of the big one are among them. `test_run_coordinator.py` has a
sample, of the queue alone.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from statistics import median

import pytest
from dagster import RunsFilter
from dagster._core.storage.tags import BACKFILL_ID_TAG

from backfill_assets import following
from backfill_assets.cli.instance import asset_graph
from backfill_assets.launching import Launched, cancel
from backfill_assets.resources import open_wiring
from backfill_assets.settings import load_settings
from backfill_assets.tenant_history.onboarding import launch_history, per_run
from backfill_assets.tenant_history.plan import plan_history
from backfill_assets_tests.end_to_end.conftest import started
from backfill_assets_tests.end_to_end.running import Running, until

pytestmark = [pytest.mark.proof, pytest.mark.timeout(1500)]

LATENCY = {"kind": "latency", "seconds": 0.2}
SERVICE = {"chunks_per_run": 2, "page_size": 1}
"""Runs of 8 weeks, with a request for each record: waiting for the service is what takes the time."""

BIG, SMALL = "acme", ("globex", "initech")
LONG, SHORT = ("2023-01-01", "2026-11-01"), ("2026-01-04", "2026-01-18")
WEEKS, TIMES = 2, 100
"""The weeks of the short one, and how many times as many the long one has."""

ROUNDS = 2
MOST = 1.2


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A stack as it is in earnest, whose tenants have been onboarded."""
    with started(tmp_path_factory.mktemp("whole"), SERVICE) as running:
        for backfill in until("the onboarding", lambda: _onboarding(running)):
            running.ended(backfill.backfill_id)
        running.fault(**LATENCY)
        yield running


def test_a_hundred_times_the_backlog_of_one_tenant_delays_the_others_by_a_fifth_at_most(whole: Running) -> None:
    seconds_of_small(whole)  # what is written for the first time takes a little longer
    alone = [seconds for _ in range(ROUNDS) for seconds in seconds_of_small(whole)]
    big = launch(whole, BIG, LONG)
    beside = [seconds for _ in range(2 * ROUNDS) for seconds in seconds_of_small(whole)]
    assert not following.has_ended(following.find(whole.instance, big.backfill_id))
    cancel(whole.instance, big.backfill_id)
    # Before and after, since a machine that has other things to do becomes faster and slower.
    alone += [seconds for _ in range(ROUNDS) for seconds in seconds_of_small(whole)]
    told = f"alone {_told(alone)}, beside the big one {_told(beside)}"
    print(told)
    assert median(beside) <= MOST * median(alone), told


def seconds_of_small(running: Running) -> list[float]:
    """Launch the small backfills at once; return how long each takes from its launch to the end of its run."""
    launched = [launch(running, tenant, SHORT) for tenant in SMALL]
    return [_seconds(running, running.ended(one.backfill_id)) for one in launched]


def launch(running: Running, tenant: str, dates: tuple[str, str]) -> Launched:
    """Launch a tenant's history between these dates."""
    with open_wiring(load_settings(running.environment)) as wiring:
        service = wiring.tenant_service(tenant, "connectwise")
        start, end = (datetime.fromisoformat(day).replace(tzinfo=UTC) for day in dates)
        plan = plan_history(
            service.spec, wiring.clock(), windows_per_run=per_run(wiring, service), start=start, end=end
        )
        assert len(plan.windows) == (TIMES if dates == LONG else 1) * WEEKS
        asked = {"reason": "a proof", "requested_by": "a test"}
        return launch_history(wiring, running.instance, asset_graph(), service, plan, **asked)


def _onboarding(running: Running) -> Sequence[following.Backfill]:
    found = following.backfills(running.instance, {})
    return found if len(found) > len(SMALL) else []


def _seconds(running: Running, backfill: following.Backfill) -> float:
    assert following.has_succeeded(backfill)
    records = running.instance.get_run_records(RunsFilter(tags={BACKFILL_ID_TAG: backfill.backfill_id}))
    return max(record.end_time or 0 for record in records) - backfill.backfill_timestamp


def _told(seconds: list[float]) -> str:
    return " ".join(f"{one:.1f}" for one in seconds)
