"""One contract for certificates and hand-offs, held by the in-memory twins, by SQLite and by PostgreSQL."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from backfill_assets.adapters.state.database import StateDatabase
from backfill_assets.core.certificates import Certificate, CertificateLedger, MemoryCertificates
from backfill_assets.core.handoff import Handoff, HandoffLedger, MemoryHandoffs

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
PLACE = ("acme", "connectwise", "service/tickets")
OF = {"service": "connectwise", "table": "service/tickets"}

CERTIFICATE = Certificate(
    tenant="acme",
    service="connectwise",
    table="service/tickets",
    window="2024-04-21",
    source_rows=10,
    rows_rejected=1,
    stored_rows=12,
    stored_ids=8,
    identity_digest="1" * 32,
    content_digest="2" * 32,
    began_at=NOON,
    taken_at=NOON + timedelta(seconds=2),
    is_settled=True,
    code_version="1",
)


@pytest.fixture
def certificates(state_or_none: StateDatabase | None) -> CertificateLedger:
    return state_or_none.certificates if state_or_none else MemoryCertificates()


@pytest.fixture
def handoffs(state_or_none: StateDatabase | None) -> HandoffLedger:
    return state_or_none.handoffs if state_or_none else MemoryHandoffs()


def test_gives_back_the_certificate_of_a_window_at_its_newest(certificates: CertificateLedger) -> None:
    certificates.put([CERTIFICATE])
    newer = replace(CERTIFICATE, stored_ids=10, content_digest="3" * 32)
    other = replace(CERTIFICATE, window="2024-04-14", is_settled=False)
    certificates.put([newer, other])
    certificates.put([])
    assert certificates.certificates(tenant="acme", **OF) == [other, newer]
    assert certificates.certificates(tenant="globex", **OF) == []
    assert certificates.windows(**OF) == [("acme", "2024-04-14"), ("acme", "2024-04-21")]


def test_finds_the_windows_that_are_short_or_have_rejects(certificates: CertificateLedger) -> None:
    whole = replace(CERTIFICATE, window="2024-04-14", stored_ids=10, rows_rejected=0)
    rejected = replace(CERTIFICATE, window="2024-04-28", stored_ids=9)
    growing = replace(whole, window="2024-05-05", stored_ids=5, is_settled=False)
    elsewhere = replace(CERTIFICATE, table="company/companies")
    certificates.put([CERTIFICATE, whole, rejected, growing, elsewhere])
    assert [c.is_short for c in (CERTIFICATE, whole, rejected, growing)] == [True, False, False, False]
    assert certificates.incomplete(**OF) == [CERTIFICATE, rejected]


def test_history_begins_where_it_was_asked_for_first(handoffs: HandoffLedger) -> None:
    handoffs.plan(*PLACE, start=NOON)
    handoffs.plan(*PLACE, start=NOON + DAY)
    assert handoffs.handoffs() == [
        Handoff(tenant="acme", service="connectwise", table="service/tickets", history_from=NOON)
    ]
    handoffs.plan(*PLACE, start=NOON - 3 * DAY)
    assert [h.history_from for h in handoffs.handoffs()] == [NOON - 3 * DAY]


def test_the_first_request_is_noted_once_and_moves_only_without_a_gap(handoffs: HandoffLedger) -> None:
    handoffs.plan(*PLACE, start=NOON)
    assert not handoffs.advance(*PLACE, covered_from=NOON, began=NOON + DAY), "nothing was read yet"
    handoffs.begin(*PLACE, NOON)
    handoffs.begin(*PLACE, NOON + DAY)
    assert [h.first_request_at for h in handoffs.handoffs()] == [NOON]
    assert not handoffs.advance(*PLACE, covered_from=NOON + timedelta(seconds=1), began=NOON + DAY)
    assert not handoffs.advance(*PLACE, covered_from=NOON - DAY, began=NOON)
    assert handoffs.advance(*PLACE, covered_from=NOON, began=NOON + DAY)
    assert [h.first_request_at for h in handoffs.handoffs()] == [NOON + DAY]


def test_finds_the_handoffs_of_a_service_and_a_tenant(handoffs: HandoffLedger) -> None:
    for tenant, service in (("globex", "desk"), ("acme", "desk"), ("acme", "phone")):
        handoffs.plan(tenant, service, "t", start=NOON)
    assert [h.tenant for h in handoffs.handoffs(service="desk")] == ["acme", "globex"]
    assert [h.service for h in handoffs.handoffs(tenant="acme")] == ["desk", "phone"]
