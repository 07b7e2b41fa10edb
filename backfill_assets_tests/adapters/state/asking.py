"""A process that asks a sandbox as often as its pacer lets it: `... STATE_URL BASE_URL CREDENTIAL PACE SECONDS`.

It says `ready`, waits for a line, and at the end prints when which answer came, as JSON.
"""

import json
import sys
import time
from contextlib import closing
from datetime import UTC, datetime

import httpx

from backfill_assets.adapters.rest.connectwise import ConnectWiseSource
from backfill_assets.adapters.rest.connectwise_tables import TICKETS
from backfill_assets.adapters.rest.http import Wire
from backfill_assets.adapters.state.database import StateDatabase
from backfill_assets.core.pacing import Pace

START, END = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 8, tzinfo=UTC)


class NotingTransport(httpx.HTTPTransport):
    """Real HTTP that keeps the time and the status of each answer."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[tuple[float, int]] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """See `HTTPTransport`."""
        response = super().handle_request(request)
        if "/apis/3.0/" in request.url.path:  # the sandbox counts nothing else
            self.answers.append((time.time(), response.status_code))
        return response


def ask(
    state: StateDatabase, base_url: str, credential: dict[str, str], pace: Pace, seconds: float
) -> list[tuple[float, int]]:
    """Ask for a count again and again."""
    transport = NotingTransport()
    wire = Wire(transport=transport, pacer=state.pacer("connectwise", "acme", pace))
    source = ConnectWiseSource(tenant="acme", base_url=base_url, credential=credential, wire=wire)
    with closing(source):
        print("ready", flush=True)
        sys.stdin.readline()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            source.count(TICKETS, START, END)
    return transport.answers


if __name__ == "__main__":
    state_url, base_url, credential, pace, seconds = sys.argv[1:]
    with StateDatabase.open(state_url) as state:
        answers = ask(state, base_url, json.loads(credential), Pace(**json.loads(pace)), float(seconds))
    print(json.dumps(answers))
