"""Telling other programs the watermark, which may fail."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from backfill_assets.adapters.rest.connectwise_tables import TICKETS
from backfill_assets.core.chunks import ChunkTarget
from backfill_assets.errors import TransientError
from backfill_assets.tenant_history.assets import handing_over
from backfill_assets.tenant_history.backfill import WindowDone
from backfill_assets_tests.tenant_history.shops import SHOP, shop
from backfill_assets_tests.tenant_history.worlds import NOW, in_week, ticket, weeks

WINDOWS = weeks(1, 11)
HOUR = timedelta(hours=1)


def refuse(tenant: str, table: str, watermark: datetime) -> None:
    raise TransientError(f"DynamoDB does not answer for {tenant} {table} at {watermark:%Y}")


def test_a_watermark_that_cannot_be_told_is_logged_and_costs_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    acme = shop(tmp_path, acme=[ticket(1, in_week(2))])
    hand_over = handing_over(replace(acme.wiring, publish_watermark=refuse), "acme", SHOP, TICKETS)
    hand_over.asked_for(WINDOWS)
    for _ in ("history", "sync"):
        outcomes = list(hand_over.fill(acme.backfill(table=TICKETS), WINDOWS, ChunkTarget(days=14)))
        assert [type(outcome) for outcome in outcomes] == [WindowDone] * len(WINDOWS)
        acme.now += HOUR
    assert [handoff.first_request_at for handoff in acme.handoffs.handoffs()] == [NOW + HOUR]
    [told] = caplog.messages
    assert told == (
        "the watermark of acme service/tickets was not told: DynamoDB does not answer for acme service/tickets at 2024"
    )
