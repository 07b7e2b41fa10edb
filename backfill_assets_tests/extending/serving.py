"""Helpdesk as a server: a service of somebody else's, with its own paging, over real HTTP.

Here belongs what the service does. How it is read belongs to `helpdesk.py`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit

TOKEN = "helpdesk-secret-token"

Answer = tuple[int, Any]


@dataclass(kw_only=True)
class Helpdesk:
    """The account: its tables, whose records say in `version_field` when they were updated."""

    tables: dict[str, list[dict[str, Any]]]
    version_field: str = "updated_at"
    is_backwards: bool = False
    never_ends: bool = False
    url: str = field(default="", init=False)

    def answer(self, path: str, query: Mapping[str, str], authorization: str | None) -> Answer:
        """What the service says to a request."""
        if authorization != f"Bearer {TOKEN}":
            return 401, {"message": f"who is {authorization}?"}
        if path == "/v2/me":
            return 200, {"agent": "Robin"}
        name = path.removeprefix("/v2/").removesuffix("/count")
        if name not in self.tables:
            return 404, {"message": "no such thing"}
        if "ids" in query:
            wanted = set(map(int, query["ids"].split(",")))
            return 200, {"results": [r for r in self.tables[name] if r["id"] in wanted], "next_page_token": None}
        found = self._within(name, query)
        return 200, {"count": len(found)} if path.endswith("/count") else self._page(found, query)

    def _within(self, name: str, query: Mapping[str, str]) -> list[dict[str, Any]]:
        # A bound is named after the field, such as `updated_from`.
        bounds = {field.rsplit("_", 1)[-1]: text for field, text in query.items()}
        start, end = (datetime.fromisoformat(bounds[side]) for side in ("from", "before"))
        found = [r for r in self.tables[name] if start <= datetime.fromisoformat(r[self.version_field]) < end]
        return sorted(found, key=lambda record: record["id"] * (-1 if self.is_backwards else 1))

    def _page(self, found: Sequence[dict[str, Any]], query: Mapping[str, str]) -> Mapping[str, Any]:
        """A page; its token is opaque to a client, and stands for the last id."""
        if self.never_ends:
            return {"results": [], "next_page_token": "again"}
        after = int(query.get("page_token", "after-0").removeprefix("after-"))
        left = [record for record in found if record["id"] > after or self.is_backwards]
        page = left[: int(query["limit"])]
        return {"results": page, "next_page_token": f"after-{page[-1]['id']}" if len(left) > len(page) else None}


@contextmanager
def serving(helpdesk: Helpdesk) -> Iterator[Helpdesk]:
    """Serve it on a free port as long as the context lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            status, body = helpdesk.answer(asked.path, dict(parse_qsl(asked.query)), self.headers["Authorization"])
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        helpdesk.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield helpdesk
        finally:
            server.shutdown()
            thread.join()
