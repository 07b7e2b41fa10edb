"""A stand-in for Snowflake: fakesnow over HTTP, behind a door that checks credentials.

Here belongs the door: sign-in by password, by OAuth token and in a browser, each refused with Snowflake's own number.
What is behind it is one database for the whole process, so that whoever wants to be alone takes a name of their own.
"""

import gzip
import json
import logging
import secrets
import socket
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlencode

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from backfill_assets.adapters.snowflake.connecting import Account
from backfill_assets.errors import ConfigurationError

if TYPE_CHECKING:
    import pyarrow as pa

USER, PASSWORD, TOKEN = "reader", "sandbox-snowflake-password", "sandbox-snowflake-token"
WRONG_PASSWORD, WRONG_TOKEN = "390100", "390303"
SIGN_IN = "/session/v1/login-request"


@dataclass(kw_only=True)
class Door:
    """Who may come in; `tokens` are those of browsers, by the key that proves whose they are."""

    user: str = USER
    password: str = PASSWORD
    token: str = TOKEN
    tokens: dict[str, str] = field(default_factory=dict)
    ports: dict[str, str] = field(default_factory=dict)

    def refusal(self, said: Any) -> tuple[str, str] | None:
        """Number and sentence of the refusal; None for who may come in."""
        match said.get("AUTHENTICATOR", "SNOWFLAKE"):
            case "OAUTH":
                is_known = said.get("TOKEN") == self.token
                return None if is_known else (WRONG_TOKEN, "Invalid OAuth access token.")
            case "EXTERNALBROWSER":
                is_known = self.tokens.get(said.get("PROOF_KEY", "")) == said.get("TOKEN")
            case _:
                is_known = (said.get("LOGIN_NAME"), said.get("PASSWORD")) == (self.user, self.password)
        return None if is_known else (WRONG_PASSWORD, "Incorrect username or password was specified.")


class Guarded:
    """The application: asks everybody at the door, and lets fakesnow answer who came in."""

    def __init__(self, behind: Any, door: Door) -> None:
        self._behind = behind
        self._door = door
        self._front = Starlette(
            routes=[
                Route("/session/authenticator-request", self._begin_sign_in, methods=["POST"]),
                Route("/sso", self._sign_in_in_browser),
            ]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] not in (SIGN_IN, "/session/authenticator-request", "/sso"):
            await self._behind(scope, receive, send)
            return
        if scope["path"] != SIGN_IN:
            await self._front(scope, receive, send)
            return
        request = Request(scope, receive)
        body = await request.body()
        if refused := self._door.refusal(_decoded(request, body)["data"]):
            number, sentence = refused
            refusal = {"data": {"nextAction": "RETRY_LOGIN"}, "code": number, "message": sentence, "success": False}
            await JSONResponse(refusal)(scope, receive, send)
            return
        await self._behind(scope, _replay(body), send)

    async def _begin_sign_in(self, request: Request) -> Response:
        said = _decoded(request, await request.body())["data"]
        proof = secrets.token_hex(8)
        self._door.ports[proof] = str(said["BROWSER_MODE_REDIRECT_PORT"])
        address = f"{request.url.scheme}://{request.url.netloc}/sso?{urlencode({'proof': proof})}"
        return JSONResponse({"data": {"ssoUrl": address, "proofKey": proof}, "success": True})

    async def _sign_in_in_browser(self, request: Request) -> Response:
        proof = request.query_params["proof"]
        token = self._door.tokens[proof] = secrets.token_hex(16)
        return RedirectResponse(f"http://localhost:{self._door.ports[proof]}/?{urlencode({'token': token})}")


def _decoded(request: Request, body: bytes) -> Any:
    return json.loads(gzip.decompress(body) if request.headers.get("content-encoding") == "gzip" else body)


def _replay(body: bytes) -> Receive:
    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


class SnowflakeServer:
    """The stand-in on a free port of 127.0.0.1 (or this one), in a thread, as long as the context lasts."""

    def __init__(self, *, port: int = 0, door: Door | None = None) -> None:
        self.door = door or Door()
        self._port = port
        self._server: uvicorn.Server | None = None
        self._thread: Thread | None = None
        self._socket: socket.socket | None = None

    @property
    def port(self) -> int:
        """The port."""
        if self._socket is None:
            raise ConfigurationError("the stand-in for Snowflake is not started; enter its context first")
        return int(self._socket.getsockname()[1])

    def account(self, database: str, **more: Any) -> Account:
        """An account that may read this database."""
        given: dict[str, Any] = {"user": self.door.user, "password": self.door.password, "account": "sandbox"}
        place = {"host": "127.0.0.1", "port": self.port, "protocol": "http", "database": database, "schema": "public"}
        return Account(**{**given, **place, **more})

    def load(self, database: str, table: str, records: "pa.Table") -> None:
        """Make a table of these records, in place of the one that is there."""
        from fakesnow.server import shared_fs

        with _quietly():
            fake = shared_fs.connect(database, "public")
            connection = shared_fs.duck_conn.cursor()
            connection.register("loaded", records)
            name = f'{database.upper()}."PUBLIC".{table.upper()}'
            connection.execute(f"CREATE OR REPLACE TABLE {name} AS SELECT * FROM loaded")  # noqa: S608 - names of ours
            connection.unregister("loaded")
            fake.close()

    def execute(self, database: str, statement: str, values: Sequence[Any] = ()) -> None:
        """Run a statement on the database itself."""
        from fakesnow.server import shared_fs

        connection = shared_fs.duck_conn.cursor()
        connection.execute(f'USE {database.upper()}."PUBLIC"')
        connection.execute(statement, values)

    def __enter__(self) -> Self:
        with _quietly():
            from fakesnow.server import app

        logging.getLogger("fakesnow.server").setLevel(logging.CRITICAL)
        self._socket = socket.create_server(("127.0.0.1", self._port))
        config = uvicorn.Config(Guarded(app, self.door), access_log=False, log_level="warning", lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = Thread(target=self._run, name="snowflake", daemon=True)
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.002)
        if not self._server.started:
            raise ConfigurationError("the stand-in for Snowflake could not start; its log says why")
        return self

    def _run(self) -> None:
        if self._server is not None and self._socket is not None:
            self._server.run(sockets=[self._socket])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None and self._thread is not None and self._socket is not None:
            self._server.should_exit = True
            self._thread.join()
            self._socket.close()


@contextmanager
def _quietly() -> Any:
    """fakesnow asks DuckDB for Arrow in a way that DuckDB warns of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def serve(server: SnowflakeServer, *, announce: Callable[[str], None] = lambda _: None) -> None:
    """Serve until interrupted."""
    with server:
        announce(f"http://127.0.0.1:{server.port}")
        while True:
            time.sleep(3600)
