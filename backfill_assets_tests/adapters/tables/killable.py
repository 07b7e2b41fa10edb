"""A copy that stops before every statement and after every commit, run as a program by tests that kill it.

Here belongs how it stops; it waits at each step for a line from its parent.
"""

import os
import sys
from collections.abc import Callable
from threading import Lock
from typing import Any

import psycopg

from backfill_assets_tests.adapters.tables.ends import Ends

ONE_STEP_AT_A_TIME = Lock()


def wait_for_the_parent(done: str) -> None:
    """Say what is about to happen, and go on when the parent says so, if it ever does."""
    with ONE_STEP_AT_A_TIME:  # the next batch is read meanwhile
        print(done, flush=True)
        os.read(sys.stdin.fileno(), 1)


def watch() -> None:
    """Stop before each statement."""
    execute: Callable[..., Any] = psycopg.Connection.execute

    def stopping(connection: Any, statement: Any, *arguments: Any, **options: Any) -> Any:
        text = statement.decode() if isinstance(statement, bytes) else str(statement)
        wait_for_the_parent(f"runs {text.split(None, 1)[0]}")
        return execute(connection, statement, *arguments, **options)

    psycopg.Connection.execute = stopping  # type: ignore[method-assign, assignment]


def copy(ends: Ends) -> None:
    """Copy, and stop after each commit."""
    load = ends.load(create_table=True)
    with ends.reading() as source, ends.writing() as destination:
        destination.prepare(load)
        for position in destination.copy(load, source):
            wait_for_the_parent(f"committed {position.rows}")
        destination.verify(load, source)


if __name__ == "__main__":
    watch()
    copy(Ends(source=sys.argv[1], destination=sys.argv[2]))
