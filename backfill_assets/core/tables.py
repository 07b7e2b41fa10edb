"""Rows of a table on their way from a source to a destination: the values, and what both ends are asked for.

Here belong the values and the interfaces. Databases and folders, and their twins in memory, belong to
`adapters/tables`; which job copies what belongs to `table_backfill`.

A key is the texts of a row's key columns, as the source writes them: only the source compares keys, in its own order.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, TypeAlias

Key: TypeAlias = tuple[str, ...]
"""The texts of a row's key columns, in the order of `TableShape.key`."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column; `type` is spelt as its database spells it, with length or precision.

    A `generated` column is computed by its database, by `expression`, and never written. `labels` are those of an
    enumeration. One `by_text` is moved as text, for its binary form names types by the numbers of its own
    database, which servers before PostgreSQL 14 refuse.
    """

    name: str
    type: str
    nullable: bool = True
    generated: bool = False
    expression: str = ""
    identity: str = ""
    labels: tuple[str, ...] = ()
    by_text: bool = False


@dataclass(frozen=True, kw_only=True)
class TableShape:
    """A table as its database describes it; `key` is empty where no column tells one row from every other."""

    schema: str
    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """For a person's eyes."""
        return f"{self.schema}.{self.name}"

    @property
    def written(self) -> tuple[str, ...]:
        """The columns that a copy of the table has to be given."""
        return tuple(column.name for column in self.columns if not column.generated)

    def column(self, name: str) -> Column | None:
        """The column of exactly this name."""
        return next((column for column in self.columns if column.name == name), None)


class Operator(StrEnum):
    """What a condition can ask."""

    EQUAL = "="
    NOT_EQUAL = "!="
    GREATER = ">"
    LESS = "<"
    GREATER_OR_EQUAL = ">="
    LESS_OR_EQUAL = "<="
    LIKE = "LIKE"
    ILIKE = "ILIKE"
    IS_NULL = "IS NULL"
    IS_NOT_NULL = "IS NOT NULL"
    IN = "IN"
    BETWEEN = "BETWEEN"


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One column compared; the values are texts, which the source reads as values of the column's type.

    None for the two that ask for nulls, two for BETWEEN, one or more for IN, else one.
    """

    column: str
    operator: Operator
    values: tuple[str, ...] = ()


class Logic(StrEnum):
    """How the members of a group are joined."""

    AND = "AND"
    OR = "OR"


@dataclass(frozen=True, kw_only=True)
class Group:
    """Conditions and groups, joined as if in parentheses."""

    logic: Logic
    members: tuple["Condition | Group", ...]


Filter: TypeAlias = Condition | Group | None
"""None lets every row pass."""


class OnConflict(StrEnum):
    """What becomes of a row whose key is at the destination already."""

    NEWEST = "newest"  # replaced, unless its version is newer
    KEEP = "keep"
    OVERWRITE = "overwrite"


@dataclass(frozen=True, kw_only=True)
class Load:
    """What one job copies to one destination.

    `target` names the destination's table, with its schema in front or without; `version_column` is given for NEWEST.
    """

    job: str
    shape: TableShape
    target: str
    filter: Filter = None
    on_conflict: OnConflict = OnConflict.OVERWRITE
    version_column: str | None = None
    create_table: bool = False
    batch_rows: int = 10_000


class Form(StrEnum):
    """How the rows of a batch are held."""

    COPY = "copy"  # PostgreSQL's binary COPY format
    ARROW = "arrow"  # a pyarrow.Table
    ROWS = "rows"  # a list of dictionaries, by the twins in memory


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Rows in the order of their keys; `last` is the key of the last one, None where the table has no key."""

    rows: int
    last: Key | None
    content: Any


@dataclass(frozen=True, kw_only=True)
class Span:
    """The rows with `after < key <= upto`; None is no bound."""

    after: Key | None = None
    upto: Key | None = None

    def __str__(self) -> str:
        return f"({_shown(self.after, 'start')}, {_shown(self.upto, 'end')}]"


def _shown(key: Key | None, nowhere: str) -> str:
    return nowhere if key is None else ", ".join(key)


@dataclass(frozen=True, kw_only=True)
class Digest:
    """How many rows, and a digest of them that does not depend on their order."""

    rows: int
    digest: str


@dataclass(frozen=True, kw_only=True)
class Position:
    """How far a job got at a destination, all of it committed there."""

    rows: int = 0
    last: Key | None = None
    finished: bool = False


@dataclass(frozen=True, kw_only=True)
class Short:
    """A range of keys whose rows are not all at the destination as they are at the source."""

    span: Span
    missing: int
    different: int

    def __str__(self) -> str:
        return f"{self.span}: {self.missing} missing, {self.different} different"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a comparison found; `source_rows` are those that match now, `changed` those that changed since the start."""

    source_rows: int
    changed: int = 0
    short: tuple[Short, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every row that has not changed since the job began is at the destination."""
        return not self.short


class TableSource(Protocol):
    """Where rows come from; every method raises a `BackfillError` whose sentence names the place."""

    def tables(self) -> Sequence[TableShape]:
        """Every table that can be read, by name."""
        ...

    def shape(self, table: str) -> TableShape | None:
        """The table of this name, with its schema in front or without."""
        ...

    def count(self, shape: TableShape, filter: Filter) -> int:
        """How many rows match now."""
        ...

    def batches(self, load: Load, *, columns: Sequence[str], form: Form, after: Key | None) -> Iterator[Batch]:
        """The rows after this key, a batch at a time, while the next is being read; close it to stop that.

        Without a key: all of them, out of one snapshot.
        """
        ...

    def keys(self, load: Load, span: Span) -> Digest:
        """The keys that match now, for a comparison with `key_digest` of the same rows earlier."""
        ...

    def live(self, load: Load, span: Span) -> Iterator[Key]:
        """The keys that match now, in order."""
        ...

    def spans(self, load: Load, rows: int) -> Sequence[Span]:
        """The table in ranges of about so many matching rows; one where it has no key."""
        ...

    def digest(self, load: Load, span: Span, columns: Sequence[str]) -> Digest:
        """The rows that match in this range."""
        ...

    def fingerprints(self, load: Load, span: Span, columns: Sequence[str]) -> Mapping[Key, str]:
        """A digest of each row that matches in this range."""
        ...

    def snapshot(self) -> str:
        """The present moment, for `changed_since`; empty where the source knows no such thing."""
        ...

    def changed_since(self, load: Load, snapshot: str, keys: Sequence[Key]) -> Sequence[Key]:
        """Which of these rows were written after that moment, or are gone."""
        ...

    def close(self) -> None:
        """Give the connections back."""
        ...


class TableDestination(Protocol):
    """Where rows go; every method raises a `BackfillError` whose sentence names the place.

    The position of a job is kept there, and changes in the transaction that writes the rows.
    """

    def prepare(self, load: Load) -> None:
        """See that the rows can go there, before any is read; makes the table where the job says so."""
        ...

    def position(self, load: Load) -> Position:
        """How far this job got."""
        ...

    def copy(self, load: Load, source: TableSource) -> Iterator[Position]:
        """Copy what is left, and tell after each commit how far that is; what was told is there for good.

        A caller that has enough closes the iterator, and the job goes on from there another time.
        """
        ...

    def verify(self, load: Load, source: TableSource) -> Verdict:
        """Compare both ends anew."""
        ...

    def forget(self, job: str) -> None:
        """Delete what is kept about this job's position; no row of a table is touched."""
        ...

    def close(self) -> None:
        """Give the connections back."""
        ...
