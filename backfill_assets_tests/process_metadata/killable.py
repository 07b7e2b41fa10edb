"""A backfill that stops before every statement and every commit, run as a program by tests that kill it.

Here belongs what is filled; it waits at each step for a line from its parent.
"""

import os
import sys
from collections.abc import Callable
from threading import Lock
from typing import Any

from sqlalchemy import Engine, event

from backfill_assets.adapters.spiffworkflow.opening import open_instances
from backfill_assets.sandbox.spiffworkflow.peculiar import fields, installation
from backfill_assets_tests.process_metadata.filling import Filling, months

INSTALLATION = installation(11, instances=80)
FIELDS = fields(3)
MONTHS = months(2, 5)

ONE_STEP_AT_A_TIME = Lock()


def fill(url: str, *, step: Callable[[str], None]) -> None:
    """Fill the fields, and call `step` with what has just been told."""
    with open_instances(url) as database:
        for outcome in Filling(database=database, batch_size=10).backfill.fill(MONTHS, FIELDS):
            step(f"told of {outcome.month.key} {outcome.field.name}")


def wait_for_the_parent(done: str) -> None:
    """Say what is about to happen, and go on when the parent says so, if it ever does."""
    with ONE_STEP_AT_A_TIME:  # there are several batches at once
        print(done, flush=True)
        os.read(sys.stdin.fileno(), 1)


def watch() -> None:
    """Stop before each statement and each commit."""

    @event.listens_for(Engine, "before_cursor_execute")
    def before_a_statement(connection: object, cursor: object, statement: str, *_: Any) -> None:
        wait_for_the_parent(f"runs {statement.split(None, 1)[0]}")

    @event.listens_for(Engine, "commit")
    def before_a_commit(connection: object) -> None:
        wait_for_the_parent("commits")


if __name__ == "__main__":
    watch()
    fill(sys.argv[1], step=wait_for_the_parent)
