"""Asking for a job: what a person wants is checked against the live table before it waits in the queue.

Here belongs what the command line and the UI have in common. Other programs write to the queue as they always did.
"""

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from backfill_assets.core.jobs import Job, JobQueue, Options, SourceServer
from backfill_assets.core.tables import OnConflict, Operator, TableShape, TableSource
from backfill_assets.errors import PermanentError, UsageError
from backfill_assets.table_backfill.filters import parse, read_filter, write_clause

SHOWN = 20
_OPERATORS = "|".join(
    re.escape(operator).replace(r"\ ", r"\s+") + (r"\b" if operator[-1].isalpha() else "")
    for operator in sorted(Operator, key=len, reverse=True)
)
_FILTER = re.compile(rf'\s*(?P<column>"(?:[^"]|"")+"|\S+?)\s*(?P<operator>{_OPERATORS})\s*(?P<rest>.*)', re.I | re.S)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A column compared, as a person says it."""

    column: str
    operator: Operator
    values: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Request:
    """A job that a person asks for."""

    pipeline_id: int
    table: str
    filters: Sequence[Asked] = ()
    options: Options = field(default_factory=Options)


@dataclass(frozen=True, kw_only=True)
class Requesting:
    """Puts jobs into the queue."""

    queue: JobQueue
    open_source: Callable[[SourceServer], AbstractContextManager[TableSource]]

    def add(self, request: Request) -> Job:
        """Add the job; raises `UsageError` with a sentence where it would fail."""
        self.check(request)
        return self.queue.add(
            pipeline_id=request.pipeline_id,
            table_name=request.table,
            filter_sql=filter_text(request.filters),
            options=request.options,
        )

    def check(self, request: Request) -> TableShape:
        """The table, when all that is asked fits it."""
        server = self.queue.pipeline_source(request.pipeline_id)
        known = self.queue.tables_of(request.pipeline_id)
        if request.table not in known:
            raise UsageError(
                f"pipeline {request.pipeline_id} synchronises no table {request.table!r}; it has {_few(known)}"
            )
        with self.open_source(server) as source:
            shape = source.shape(request.table)
        if shape is None:
            raise UsageError(f"Table '{request.table}' does not exist in source")
        try:
            read_filter(filter_text(request.filters), shape)
        except PermanentError as error:
            raise UsageError(str(error)) from None
        self._check_options(request.options, shape)
        return shape

    def _check_options(self, options: Options, shape: TableShape) -> None:
        column = options.version_column
        if options.on_conflict is OnConflict.NEWEST and column is None:
            raise UsageError("newest needs to know which of two rows is newer; name the column with --version-column")
        if column is not None and options.on_conflict is not OnConflict.NEWEST:
            raise UsageError(f"--version-column {column} makes sense only with --on-conflict newest")
        if column is not None and shape.column(column) is None:
            raise UsageError(
                f"table {shape.name} has no column {column!r}; it has {_few([c.name for c in shape.columns])}"
            )


def filter_text(filters: Sequence[Asked]) -> str | None:
    """The filters as the queue keeps them; raises `UsageError` where they would be read otherwise."""
    if not filters:
        return None
    try:
        text = ";".join(write_clause(one.column, one.operator, one.values) for one in filters)
        parse(text)
    except PermanentError as error:
        raise UsageError(str(error)) from None
    return text


def asked_from(text: str) -> Asked:
    """A filter as it is typed: COLUMN OPERATOR VALUE, where the value is all that follows, quotes and all."""
    found = _FILTER.fullmatch(text)
    if found is None:
        raise UsageError(
            f"--filter {text!r} cannot be read; write COLUMN OPERATOR VALUE with one of {', '.join(Operator)}"
        )
    operator = Operator(re.sub(r"\s+", " ", found["operator"].upper()))
    column = found["column"]
    column = column[1:-1].replace('""', '"') if column.startswith('"') else column
    return Asked(column=column, operator=operator, values=values_from(operator, found["rest"].strip()))


def values_from(operator: Operator, text: str) -> tuple[str, ...]:
    """The values that a typed text stands for: a comma list for IN, two joined by AND for BETWEEN."""
    match operator:
        case Operator.IS_NULL | Operator.IS_NOT_NULL:
            if text:
                raise UsageError(f"{operator} takes no value, but {text!r} follows it")
            return ()
        case Operator.IN:
            values = tuple(part.strip() for part in text.split(","))
            if "" in values:
                raise UsageError(f"IN takes a list like 1,2,3, and {text!r} has an empty value")
            return values
        case Operator.BETWEEN:
            bounds = re.split(r"\s+AND\s+", text, flags=re.I)
            if len(bounds) != 2:
                raise UsageError(f"BETWEEN takes two values like 1 AND 5, not {text!r}")
            return tuple(bounds)
        case _:
            return (text,)


def _few(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join([*names[:SHOWN], *([f"and {more} more"] if more > 0 else [])]) or "none"
