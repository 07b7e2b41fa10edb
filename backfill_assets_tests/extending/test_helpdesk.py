"""The contract of `RecordSource`, played on a client that this package does not know."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from backfill_assets.adapters.rest.registry import Access
from backfill_assets.core.source import RecordId, RecordSource
from backfill_assets.errors import ConfigurationError, CredentialRefused, UnexpectedResponse
from backfill_assets_tests.adapters.rest import test_contract
from backfill_assets_tests.adapters.rest.stands import PAGE_SIZE, SINCE, UNTIL, Held, Stand, by_id
from backfill_assets_tests.extending.helpdesk import CONNECTOR, HELPDESK, REQUESTS
from backfill_assets_tests.extending.serving import TOKEN, Helpdesk, serving

# Every test of the suite, collected here once more with the `stand` below.
globals().update({name: test for name, test in vars(test_contract).items() if name.startswith("test_")})


class HelpdeskStand(Stand):
    """The client over real HTTP."""

    table, absent, order = REQUESTS, 999_999, staticmethod(by_id)

    def __init__(self, helpdesk: Helpdesk) -> None:
        self.helpdesk = helpdesk
        self.source = open_source(helpdesk)

    def truth(self) -> Held:
        return {r["id"]: datetime.fromisoformat(r["updated_at"]) for r in self._records}

    def move(self, key: RecordId, moment: datetime) -> None:
        next(r for r in self._records if r["id"] == key)["updated_at"] = moment.isoformat()

    @property
    def _records(self) -> list[dict[str, Any]]:
        return self.helpdesk.tables[REQUESTS.name]


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
    requests = [_request(n * 37 % 200 + 1, SINCE + n * timedelta(hours=6)) for n in range(200)]
    with serving(Helpdesk(tables={REQUESTS.name: requests})) as helpdesk:
        stand = HelpdeskStand(helpdesk)
        yield stand
        stand.source.close()


def _request(key: int, updated: datetime) -> dict[str, Any]:
    return {"id": key, "updated_at": updated.isoformat()}


def read(source: RecordSource) -> list[Any]:
    return [record["id"] for page in source.records(REQUESTS, SINCE, UNTIL) for record in page]


@pytest.mark.parametrize(
    ("fault", "told"), [("is_backwards", "ignored the order by id"), ("never_ends", "without a usable id")]
)
def test_paging_that_would_lose_records_is_refused(stand: HelpdeskStand, fault: str, told: str) -> None:
    setattr(stand.helpdesk, fault, True)
    with pytest.raises(UnexpectedResponse, match=told):
        read(stand.source)


def test_a_service_that_ignores_the_range_is_refused(stand: HelpdeskStand) -> None:
    stand.helpdesk.version_field = "created"
    for record in stand.helpdesk.tables[REQUESTS.name]:
        record["created"] = SINCE.isoformat()
    stand.move(3, UNTIL + timedelta(days=1))
    with pytest.raises(UnexpectedResponse, match="ignored the condition on updated"):
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
