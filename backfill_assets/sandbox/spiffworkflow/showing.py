"""What the demo shows of process metadata: somebody adds a path to a model, and every old instance gets its row.

Here belongs waiting for it and comparing. What the product is belongs to `installation.py`.
"""

import time
from collections.abc import Callable

from dagster import DagsterInstance
from rich.progress import TaskID

from backfill_assets import following, launching
from backfill_assets.cli.command import Output
from backfill_assets.cli.progress import bars
from backfill_assets.errors import PermanentError
from backfill_assets.process_metadata.letters import DOMAIN
from backfill_assets.resources import open_wiring
from backfill_assets.sandbox.spiffworkflow.installation import MODEL, NEW, Installation
from backfill_assets.settings import load_settings

NOTICE_SECONDS = 120
FILL_SECONDS = 600


def fill(product: Installation, instance: DagsterInstance, output: Output, *, look_after: Callable[[], None]) -> None:
    """Add the path once the sensor knows the model, wait until the field is filled, and compare all of its rows.

    Raises `PermanentError` when that does not come about.
    """
    _wait("the sensor new_metadata_fields to know the process models", _is_adopted, NOTICE_SECONDS, look_after)
    key, path = NEW
    if not product.is_extended:
        output.remark(f"adding the path {path} as {key} to the process model {MODEL} ...")
        product.extend()
    with bars(output) as progress:
        task: TaskID | None = None

        def has_ended() -> bool:
            nonlocal task
            found = following.backfills(instance, {launching.DOMAIN_TAG: DOMAIN})
            if not found:
                return False
            done, total = following.progress(instance, found[0])
            task = progress.add_task(found[0].title or "", total=total) if task is None else task
            progress.update(task, completed=done)
            return following.has_ended(found[0])

        _wait(f"the backfill of {MODEL}:{key}", has_ended, FILL_SECONDS, look_after)
    filled = product.filled()
    if not filled.is_whole:
        raise PermanentError(
            f"{MODEL}:{key} is not filled: of {filled.wanted} instances with a value {filled.held} have it, "
            f"{filled.wrong} have another one, and there are {filled.rows} rows; the Runs page of the UI says why"
        )
    output.remark(f"all {filled.wanted} instances of {MODEL} that have a value have a row of {key}, and no other has")


def _is_adopted() -> bool:
    with open_wiring(load_settings()) as wiring:
        return MODEL in wiring.fields.known()


def _wait(what: str, condition: Callable[[], bool], seconds: float, look_after: Callable[[], None]) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        look_after()
        if time.monotonic() > deadline:
            raise PermanentError(f"waited {seconds:.0f} s in vain for {what}; the Automation page of the UI says why")
        time.sleep(1)
