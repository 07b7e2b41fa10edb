"""What all commands share: their common options, how an error ends them, and how they print.

What a command does belongs to the module of its subject.
"""

import json
import logging
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from backfill_assets.errors import BackfillError, UsageError

DONE, FAILED, WRONG_USAGE = 0, 1, 2
PORT = click.IntRange(1, 65535)
LONGEST_REASON = 300
OUR_LOGGERS = ("backfill_assets", "httpx")


@dataclass(frozen=True, kw_only=True)
class Output:
    """Where a command prints: facts on standard output, remarks on standard error."""

    as_json: bool
    is_quiet: bool

    def facts(self, facts: Any, *, text: str) -> None:
        """Print what was asked for: as JSON with `--json`, else as text."""
        click.echo(json.dumps(facts, default=str, ensure_ascii=False) if self.as_json else text)

    def table(self, rows: Sequence[Mapping[str, Any]], table: Table) -> None:
        """Print rows: as JSON with `--json`, else as a table."""
        if self.as_json:
            click.echo(json.dumps(rows, default=str, ensure_ascii=False))
        else:
            Console().print(table)

    def remark(self, text: str) -> None:
        """Say something beside the facts; not with `-q`."""
        if not self.is_quiet:
            click.echo(text, err=True)

    @property
    def console(self) -> Console:
        """For tables and progress bars; on standard error, so that facts can be piped."""
        return Console(stderr=True, quiet=self.is_quiet)


class BackfillCommand(click.Command):
    """A command with the options that all have, which ends with a sentence instead of a traceback."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += [
            click.Option(["-v", "--verbose"], is_flag=True, help="Say more."),
            click.Option(["-q", "--quiet"], is_flag=True, help="Say only what was asked for."),
            click.Option(["--json", "as_json"], is_flag=True, help="Print facts as JSON."),
            click.Option(["--debug"], is_flag=True, help="Show the traceback of an error."),
        ]

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; exit 1 when it fails, 2 when it was asked for what cannot be."""
        verbose, debug = ctx.params.pop("verbose"), ctx.params.pop("debug")
        ctx.obj = Output(as_json=ctx.params.pop("as_json"), is_quiet=ctx.params.pop("quiet"))
        _set_up_logging(verbose)
        try:
            return super().invoke(ctx)
        except BackfillError as error:
            if debug:
                raise
            click.echo(f"Error: {error}", err=True)
            ctx.exit(WRONG_USAGE if isinstance(error, UsageError) else FAILED)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise  # click ends the program on these itself
        except Exception as error:  # the last resort: an operator gets a sentence, not a traceback
            if debug:
                raise
            click.echo(f"Error: {_unexpected(error)}", err=True)
            ctx.exit(FAILED)


@contextmanager
def loading() -> Iterator[None]:
    """Let Ctrl-C end the program at once while code is being loaded, when there is nothing to stop yet.

    Else it is an exception, and Python drops one that is raised in certain places of an import: Ctrl-C would be lost.
    """
    before = signal.getsignal(signal.SIGINT)
    is_heard = before is signal.default_int_handler
    if is_heard:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        if is_heard:
            signal.signal(signal.SIGINT, before)


def _set_up_logging(verbose: bool) -> None:
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(message)s")
    # Not the root's level: that would let every library speak.
    for name in OUR_LOGGERS:
        logging.getLogger(name).setLevel(logging.INFO if verbose else logging.WARNING)


def _unexpected(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    reason = f": {lines[0][:LONGEST_REASON]}" if lines else ""
    return f"unexpected {type(error).__name__}{reason}; run it again with --debug to see where"
