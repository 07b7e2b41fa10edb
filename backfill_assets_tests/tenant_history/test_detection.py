"""Every rule of detection, and which of them goes first."""

from datetime import timedelta
from typing import Any

import pytest

from backfill_assets.tenant_history.detection import Facts, History, Verdict, judge

DAYS = timedelta(days=1)
ALL_AT_ONCE = {
    "is_enabled": False,
    "missing": ("BACKFILL_ACME_DESK_KEY",),
    "history": History.ACTIVE,
    "was_off": True,
    "oldest_data_age": 1 * DAYS,
}


@pytest.mark.parametrize(
    ("facts", "verdict", "reason"),
    [
        # The first rule that fits wins: each case takes the one before away.
        (ALL_AT_ONCE, Verdict.OFF, "switched off in the tenants file"),
        ({**ALL_AT_ONCE, "is_enabled": True}, Verdict.NOT_CONFIGURED, "not set: BACKFILL_ACME_DESK_KEY"),
        ({"missing": ("A", "B")}, Verdict.NOT_CONFIGURED, "not set: A, B"),
        ({"history": History.ACTIVE, "was_off": True}, Verdict.RUNNING, "its backfill is under way"),
        ({"history": History.COMPLETED, "was_off": True}, Verdict.BACKFILL, "switched on again after being off"),
        ({"history": History.STOPPED, "was_off": True}, Verdict.BACKFILL, "switched on again after being off"),
        ({"was_off": True, "oldest_data_age": 99 * DAYS}, Verdict.BACKFILL, "switched on again after being off"),
        ({"history": History.COMPLETED}, Verdict.COMPLETED, "a backfill of its history has completed"),
        (
            {"history": History.STOPPED, "stopped_id": "abcdefgh", "oldest_data_age": 1 * DAYS},
            Verdict.STOPPED,
            "its backfill ended before all was done; `backfill resume abcdefgh` goes on",
        ),
        (
            {"history": History.PAUSED, "opens": "22:00 UTC", "was_off": True},
            Verdict.PAUSED,
            "its backfill is paused until 22:00 UTC, and goes on by itself",
        ),
        ({"history": History.PAUSED}, Verdict.PAUSED, "its backfill is paused and goes on within a minute"),
        ({"history": History.ACTIVE, "opens": "22:00 UTC"}, Verdict.RUNNING, "its backfill is under way"),
        (
            {"was_off": True, "opens": "22:00 UTC"},
            Verdict.WAITING,
            "switched on again after being off; it is launched at 22:00 UTC, when its backfill hours begin",
        ),
        (
            {"opens": "22:00 UTC", "oldest_data_age": 99 * DAYS},
            Verdict.ESTABLISHED,
            "its oldest data is 99 days old, so it is not new; `backfill trigger` fills it in",
        ),
        ({}, Verdict.BACKFILL, "newly connected: the lake holds nothing of it"),
        (
            {"oldest_data_age": timedelta(0)},
            Verdict.BACKFILL,
            "newly connected: its oldest data is 0 days old, less than 7 days",
        ),
        (
            {"oldest_data_age": 1 * DAYS},
            Verdict.BACKFILL,
            "newly connected: its oldest data is 1 day old, less than 7 days",
        ),
        (
            {"oldest_data_age": 7 * DAYS - timedelta(microseconds=1)},
            Verdict.BACKFILL,
            "newly connected: its oldest data is 6 days old, less than 7 days",
        ),
        (
            {"oldest_data_age": 7 * DAYS},
            Verdict.ESTABLISHED,
            "its oldest data is 7 days old, so it is not new; `backfill trigger` fills it in",
        ),
    ],
)
def test_the_first_rule_that_fits_decides_and_says_why(facts: dict[str, Any], verdict: Verdict, reason: str) -> None:
    judgement = judge(Facts(**{"is_enabled": True, **facts}))
    assert (judgement.verdict, judgement.reason) == (verdict, reason)
