"""What the in-memory twin offers beyond the contract: a log of requests, poison, and odd records."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backfill_assets.adapters.rest.connectwise_tables import COMPANIES, TICKETS
from backfill_assets.adapters.rest.memory import MemoryRequest, MemorySource
from backfill_assets.errors import TransientError, UnexpectedResponse
from backfill_assets_tests.adapters.rest.scripted import ticket

DAY = timedelta(days=1)
START = datetime(2024, 1, 1, tzinfo=UTC)
END = START + 10 * DAY


def source_of(*records: dict[str, Any], page_size: int = 2) -> MemorySource:
    return MemorySource({TICKETS.name: list(records), COMPANIES.name: []}, page_size=page_size)


def ids(source: MemorySource, start: datetime = START, end: datetime = END) -> list[Any]:
    return [record.get("id") for page in source.records(TICKETS, start, end) for record in page]


def test_logs_what_was_asked() -> None:
    source = source_of(ticket(1), ticket(2), ticket(3))
    ids(source)
    source.count(TICKETS, START, END)
    afters = [(request.kind, request.after) for request in source.requests]
    assert afters == [("records", None), ("records", 2), ("records", 3), ("count", None)]
    assert source.requests[0] == MemoryRequest(kind="records", table="service/tickets", start=START, end=END)


def test_a_poisoned_range_fails_every_request_that_overlaps_it_until_healed() -> None:
    source = source_of(ticket(1))
    source.fail(TICKETS.name, START + DAY, START + 2 * DAY, TransientError("poisoned"))
    with pytest.raises(TransientError, match="poisoned"):
        ids(source)
    with pytest.raises(TransientError, match="poisoned"):
        source.count(TICKETS, START, END)
    assert ids(source, START, START + DAY) == ids(source, START + 2 * DAY, END) == []
    assert list(source.records(COMPANIES, START, END)) == []
    source.heal()
    assert ids(source) == [1]


def test_odd_records_are_passed_on_for_quarantine_and_served_once() -> None:
    source = source_of(ticket(None), ticket(1), ticket(2, "yesterday"), {"id": 3}, ticket(4))
    assert ids(source) == [None, 1, 2, 3, 4]


def test_keeps_the_guards_of_the_real_clients() -> None:
    with pytest.raises(UnexpectedResponse, match="ignored the order"):
        ids(source_of(ticket(1), ticket(1)))


def test_knows_that_it_was_closed() -> None:
    source = source_of()
    source.close()
    assert source.closed
