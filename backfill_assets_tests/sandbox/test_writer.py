"""The demo's writer: what it changes, that it holds still, and that a second start finds its changes."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import httpx
import pytest

from backfill_assets.adapters.rest.registry import connectors
from backfill_assets.errors import PermanentError
from backfill_assets.sandbox.server import SandboxServer
from backfill_assets.sandbox.writer import FIELDS, Writer
from backfill_assets_tests.sandbox.conftest import UNTIL

TABLE = "company/companies"
ACCOUNTS = [("connectwise", "acme", [TABLE])]
LATELY = UNTIL - timedelta(days=200)
NOW = datetime(2025, 6, 30, 15, 0, tzinfo=UTC)

pytestmark = pytest.mark.usefixtures("sandbox")


@pytest.fixture
def writer(server: SandboxServer, tmp_path: Path) -> Iterator[Writer]:
    made = writer_of(server, tmp_path)
    yield made
    made.stop()


def writer_of(server: SandboxServer, folder: Path) -> Writer:
    return Writer(url=server.url, journal=folder / "changes.jsonl", seconds=0.01, clock=lambda: NOW, random=Random(1))


def versions(sandbox: httpx.Client, table: str = TABLE) -> dict[int, str]:
    answer = sandbox.get(f"/truth/connectwise/acme/{table}").raise_for_status()
    return dict(json.loads(line) for line in answer.text.splitlines())


def journal(writer: Writer) -> list[str]:
    return writer.journal.read_text().splitlines() if writer.journal.exists() else []


def wait_for_changes(writer: Writer, count: int) -> None:
    deadline = time.monotonic() + 20
    while len(journal(writer)) < count:
        assert time.monotonic() < deadline, "nothing is changed"
        time.sleep(0.01)


def changed_now(sandbox: httpx.Client) -> set[int]:
    return {key for key, version in versions(sandbox).items() if datetime.fromisoformat(version) == NOW}


def test_only_records_that_were_updated_lately_are_changed(writer: Writer, sandbox: httpx.Client) -> None:
    lately = {key for key, at in versions(sandbox).items() if datetime.fromisoformat(at) >= LATELY}
    assert lately < versions(sandbox).keys()
    writer.start(ACCOUNTS, since=LATELY)
    wait_for_changes(writer, 20)
    writer.pause()
    assert changed_now(sandbox)
    assert changed_now(sandbox) <= lately


def test_nothing_changes_during_a_pause_and_something_does_after_it(writer: Writer, sandbox: httpx.Client) -> None:
    writer.start(ACCOUNTS, since=LATELY)
    wait_for_changes(writer, 3)
    writer.pause()
    before, written = versions(sandbox), len(journal(writer))
    # Every change that was begun has been made: what is compared now is what the journal says.
    assert {json.loads(line)["target"][3] for line in journal(writer)} == changed_now(sandbox)
    time.sleep(0.2)
    assert (versions(sandbox), len(journal(writer))) == (before, written)
    writer.go_on()
    wait_for_changes(writer, written + 1)


def test_nothing_changes_after_a_stop(writer: Writer, sandbox: httpx.Client) -> None:
    writer.start(ACCOUNTS, since=LATELY)
    wait_for_changes(writer, 3)
    writer.stop()
    before, written = versions(sandbox), len(journal(writer))
    time.sleep(0.2)
    assert (versions(sandbox), len(journal(writer))) == (before, written)


def test_a_second_start_finds_the_changes_of_the_first(
    writer: Writer, server: SandboxServer, sandbox: httpx.Client, tmp_path: Path
) -> None:
    writer.start(ACCOUNTS, since=LATELY)
    wait_for_changes(writer, 5)
    writer.pause()
    writer.stop()
    before = changed_now(sandbox)
    sandbox.delete("/records").raise_for_status()
    assert changed_now(sandbox) == set()
    writer_of(server, tmp_path).replay()
    assert changed_now(sandbox) == before


def test_a_change_that_a_kill_cut_short_is_left_out_and_the_last_whole_one_is_made_anew(
    server: SandboxServer, sandbox: httpx.Client, tmp_path: Path
) -> None:
    key = min(versions(sandbox))
    earlier = {
        "target": ["connectwise", "acme", TABLE, key],
        "lastUpdated": (NOW - timedelta(days=1)).isoformat(),
        "set": {FIELDS[TABLE]: "changed yesterday"},
    }
    again = writer_of(server, tmp_path)
    again.journal.write_text(json.dumps(earlier) + '\n{"target": ["connec')
    again.replay()
    # It may not have been made, or not been read: a change now is read in any case.
    assert changed_now(sandbox) == {key}
    assert [json.loads(line)["lastUpdated"] for line in journal(again)] == [earlier["lastUpdated"], NOW.isoformat()]


def test_a_journal_that_is_none_is_told_with_its_line(server: SandboxServer, tmp_path: Path) -> None:
    again = writer_of(server, tmp_path)
    again.journal.write_text("no change\n{}\n")
    with pytest.raises(PermanentError, match=r"line 1 of .*changes\.jsonl is no change; begin anew"):
        again.replay()


def test_without_a_journal_there_is_nothing_to_make_again(
    server: SandboxServer, sandbox: httpx.Client, tmp_path: Path
) -> None:
    before = versions(sandbox)
    writer_of(server, tmp_path).replay()
    assert versions(sandbox) == before


def test_every_table_of_every_service_has_a_text_that_can_be_changed() -> None:
    tables = {table.name for connector in connectors().values() for table in connector.spec.tables}
    assert tables == FIELDS.keys()
