"""The statements that read work orders from Snowflake.

Here belongs the SQL. Moments are asked for as microseconds since 1970, which is the same for every type that a column
of moments can have; names come from the settings and are quoted where they need it, values are bound.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from backfill_assets.core.orders import (
    COLUMNS,
    DATE,
    DATES,
    DIGEST_DIGITS,
    ID,
    TEXT,
    Position,
    Span,
)
from backfill_assets.core.windows import BEGINNING
from backfill_assets.errors import ConfigurationError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SHORT = {"id": ID, "text": TEXT, "date": DATE}
"""What the settings call the three columns that a record must have."""


def microseconds(moment: datetime) -> int:
    """Since 1970."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def source_columns(named: Mapping[str, str]) -> Mapping[str, str]:
    """The source's names by ours; raises `ConfigurationError` for a column that we do not have."""
    found = {SHORT.get(ours, ours): theirs for ours, theirs in named.items()}
    if unknown := sorted(found.keys() - set(COLUMNS)):
        raise ConfigurationError(
            f"BACKFILL_WORK_ORDERS_COLUMNS names {unknown[0]!r}, which is no column of ours; "
            f"there are {', '.join((*SHORT, *(name for name in COLUMNS if name not in SHORT.values())))}"
        )
    return found


@dataclass(frozen=True, kw_only=True)
class Statements:
    """Statements on one table; `columns` are its names by ours."""

    table: str
    columns: Mapping[str, str]

    @property
    def names(self) -> Sequence[str]:
        """The columns that are read, in the order in which they are."""
        return [name for name in COLUMNS if name in self.columns]

    def probe(self) -> str:
        """Nothing, of all columns."""
        return f"SELECT {self._selected} FROM {self.table} LIMIT 0"  # noqa: S608 - names of the settings

    def standing(self, span: Span) -> tuple[str, Sequence[Any]]:
        """How many records there are, and the sum of their ids' digests."""
        digits = (
            f"(POSITION(SUBSTR(MD5({self._id}), {place + 1}, 1), '0123456789abcdef') - 1) * "
            f"{16 ** (DIGEST_DIGITS - 1 - place)}"
            for place in range(DIGEST_DIGITS)
        )
        where, values = self._where(span)
        # Told as text: so large a number may come as one that has lost its last digits.
        total = f"TO_VARCHAR(CAST(COALESCE(SUM(CAST({' + '.join(digits)} AS NUMBER(38, 0))), 0) AS NUMBER(38, 0)))"
        return f"SELECT COUNT(*), {total} FROM {self.table} WHERE {where}", values  # noqa: S608 - names of the settings

    def duplicates(self) -> str:
        """Ids that are there more than once, with the moment of the newest record."""
        newest = f"MAX({self._moment(DATE)})"
        groups = f"{self._id} <> '' GROUP BY {self._id} HAVING COUNT(*) > 1"
        return f"SELECT {self._id}, {newest} FROM {self.table} WHERE {groups}"  # noqa: S608 - names of the settings

    def page(self, span: Span, after: Position | None, limit: int) -> tuple[str, Sequence[Any]]:
        """Records beyond a position, in their order."""
        where, values = self._where(span)
        if after is not None:
            where += f" AND ({self._at} > ? OR ({self._at} = ? AND {self._id} > ?))"
            at = microseconds(after.at)
            values = [*values, at, at, after.id]
            if after.at > BEGINNING:
                # The bare column again, so that what was read is not looked at for every page; a little earlier, since
                # moments are cut to microseconds.
                where += f" AND {self._quoted(DATE)} >= TO_TIMESTAMP_NTZ(?)"
                values = [*values, _written(after.at - timedelta(milliseconds=1))]
        order = f"ORDER BY {self._at}, {self._id} LIMIT {int(limit)}"
        return f"SELECT {self._selected} FROM {self.table} WHERE {where} {order}", values  # noqa: S608

    def fetch(self, ids: Sequence[str]) -> tuple[str, Sequence[Any]]:
        """The records with these ids."""
        marks = ", ".join("?" for _ in ids)
        where = f"{self._id} IN ({marks}) ORDER BY {self._at}, {self._id}"
        return f"SELECT {self._selected} FROM {self.table} WHERE {where}", list(ids)  # noqa: S608 - names of the settings

    @property
    def _selected(self) -> str:
        return ", ".join(
            f"{self._moment(name) if name in DATES else f'TO_VARCHAR({self._quoted(name)})'} AS {name}"
            for name in self.names
        )

    def _where(self, span: Span) -> tuple[str, Sequence[Any]]:
        # The bare column, so that Snowflake reads only the parts of the table that can hold such records.
        date, end = self._quoted(DATE), _written(span.end)
        if span.holds_undated:
            return f"({date} < TO_TIMESTAMP_NTZ(?) OR {date} IS NULL)", [end]
        return f"{date} >= TO_TIMESTAMP_NTZ(?) AND {date} < TO_TIMESTAMP_NTZ(?)", [_written(span.start), end]

    @property
    def _at(self) -> str:
        return f"COALESCE({self._moment(DATE)}, {microseconds(BEGINNING)})"

    @property
    def _id(self) -> str:
        return f"COALESCE(TO_VARCHAR({self._quoted(ID)}), '')"

    def _moment(self, name: str) -> str:
        return f"DATE_PART(EPOCH_MICROSECOND, {self._quoted(name)})"

    def _quoted(self, name: str) -> str:
        theirs = self.columns[name]
        plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_$]*", theirs)
        return theirs if plain else '"' + theirs.replace('"', '""') + '"'


def _written(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"
