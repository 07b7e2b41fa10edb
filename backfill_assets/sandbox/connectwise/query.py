"""The query string of a ConnectWise request: read, checked, and turned into a selection of records.

Here belongs what `conditions`, `orderBy`, `fields`, `page`, `pageSize` and `pageId` mean. The grammar of conditions
belongs to `condition_syntax.py`.
"""

import math
from dataclasses import dataclass
from functools import reduce
from typing import Any

from starlette.requests import Request

from backfill_assets.errors import UsageError
from backfill_assets.sandbox.connectwise.condition_syntax import parse
from backfill_assets.sandbox.connectwise.conditions import lookup
from backfill_assets.sandbox.ids import RecordId
from backfill_assets.sandbox.logic import WHATEVER, Node
from backfill_assets.sandbox.selection import Box, Json, Selection
from backfill_assets.sandbox.table import Table, merged

DEFAULT_PAGE_SIZE = 25
LARGEST_PAGE = 1000
_ORDERS = {"id": False, "lastupdated": True, "_info/lastupdated": True}
_DIRECTIONS = {"asc": False, "desc": True}


_IDENTITY = frozenset((("id",), ("_info", "lastUpdated"), ("lastUpdated",)))


@dataclass(frozen=True, kw_only=True)
class Fields:
    """Which fields of a record are sent; none named are all."""

    paths: tuple[tuple[str, ...], ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Fields":
        """Read `id,_info/lastUpdated`."""
        return cls(paths=tuple(tuple(part.strip().split("/")) for part in text.split(",") if part.strip()))

    @property
    def is_narrow(self) -> bool:
        """Whether only ids and versions are asked for."""
        return bool(self.paths) and _IDENTITY.issuperset(self.paths)

    def of(self, _record_id: RecordId, record: Json) -> Json:
        """The record with these fields only; those that it lacks are left out."""
        if not self.paths:
            return record
        chosen: Json = {}
        for path in self.paths:
            if (value := lookup(record, path)) is not None or (len(path) == 1 and path[0] in record):
                chosen = merged(chosen, reduce(lambda inner, name: {name: inner}, reversed(path), value))
        return chosen


@dataclass(frozen=True, kw_only=True)
class Query:
    """What a list request asks for."""

    selection: Selection
    page: int
    page_size: int
    forward_only: bool
    fields: Fields

    @property
    def skip(self) -> int:
        """How many records come before the page; forward-only pages begin after an id instead."""
        return 0 if self.forward_only else (self.page - 1) * self.page_size

    @property
    def window(self) -> tuple[float, float]:
        """The range of update times asked for, open ends as infinity."""
        start, end = self.selection.hull.start, self.selection.hull.end
        return (-math.inf if start is None else start, math.inf if end is None else end)


def parse_query(request: Request, table: Table) -> Query:
    """Read a list request; raises UsageError that begins with the parameter at fault."""
    parameters = request.query_params
    forward_only = request.headers.get("pagination-type", "").lower() == "forward-only"
    asked = _conditions(parameters.get("conditions", ""), table)
    after = _whole(parameters.get("pageId", "0"), "pageId", least=0) if forward_only else 0
    by_time, descending = _order("id" if forward_only else parameters.get("orderBy", "id"))
    covered = asked.cover()
    rest = tuple(box.meet(Box(low=after + 1)) for box in covered.boxes)
    return Query(
        selection=Selection(
            boxes=tuple(box for box in rest if not box.is_empty),
            where=None if covered.is_exact else asked.matches,
            by_time=by_time,
            descending=descending,
        ),
        page=_whole(parameters.get("page", "1"), "page", least=1),
        page_size=_whole(parameters.get("pageSize", str(DEFAULT_PAGE_SIZE)), "pageSize", least=1, most=LARGEST_PAGE),
        forward_only=forward_only,
        fields=Fields.parse(parameters.get("fields", "")),
    )


def _conditions(text: str, table: Table) -> Node:
    try:
        return parse(text, known=table.fields) if text.strip() else WHATEVER
    except UsageError as error:
        raise UsageError(f"conditions: {error}") from None


def _order(text: str) -> tuple[bool, bool]:
    """Whether by time, and whether descending; a second order is only let through where it changes nothing."""
    first, *others = (part.split() for part in text.lower().split(","))
    field, direction = (*first, "asc")[:2] if first else ("", "asc")
    known = field in _ORDERS and direction in _DIRECTIONS and len(first) <= 2
    if not known or others not in ([], [["id", direction]]):
        raise UsageError(f"orderBy: cannot order by {text!r}; order by id or lastUpdated, asc or desc")
    return _ORDERS[field], _DIRECTIONS[direction]


def _whole(text: str, name: str, *, least: int, most: float = math.inf) -> int:
    value: Any = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
    if value is None or not least <= value <= most:
        limits = f"from {least} to {most}" if most < math.inf else f"of at least {least}"
        raise UsageError(f"{name}: {text!r} is not a whole number {limits}")
    return int(value)
