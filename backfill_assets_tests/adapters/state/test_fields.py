"""One contract for known metadata fields, held by the in-memory twin, by SQLite and by PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from backfill_assets.adapters.state.database import StateDatabase
from backfill_assets.adapters.state.schema import initialise
from backfill_assets.core.metadata import FieldLedger, MemoryFields


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FieldLedger]:
    if request.param == "memory":
        yield MemoryFields()
        return
    is_sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path / 'state.db'}" if is_sqlite else str(request.getfixturevalue("database_url"))
    initialise(url)
    with StateDatabase.open(url) as state:
        yield state.fields


def test_knows_nothing_at_first(ledger: FieldLedger) -> None:
    assert ledger.known() == {}


def test_tells_a_model_without_fields_from_one_never_read_and_one_never_seen(ledger: FieldLedger) -> None:
    ledger.remember({"a/b": {"k": "x.y", "": ""}, "empty": {}, "unread": None})
    assert ledger.known() == {"a/b": {"k": "x.y", "": ""}, "empty": {}, "unread": None}


def test_what_is_remembered_last_replaces_all_of_the_model_and_nothing_of_others(ledger: FieldLedger) -> None:
    ledger.remember({"m": {"old": "1", "both": "2"}, "other": {"k": "p"}, "unread": None})
    ledger.remember({"m": {"both": "3", "new": "4"}, "unread": {"late": "5"}})
    assert ledger.known() == {"m": {"both": "3", "new": "4"}, "other": {"k": "p"}, "unread": {"late": "5"}}
    ledger.remember({"m": {}})
    assert ledger.known()["m"] == {}
    ledger.remember({})
    assert set(ledger.known()) == {"m", "other", "unread"}


def test_a_forgotten_model_was_never_seen(ledger: FieldLedger) -> None:
    ledger.remember({"m": {"k": "p"}, "n": {"k": "p"}, "u": None})
    ledger.forget(["m", "u", "never seen"])
    assert ledger.known() == {"n": {"k": "p"}}
    ledger.remember({"m": {}})
    assert ledger.known()["m"] == {}


def test_texts_come_back_exactly(ledger: FieldLedger) -> None:
    texts = ["K", "k", "k ", "a.b, c|[d] 100%", "ключ", "😀", "json:{}", "nul\0", "\ud800"]
    seen = {text: dict.fromkeys(texts, text) for text in texts}
    ledger.remember(seen)
    assert ledger.known() == seen


def test_thousands_are_forgotten_and_remembered_at_once(ledger: FieldLedger) -> None:
    models = [f"group/{number}" for number in range(3000)]
    ledger.remember({model: {"k": "p"} for model in models})
    assert len(ledger.known()) == 3000
    ledger.forget(models[1:])
    assert set(ledger.known()) == {models[0]}


def test_what_was_remembered_cannot_be_changed_from_outside(ledger: FieldLedger) -> None:
    paths = {"k": "p"}
    ledger.remember({"m": paths})
    paths["k"] = "q"
    assert ledger.known() == {"m": {"k": "p"}}
