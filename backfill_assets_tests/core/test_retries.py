"""How long the pauses are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfill_assets.core.retries import RetryPolicy

FRACTIONS = st.floats(min_value=0, max_value=1, exclude_max=True)
SECONDS = st.floats(min_value=0.001, max_value=1000)


@given(fraction=FRACTIONS, base=SECONDS, cap=SECONDS, failures=st.integers(min_value=1, max_value=100_000))
def test_a_delay_is_full_jitter_over_a_doubling_span_with_a_cap(
    fraction: float, base: float, cap: float, failures: int
) -> None:
    policy = RetryPolicy(base=base, cap=cap)
    span = cap if failures > 60 else min(cap, base * 2 ** (failures - 1))
    delay = policy.delay(failures, lambda: fraction)
    assert delay == pytest.approx(fraction * span)
    assert 0 <= delay <= cap


@given(failures=st.integers(min_value=1, max_value=100), low=FRACTIONS, high=FRACTIONS)
def test_chance_alone_decides_where_in_the_span_a_delay_falls(failures: int, low: float, high: float) -> None:
    policy = RetryPolicy()
    low, high = sorted((low, high))
    assert policy.delay(failures, lambda: low) <= policy.delay(failures, lambda: high)
    assert policy.delay(failures, lambda: 0) == 0


@given(retry_after=st.floats(min_value=0, max_value=3600), fraction=FRACTIONS)
def test_a_wait_is_never_shorter_than_asked_and_hardly_longer(retry_after: float, fraction: float) -> None:
    wait = RetryPolicy().wait(retry_after, lambda: fraction)
    assert max(1, retry_after) <= wait <= max(1, retry_after) + 1


def test_four_tries_are_one_and_three_more() -> None:
    assert [RetryPolicy().may_try_again(failures) for failures in (1, 2, 3, 4)] == [True, True, True, False]
