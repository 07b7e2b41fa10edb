"""The contract of `RecordSource`, played on a client that this package does not know.

The suite asks for tickets, so the helpdesk here holds those under the names that the suite knows.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from backfill_assets.adapters.rest.connectwise_tables import TICKETS
from backfill_assets.adapters.rest.registry import Access
from backfill_assets.core.source import RecordSource
from backfill_assets.errors import ConfigurationError, CredentialRefused, UnexpectedResponse
from backfill_assets_tests.adapters.rest import test_contract
from backfill_assets_tests.adapters.rest.stands import PAGE_SIZE, SINCE, UNTIL, Held, Stand
from backfill_assets_tests.extending.helpdesk import CONNECTOR, HELPDESK
from backfill_assets_tests.extending.serving import TOKEN, Helpdesk, serving

# Every test of the suite, collected here once more with the `stand` below.
globals().update({name: test for name, test in vars(test_contract).items() if name.startswith("test_")})


class HelpdeskStand(Stand):
    """The client over real HTTP."""

    def __init__(self, helpdesk: Helpdesk) -> None:
        self.helpdesk = helpdesk
        self.source = open_source(helpdesk)

    def truth(self) -> Held:
        return {r["id"]: datetime.fromisoformat(r["_info"]["lastUpdated"]) for r in self._records}

    def move(self, key: int | str, moment: datetime) -> None:
        next(r for r in self._records if r["id"] == key)["_info"]["lastUpdated"] = moment.isoformat()

    @property
    def _records(self) -> list[dict[str, Any]]:
        return self.helpdesk.tables[TICKETS.name]


def open_source(helpdesk: Helpdesk, **parts: Any) -> RecordSource:
    said: dict[str, Any] = {
        "tenant": "acme",
        "spec": replace(HELPDESK, page_size=PAGE_SIZE),
        "base_url": helpdesk.url,
        "credential": {"api_token": TOKEN},
        "credential_names": ["BACKFILL_ACME_HELPDESK_API_TOKEN"],
    }
    return CONNECTOR.open(Access(**{**said, **parts}))


@pytest.fixture
def stand() -> Iterator[HelpdeskStand]:
    # The ids are not in the order of time: 37 is coprime to 200.
    tickets = [_ticket(n * 37 % 200 + 1, SINCE + n * timedelta(hours=6)) for n in range(200)]
    with serving(Helpdesk(tables={TICKETS.name: tickets}, version_field="_info/lastUpdated")) as helpdesk:
        stand = HelpdeskStand(helpdesk)
        yield stand
        stand.source.close()


def _ticket(key: int, updated: datetime) -> dict[str, Any]:
    return {"id": key, "_info": {"lastUpdated": updated.isoformat()}}


def read(source: RecordSource) -> list[Any]:
    return [record["id"] for page in source.records(TICKETS, SINCE, UNTIL) for record in page]


def test_ids_and_versions_are_read_without_the_records(stand: HelpdeskStand) -> None:
    pages = list(stand.source.identities(TICKETS, SINCE, UNTIL))
    assert [identity for page in pages for identity in page] == sorted(stand.truth().items())


def test_records_are_fetched_by_id_and_one_that_is_gone_is_left_out(stand: HelpdeskStand) -> None:
    assert [record["id"] for record in stand.source.fetch(TICKETS, [7, 5, 999])] == [7, 5]
    assert stand.source.fetch(TICKETS, []) == []


@pytest.mark.parametrize(
    ("fault", "told"), [("is_backwards", "ignored the order by id"), ("never_ends", "without a usable id")]
)
def test_paging_that_would_lose_records_is_refused(stand: HelpdeskStand, fault: str, told: str) -> None:
    setattr(stand.helpdesk, fault, True)
    with pytest.raises(UnexpectedResponse, match=told):
        read(stand.source)


def test_a_service_that_ignores_the_range_is_refused(stand: HelpdeskStand) -> None:
    stand.helpdesk.version_field = "created"
    for record in stand.helpdesk.tables[TICKETS.name]:
        record["created"] = SINCE.isoformat()
    stand.move(3, UNTIL + timedelta(days=1))
    with pytest.raises(UnexpectedResponse, match="ignored the condition on lastUpdated"):
        read(stand.source)


def test_a_refused_credential_is_named_and_not_shown(stand: HelpdeskStand) -> None:
    source = open_source(stand.helpdesk, credential={"api_token": "a-wrong-token"})
    with pytest.raises(
        CredentialRefused, match=r"who is Bearer \*\*\*\?.*Check BACKFILL_ACME_HELPDESK_API_TOKEN"
    ) as refused:
        source.check()
    assert "a-wrong-token" not in str(refused.value)
    source.close()
    with pytest.raises(ConfigurationError, match="of tenant acme lacks api_token"):
        open_source(stand.helpdesk, credential={})
