"""Somebody who keeps changing records of the stand-in services while the demo runs.

Here belongs who changes what, and that a second start of the demo finds the services as the first one left them. What a
change does to a record belongs to `control.py`.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from random import Random
from threading import Event, Lock, Thread
from typing import Any

import httpx

from backfill_assets.core.windows import utc_now
from backfill_assets.errors import PermanentError

FIELDS = {
    "service/tickets": "summary",
    "time/entries": "notes",
    "company/companies": "addressLine1",
    "company/contacts": "title",
    "incident": "short_description",
    "change_request": "short_description",
    "problem": "short_description",
    "sys_user": "title",
    "core_company": "street",
    "time_card": "comments",
    "Account": "BillingStreet",
    "Contact": "Title",
    "Opportunity": "NextStep",
    "Case": "Subject",
    "Lead": "Title",
}
"""A text of each table that a person may write anything into."""

STOP_SECONDS = 5.0

Target = tuple[str, str, str, Any]
"""Service, tenant, table and id of a record."""


@dataclass(kw_only=True)
class Writer:
    """Changes a record every `seconds`, in a thread, between `start` and `stop`.

    Each change is kept in the file `journal` before it is made. The stand-ins forget all changes when they end, so
    `replay` makes them again; the last one may not have been made, so its record is changed once more, now.
    """

    url: str
    journal: Path
    seconds: float = 1.0
    clock: Callable[[], datetime] = utc_now
    random: Random = field(default_factory=Random)
    _targets: list[Target] = field(default_factory=list, init=False)
    _stopping: Event = field(default_factory=Event, init=False)
    _one_change: Any = field(default_factory=Lock, init=False)
    _thread: Thread | None = field(default=None, init=False)
    _is_paused: bool = field(default=False, init=False)

    def replay(self) -> None:
        """Make the changes of earlier starts again."""
        changes = list(self._journal())
        # Without a line that a kill cut short, which the next change would be written behind.
        self.journal.write_text("".join(json.dumps(change) + "\n" for change in changes))
        with self._client() as client:
            for change in changes:
                self._make(client, change)
            if changes:
                self._change(client, tuple(changes[-1]["target"]))

    def start(self, accounts: Sequence[tuple[str, str, Sequence[str]]], *, since: datetime) -> None:
        """Begin to change records of these (service, tenant, tables) that were updated after `since`."""
        with self._client() as client:
            for service, tenant, tables in accounts:
                for table in tables:
                    self._targets.extend(self._found(client, service, tenant, table, since))
        self._thread = Thread(target=self._write, name="writer", daemon=True)
        self._thread.start()

    def pause(self) -> None:
        """Return when no change is under way; none begins until `go_on`."""
        self._one_change.acquire()
        self._is_paused = True

    def go_on(self) -> None:
        """Change records again."""
        self._is_paused = False
        self._one_change.release()

    def stop(self) -> None:
        """Change nothing any more; returns when no change is under way, or after some seconds."""
        self._stopping.set()
        if self._thread is not None and not self._is_paused:
            self._thread.join(STOP_SECONDS)

    def _write(self) -> None:
        with self._client() as client:
            while self._targets and not self._stopping.wait(self.seconds):
                with self._one_change:
                    if self._stopping.is_set():
                        return
                    try:
                        self._change(client, self.random.choice(self._targets))
                    except httpx.HTTPError:
                        continue  # the stand-ins are being started again

    def _change(self, client: httpx.Client, target: Target) -> None:
        moment = self.clock()
        text = f"changed at {moment:%H:%M:%S}"
        change = {"target": target, "lastUpdated": moment.isoformat(), "set": {FIELDS[target[2]]: text}}
        with self.journal.open("a") as journal:
            journal.write(json.dumps(change) + "\n")
        self._make(client, change)

    def _make(self, client: httpx.Client, change: dict[str, Any]) -> None:
        path = "/".join(map(str, change["target"]))
        said = {"lastUpdated": change["lastUpdated"], "set": change["set"]}
        client.put(f"/_sandbox/records/{path}", json=said).raise_for_status()

    def _found(self, client: httpx.Client, service: str, tenant: str, table: str, since: datetime) -> Iterator[Target]:
        bounds = {"from": since.isoformat(), "gone": "0"}
        answer = client.get(f"/_sandbox/truth/{service}/{tenant}/{table}", params=bounds).raise_for_status()
        return ((service, tenant, table, json.loads(line)[0]) for line in answer.text.splitlines())

    def _journal(self) -> Iterator[dict[str, Any]]:
        if not self.journal.exists():
            return
        for number, line in enumerate(lines := self.journal.read_text().splitlines(), 1):
            try:
                yield json.loads(line)
            except ValueError:
                # A kill may cut the last line short: then the change was not made.
                if number < len(lines):
                    raise PermanentError(
                        f"line {number} of {self.journal} is no change; begin anew with `make clean`"
                    ) from None

    def _client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60)
