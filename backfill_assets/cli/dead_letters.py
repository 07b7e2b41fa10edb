"""Commands about quarantined records, of whatever domain."""

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from backfill_assets.cli.command import BackfillCommand, Output
from backfill_assets.errors import PermanentError, UsageError

if TYPE_CHECKING:
    from dagster import DagsterInstance

    from backfill_assets.core.dead_letters import DeadLetter
    from backfill_assets.process_metadata.retrying import ModelRetried
    from backfill_assets.resources import Wiring
    from backfill_assets.tenant_history.retrying import TableRetried
    from backfill_assets.work_orders.retrying import MonthRetried

KEYS = ("domain", "tenant", "service", "table", "partition", "record_id", "id")

where_option = click.option(
    "--where", multiple=True, metavar="KEY=VALUE", help=f"Only letters with this value; KEY is {', '.join(KEYS)}."
)


@click.group("dead-letters")
def dead_letters() -> None:
    """Records that could not be stored: list, show, or try them again."""


@dead_letters.command("list", cls=BackfillCommand)
@where_option
@click.pass_obj
def list_letters(output: Output, where: Sequence[str]) -> None:
    """List the quarantined records and why each was refused."""
    from rich.table import Table

    with _wiring() as wiring:
        found = _matching(wiring, where)
    rows = [_row(letter) for letter in found]
    table = Table()
    for name in ("id", "tenant", "service", "table", "partition", "record", "version", "reason", "seen"):
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*map(str, row.values()))
    output.table(rows, table)
    output.remark(f"{len(rows)} dead letters")


@dead_letters.command("show", cls=BackfillCommand)
@click.argument("letter_id", metavar="ID")
@click.pass_obj
def show_letter(output: Output, letter_id: str) -> None:
    """Show the dead letter ID whole, with the record as its source sent it."""
    with _wiring() as wiring:
        found = [letter for letter in wiring.dead_letters.letters() if letter.id == letter_id]
    if not found:
        raise UsageError(f"there is no dead letter {letter_id!r}; `backfill dead-letters list` shows the ids")
    row = {**_row(found[0]), "domain": found[0].domain, "run_id": found[0].run_id}
    payload = json.loads(found[0].payload)
    told = [f"{name}: {value}" for name, value in row.items()]
    text = "\n".join([*told, json.dumps(payload, ensure_ascii=False, indent=2)])
    output.facts({**row, "payload": payload}, text=text)


@dead_letters.command("retry", cls=BackfillCommand)
@where_option
@click.pass_obj
def retry_dead_letters(output: Output, where: Sequence[str]) -> None:
    """Fetch the records anew, just them, and store those that fit by now."""
    from backfill_assets.cli.instance import open_instance
    from backfill_assets.resources import open_wiring
    from backfill_assets.settings import load_settings

    settings = load_settings()
    with open_instance(settings) as instance, open_wiring(settings) as wiring:
        retried = list(_retried(wiring, instance, _matching(wiring, where)))
    answered = [(group, answer) for group in retried for answer in group.answered]
    told = [f"{group.name} {answer.letter.record_id}: {answer.fate}, {answer.reason}" for group, answer in answered]
    marked = [partition for group in retried for partition in group.marked]
    problems = [f"{group.name}: {group.problem}" for group in retried if group.problem]
    facts = {
        "letters": [{"id": a.letter.id, "fate": str(a.fate), "reason": a.reason} for _, a in answered],
        "partitions": marked,
        "problems": problems,
    }
    marks = f"marked {', '.join(marked)}" if marked else "no partition was touched"
    output.facts(facts, text="\n".join([*told, marks]) if told else "no dead letter was tried")
    if problems:
        raise PermanentError("; ".join(problems))


def _retried(
    wiring: "Wiring", instance: "DagsterInstance", letters: Sequence["DeadLetter"]
) -> "Iterator[TableRetried | ModelRetried | MonthRetried]":
    """Each domain tries its own."""
    from backfill_assets.configuration.domains import PROCESS_METADATA, TENANT_HISTORY, WORK_ORDERS
    from backfill_assets.process_metadata import retrying as process_metadata
    from backfill_assets.tenant_history import retrying as tenant_history
    from backfill_assets.work_orders import retrying as work_orders

    def of(domain: str) -> list["DeadLetter"]:
        return [letter for letter in letters if letter.domain == domain]

    yield from tenant_history.retry_letters(wiring, instance, of(TENANT_HISTORY))
    yield from process_metadata.retry_letters(wiring, instance, of(PROCESS_METADATA))
    yield from work_orders.retry_letters(wiring, instance, of(WORK_ORDERS))


def _wiring() -> Any:
    from backfill_assets.resources import open_wiring
    from backfill_assets.settings import load_settings

    return open_wiring(load_settings())


def _matching(wiring: "Wiring", where: Sequence[str]) -> Sequence["DeadLetter"]:
    wanted = dict(_condition(text) for text in where)
    return [
        letter
        for letter in wiring.dead_letters.letters()
        if all(getattr(letter, key) == value for key, value in wanted.items())
    ]


def _condition(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or key not in KEYS:
        raise UsageError(f"--where {text!r} cannot be read; write KEY=VALUE with one of the keys {', '.join(KEYS)}")
    return key, value


def _row(letter: "DeadLetter") -> dict[str, Any]:
    return {
        "id": letter.id,
        "tenant": letter.tenant,
        "service": letter.service,
        "table": letter.table,
        "partition": letter.partition,
        "record": letter.record_id,
        "version": letter.version,
        "reason": letter.reason,
        "seen": letter.seen_at.isoformat(),
    }
