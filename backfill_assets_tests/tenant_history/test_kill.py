"""A backfill that is killed at any step and run again leaves exactly what its source holds."""

from pathlib import Path
from random import Random

import pytest

from backfill_assets.adapters.lake.folder import Folder
from backfill_assets.adapters.lake.raw import RawLake
from backfill_assets.adapters.rest.connectwise_tables import TICKETS as CONNECTWISE_TICKETS
from backfill_assets.adapters.state.database import StateDatabase
from backfill_assets.adapters.state.schema import initialise
from backfill_assets.tenant_history.backfill import WindowDone
from backfill_assets.tenant_history.reading import raw_table
from backfill_assets_tests.killing import run_and_kill
from backfill_assets_tests.tenant_history import killable_story
from backfill_assets_tests.tenant_history.killable import BAD_IDS, WINDOWS, account, fill
from backfill_assets_tests.tenant_history.worlds import TICKETS, versions_of

pytestmark = pytest.mark.timeout(60)

SEEDS = range(30)
STEPS = 85
"""A little fewer than the steps of a whole backfill, so that every kill falls into one."""


def assert_all_is_there(url: str, root: Path) -> None:
    with StateDatabase.open(url) as state:
        stored = sorted(RawLake(Folder(root), lock=state.lock).versions(raw_table("acme", "desk", TICKETS)))
        letters = [letter.record_id for letter in state.dead_letters.letters()]
    assert stored == versions_of([record for record in account() if record["id"] not in BAD_IDS])
    assert sorted(map(int, letters)) == sorted(BAD_IDS)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_killed_backfill_that_runs_again_leaves_exactly_what_the_source_holds(seed: int, tmp_path: Path) -> None:
    # The draws of neighbouring seeds are far apart, and each part of the backfill gets its kill.
    kill_and_run_again(tmp_path, at=seed * STEPS // len(SEEDS) + Random(seed).randint(1, STEPS // len(SEEDS)))


@pytest.mark.proof
@pytest.mark.parametrize("at", range(1, STEPS + 1))
def test_no_step_at_which_a_backfill_is_killed_makes_a_difference(at: int, tmp_path: Path) -> None:
    kill_and_run_again(tmp_path, at=at)


def kill_and_run_again(folder: Path, *, at: int) -> None:
    url, root = f"sqlite:///{folder / 'state.db'}", folder / "lake"
    initialise(url)
    run_and_kill("tenant_history.killable", url, str(root), at=at)

    outcomes = fill(url, root, step=lambda done: None)
    assert [outcome.window for outcome in outcomes if isinstance(outcome, WindowDone)] == WINDOWS
    assert sum(outcome.rows for outcome in outcomes if isinstance(outcome, WindowDone)) == len(account()) - len(BAD_IDS)
    assert_all_is_there(url, root)


STORY_STEPS = 88
"""A little fewer than the steps of history, sync and canonical table."""
STORY_SEEDS = 30


@pytest.fixture(scope="module")
def untold(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a story that was never cut off leaves in the lake."""
    folder = tmp_path_factory.mktemp("never killed")
    url, root = f"sqlite:///{folder / 'state.db'}", folder / "lake"
    initialise(url)
    killable_story.tell(url, root)
    return left_in(root)


def left_in(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("seed", range(STORY_SEEDS))
def test_history_sync_and_canonical_table_killed_and_run_again_leave_the_same_bytes(
    untold: dict[str, bytes], seed: int, tmp_path: Path
) -> None:
    url, root = f"sqlite:///{tmp_path / 'state.db'}", tmp_path / "lake"
    initialise(url)
    at = seed * STORY_STEPS // STORY_SEEDS + Random(seed).randint(1, 2)
    run_and_kill("tenant_history.killable_story", url, str(root), at=at)
    killable_story.tell(url, root)
    assert left_in(root) == untold
    with StateDatabase.open(url) as state:
        [handoff] = state.handoffs.handoffs()
        assert handoff.first_request_at == killable_story.LATER
    raw = raw_table("acme", "connectwise", CONNECTWISE_TICKETS)
    with StateDatabase.open(url) as state:
        stored = sorted(RawLake(Folder(root), lock=state.lock).versions(raw))
    assert stored == sorted({*versions_of(killable_story.before()), *versions_of(killable_story.after())})
