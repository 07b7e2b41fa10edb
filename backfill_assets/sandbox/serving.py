"""An application of the sandbox over real HTTP, in a thread of this process.

Here belongs starting and stopping it; what it answers belongs to the application.
"""

import logging
import socket
import time
from threading import Thread
from types import TracebackType
from typing import Self

import uvicorn
from starlette.applications import Starlette

from backfill_assets.errors import ConfigurationError
from backfill_assets.sandbox.faults import ConnectionDropped


class Serving:
    """Serves on a free port of this machine as long as the context lasts."""

    def __init__(self, app: Starlette, *, name: str) -> None:
        self._server = server_for(app)
        self._socket = socket.socket()
        self._thread = Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, name=name, daemon=True)
        self._name = name
        self.url = ""

    def __enter__(self) -> Self:
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.002)
        if not self._server.started:
            raise ConfigurationError(f"The {self._name} could not start at {self.url}; its log says why.")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()


def server_for(app: Starlette) -> uvicorn.Server:
    """A server that is not running yet."""
    logging.getLogger("uvicorn.error").addFilter(_is_not_a_wanted_drop)
    return uvicorn.Server(
        uvicorn.Config(app, access_log=False, log_level="warning", lifespan="off", timeout_graceful_shutdown=1)
    )


def _is_not_a_wanted_drop(record: logging.LogRecord) -> bool:
    """Let everything be logged but the exception by which a fault breaks a connection."""
    return not (record.exc_info and isinstance(record.exc_info[1], ConnectionDropped))
