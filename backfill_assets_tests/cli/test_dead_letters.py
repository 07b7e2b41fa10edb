"""`backfill dead-letters`: list, show, retry."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from backfill_assets.adapters.state.database import StateDatabase
from backfill_assets.core.dead_letters import DeadLetter
from backfill_assets.settings import load_settings
from backfill_assets_tests.cli.conftest import Shell

TABLE = "service/tickets"


def letter(record_id: str, version: str, **changed: Any) -> DeadLetter:
    said = {
        "domain": "tenant_history",
        "tenant": "acme",
        "service": "connectwise",
        "table": TABLE,
        "partition": "acme|2024-01-07",
        "reason": "its field 'closedFlag' holds 'maybe', which is no boolean",
        "payload": json.dumps({"id": record_id, "note": "naïve"}),
        "run_id": "run 1",
        "seen_at": datetime(2024, 5, 1, tzinfo=UTC),
    }
    return DeadLetter(**{**said, "record_id": record_id, "version": version, **changed})


@pytest.fixture
def letters(shell: Shell) -> list[DeadLetter]:
    """A record that acme holds in this version, and one that it does not hold."""
    held = shell.truth("connectwise", "acme", TABLE, "2024-01-08", "2024-01-12")[0]
    found = [letter(str(held[0]), held[1].replace("Z", ".000000Z")), letter("999999999", "2024-01-09T00:00:00.000000Z")]
    with StateDatabase.open(load_settings().database_url.get_secret_value()) as state:
        state.dead_letters.put(found)
    return found


def test_list_tells_each_record_and_why(shell: Shell, letters: list[DeadLetter]) -> None:
    rows = shell.json("dead-letters", "list")
    assert {row["id"] for row in rows} == {letter.id for letter in letters}
    assert rows[0]["reason"] == letters[0].reason
    assert shell.json("dead-letters", "list", "--where", "record_id=999999999")[0]["record"] == "999999999"
    assert shell.json("dead-letters", "list", "--where", "tenant=globex") == []
    assert "2 dead letters" in shell.run("dead-letters", "list").stderr


def test_show_tells_the_record_as_it_was_sent(shell: Shell, letters: list[DeadLetter]) -> None:
    assert shell.json("dead-letters", "show", letters[1].id)["payload"] == {"id": "999999999", "note": "naïve"}
    text = shell.run("dead-letters", "show", letters[1].id).stdout
    assert "reason: its field 'closedFlag' holds 'maybe'" in text
    assert '"note": "naïve"' in text


def test_retry_stores_what_fits_lets_go_of_what_is_gone_and_says_so(shell: Shell, letters: list[DeadLetter]) -> None:
    facts = shell.json("dead-letters", "retry")
    assert {answer["id"]: answer["fate"] for answer in facts["letters"]} == {
        letters[0].id: "stored",
        letters[1].id: "gone",
    }
    # No run has read this window whole, so it is not called done.
    assert facts["partitions"] == ["acme|2024-01-07 (observed)"]
    assert shell.json("dead-letters", "list") == []
    assert "no dead letter was tried" in shell.run("dead-letters", "retry").stdout


@pytest.mark.parametrize("where", ["tenant", "colour=red", "=x"])
def test_a_condition_that_cannot_be_read_is_refused_with_the_keys(shell: Shell, where: str) -> None:
    result = shell.run("dead-letters", "list", "--where", where)
    assert result.exit_code == 2
    assert "write KEY=VALUE with one of the keys domain, tenant" in result.stderr


def test_an_unknown_id_says_where_ids_are_listed(shell: Shell) -> None:
    result = shell.run("dead-letters", "show", "nothing")
    assert (result.exit_code, result.stderr) == (
        2,
        "Error: there is no dead letter 'nothing'; `backfill dead-letters list` shows the ids\n",
    )


def test_a_tenant_that_is_gone_is_a_problem_in_a_sentence(shell: Shell, letters: list[DeadLetter]) -> None:
    with StateDatabase.open(load_settings().database_url.get_secret_value()) as state:
        state.dead_letters.put([letter("5", "2024-01-09T00:00:00.000000Z", tenant="nobody")])
    result = shell.run("dead-letters", "retry", "--where", "tenant=nobody")
    assert result.exit_code == 1
    assert "there is no tenant 'nobody' in the tenants file" in result.stderr
    assert len(shell.json("dead-letters", "list")) == 3
