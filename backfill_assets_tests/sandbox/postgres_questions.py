"""Questions to an embedded PostgreSQL, asked apart from the product's own way where there is one.

Here belongs what the tests of the server share; what only one module needs stays there.
"""

from pathlib import Path

import psutil
from sqlalchemy import NullPool, create_engine, make_url, text

from backfill_assets.sandbox.postgres import EmbeddedPostgres


def ask(url: str, question: str) -> object:
    """The first value of the answer, or None."""
    engine = create_engine(url, poolclass=NullPool)
    try:
        with engine.begin() as connection:
            answer = connection.execute(text(question))
            return answer.scalar() if answer.returns_rows else None
    finally:
        engine.dispose()


def port_of(server: EmbeddedPostgres) -> int:
    """Where it listens."""
    return make_url(server.url()).port or 0


def data_folder(server: EmbeddedPostgres) -> Path:
    """Where its cluster lies."""
    return server.log.resolve().parent / "data"


def postmaster(server: EmbeddedPostgres) -> psutil.Process:
    """Its first process."""
    return psutil.Process(int((data_folder(server) / "postmaster.pid").read_text().split()[0]))


def processes(server: EmbeddedPostgres) -> list[psutil.Process]:
    """All live processes of the server, found apart from the product's own way."""
    folder = str(data_folder(server))
    found = psutil.process_iter(["cwd", "status", "cmdline"])
    return [
        x
        for x in found
        if x.info["status"] != psutil.STATUS_ZOMBIE and (x.info["cwd"] == folder or folder in (x.info["cmdline"] or []))
    ]
