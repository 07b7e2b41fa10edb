"""A database that the product itself wrote, with what ought to be in it worked out by hand.

It lies beside the project, where the project's people keep it; where it is not there, these tests are not either.
"""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from backfill_assets.core.metadata import MetadataField
from backfill_assets_tests.process_metadata.filling import CALENDAR, Filling
from backfill_assets_tests.process_metadata.products import InSql

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "spiffworkflow"

pytestmark = pytest.mark.shared_data

ASKED = {
    "gen/nested": (
        "invoice_number",
        "outer.inner",
        "outer.time",
        "outer",
        "outer.inner.more",
        "invoice_number.x",
        "no",
    ),
    "gen/save_md": ("key1", "key2", "key3", "key4"),
    "gen/manual_task": ("the_new_var", "the_new_var.length"),
    "gen/hello": ("anything",),
    "gen/script_error": ("numbers", "numbers.0", "numbers.1"),
    "gen/call_nested": ("a", "z"),
    "gen/subproc": ("set_in_top_level_script",),
    "gen/random_fact": ("type", "FactService"),
}

LONG = "sweet2" * 42 + "END"
"""255 characters of a text that goes on with `_THIS_WILL_TRUNCATE_HERE`."""

TIMES = {
    "sqlite": {1: "1795338860975242728", 2: "1795338861002734786", 3: "1795338861031792564"},
    "postgres": {1: "1795338905721334251", 2: "1795338905764034268", 3: "1795338905940816138"},
}
"""The same models were run on each of the two databases."""

# Instances 8, 12 and 13 hold nothing: the first two stop at a form right after their start, the last has never run.
BY_HAND = {
    **{(n, "invoice_number"): "123" for n in (1, 2, 3)},
    **{(n, "outer.inner"): LONG for n in (1, 2, 3)},
    # Eleven characters come before the text in it.
    **{(n, "outer"): "{'inner': '" + "sweet2" * 40 + "swee" for n in (1, 2, 3)},
    **{(n, f"key{k}"): f"value{k}" for n in (4, 5) for k in (1, 2, 3)},
    **{(n, "the_new_var"): "HEY" for n in (6, 7)},
    # Its task that ended in an error has the same data, but the script before it is the last that completed.
    (9, "numbers"): "[1, 2, 3, 4]",
    # Starts of called processes have no end; one of them holds {"a": 3} and must not be taken for the last task.
    (10, "a"): "1",
    (10, "z"): "1",
    (11, "set_in_top_level_script"): "1",
}


@pytest.fixture(params=["sqlite", "postgres"])
def spiffworkflow(request: pytest.FixtureRequest, tmp_path: Path) -> InSql:
    """A copy of the database."""
    if request.param == "sqlite":
        shutil.copy(DATA / "instances.sqlite3", tmp_path / "copy.sqlite3")
        return InSql(url=f"sqlite:///{tmp_path / 'copy.sqlite3'}")
    url = str(request.getfixturevalue("database_url"))
    loading = create_engine(url).raw_connection()
    loading.cursor().execute((DATA / "instances.postgres.sql").read_text())
    loading.commit()
    loading.detach()
    loading.close()
    return InSql(url=url)


def test_every_model_gets_what_was_worked_out_by_hand(spiffworkflow: InSql) -> None:
    kind = "sqlite" if spiffworkflow.url.startswith("sqlite") else "postgres"
    by_hand = {**BY_HAND, **{(n, "outer.time"): moment for n, moment in TIMES[kind].items()}}
    with spiffworkflow.open() as database:
        filling = Filling(database=database)
        # All of it was written in one hour; the months around it are empty.
        windows = CALENDAR.windows(datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 12, 2, tzinfo=UTC))
        done = [
            outcome
            for model, paths in ASKED.items()
            for outcome in filling.fill([MetadataField(model=model, key=path, path=path) for path in paths], windows)
        ]
    assert {place: row.value for place, row in spiffworkflow.rows().items()} == by_hand
    assert all(outcome.complete for outcome in done)
    assert filling.letters.letters() == []
