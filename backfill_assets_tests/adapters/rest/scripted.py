"""A transport that plays a script of answers, and the wire around it: no network, no waiting, no chance."""

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import httpx

from backfill_assets.adapters.rest.connectwise import ConnectWiseSource
from backfill_assets.adapters.rest.http import Wire
from backfill_assets.core.pacing import Advice, Unpaced
from backfill_assets.core.retries import RetryPolicy

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
BASE_URL = "https://api-na.example.com"
CREDENTIAL = {
    "company_id": "acme",
    "public_key": "the-public-key",
    "private_key": "the-private-key",
    "client_id": "the-client-id",
}
CREDENTIAL_NAMES = ("BACKFILL_ACME_CONNECTWISE_PUBLIC_KEY", "BACKFILL_ACME_CONNECTWISE_PRIVATE_KEY")

Answer = httpx.Response | Exception


class Script:
    """Answers each request with the next answer, the last one again and again; keeps the requests and the pauses."""

    def __init__(self, answers: Iterable[Answer]) -> None:
        self.requests: list[httpx.Request] = []
        self.pauses: list[float] = []
        self._answers = list(answers)

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Play the next answer."""
        self.requests.append(request)
        found = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(found, Exception):
            raise found
        # A new object each time: a response that was read once cannot be sent again.
        return httpx.Response(found.status_code, headers=found.headers, content=found.content)

    def wire(self, *, policy: RetryPolicy | None = None, random: Callable[[], float] = lambda: 0.5) -> Wire:
        """A wire over this script, whose sleeps only are noted."""
        transport = httpx.MockTransport(self.answer)
        policy = policy or RetryPolicy()
        return Wire(transport=transport, policy=policy, sleep=self.pauses.append, random=random, now=lambda: NOW)

    def queries(self) -> list[dict[str, str]]:
        """The query parameters of each request for records or a count."""
        return [dict(request.url.params) for request in self.requests if "/apis/3.0/" in request.url.path]

    def paths(self) -> list[str]:
        """The path of each request."""
        return [request.url.path for request in self.requests]


class Learner(Unpaced):
    """Lets every request pass, and keeps what the services said of their limits."""

    def __init__(self) -> None:
        self.learned: list[Advice] = []

    def learn(self, advice: Advice) -> None:
        """See `Pacer.learn`."""
        self.learned.append(advice)


def codebase(name: str = "v2024_1/") -> httpx.Response:
    """What `login/companyinfo` answers."""
    return answer({"Codebase": name})


def answer(body: Any) -> httpx.Response:
    """A success with this body as JSON; None is `null` and not nothing."""
    return httpx.Response(200, content=json.dumps(body))


def page(*records: Any) -> httpx.Response:
    """A page of records."""
    return answer(list(records))


def ticket(key: Any, updated: Any = "2024-01-02T00:00:00Z") -> dict[str, Any]:
    """A ticket with this id, updated at this moment."""
    return {"id": key, "_info": {"lastUpdated": updated}}


def connectwise(script: Script, *, page_size: int = 2, policy: RetryPolicy | None = None) -> ConnectWiseSource:
    """A client that talks to the script."""
    return ConnectWiseSource(
        tenant="acme",
        base_url=BASE_URL,
        credential=CREDENTIAL,
        credential_names=CREDENTIAL_NAMES,
        page_size=page_size,
        wire=script.wire(policy=policy),
    )
