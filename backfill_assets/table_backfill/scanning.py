"""Reads the text in which the platform keeps filters: clauses joined by `;`, each column, operator and value.

Here belongs the grammar of that text and nothing else: what its parts mean belongs to `filters.py`.

The platform writes quoted values without doubling the quotes in them, so where a literal ends has to be told from what
follows: it ends at a quote that is followed by the end, or by `;` and another column with its operator; `''` is one
quote. A text that can be read in more than one way is refused.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from backfill_assets.core.tables import Operator
from backfill_assets.errors import PermanentError

MOST_CLAUSES = 5
LONGEST_FILTER = 10_000
SHOWN = 60

_COLUMN = r'"(?:[^"\x00]|"")+"|[^\W\d][\w$]*'
_OPERATOR = r"IS\s+NOT\s+NULL\b|IS\s+NULL\b|ILIKE\b|LIKE\b|BETWEEN\b|IN\b|!=|>=|<=|=|>|<"
_HEAD = re.compile(rf"\s*(?P<column>{_COLUMN})\s*(?P<operator>{_OPERATOR})\s*", re.IGNORECASE)
_END = re.compile(r"[\s;]*\Z")
_NEXT = re.compile(rf"\s*;[\s;]*(?={_HEAD.pattern.replace('?P<column>', '?:').replace('?P<operator>', '?:')})", re.I)
_BARE = re.compile(r"[\w.+:/-]+")
_STRICT = r"'(?:[^']|'')*'|[\w.+:/-]+"
_BETWEEN = re.compile(rf"(?P<low>{_STRICT})\s+AND\s+(?P<high>{_STRICT})", re.IGNORECASE)
_LIST = re.compile(rf"\(\s*(?:(?:{_STRICT})\s*,\s*)*(?:{_STRICT})\s*\)")
_ELEMENT = re.compile(_STRICT)

_UNARY = (Operator.IS_NULL, Operator.IS_NOT_NULL)


@dataclass(frozen=True, kw_only=True)
class Clause:
    """A column, an operator and as many texts as the operator takes."""

    column: str
    operator: Operator
    values: tuple[str, ...] = ()


def scan(text: str) -> tuple[Clause, ...]:
    """The clauses of a text, all of which must hold; raises `PermanentError` with a sentence for any other text."""
    if len(text) > LONGEST_FILTER:
        raise PermanentError(f"The filter is longer than {LONGEST_FILTER} characters; write a shorter one")
    if _END.match(text):
        return ()
    readings = _Readings(text).all_from(0, MOST_CLAUSES + 1)
    if not readings:
        raise PermanentError(f"The filter cannot be read{_where(text)}; write COLUMN OPERATOR VALUE, joined by ;")
    if len(readings) > 1:
        raise PermanentError(
            f"The filter can be read in two ways, as {len(readings[0])} and as {len(readings[1])} conditions: "
            f"{_shown(text)}. Write it without quotes followed by ; in a value"
        )
    [clauses] = readings
    return clauses


class _Readings:
    """All ways to read a text, of which two are enough to know that it is ambiguous."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.all_from = cache(self._all_from)

    def _all_from(self, start: int, most: int) -> tuple[tuple[Clause, ...], ...]:
        if not most:
            # One too many has been read already, which is enough to know that there are too many.
            return ((),)
        head = _HEAD.match(self._text, start)
        if head is None:
            return ()
        found: list[tuple[Clause, ...]] = []
        operator = Operator(re.sub(r"\s+", " ", head["operator"].upper()))
        for values, end in self._values(operator, head.end()):
            clause = Clause(column=_column(head["column"]), operator=operator, values=values)
            for rest in self._rests(end, most - 1):
                found.append((clause, *rest))
                if len(found) > 1:
                    return tuple(found)
        return tuple(found)

    def _rests(self, end: int, most: int) -> tuple[tuple[Clause, ...], ...]:
        if _END.match(self._text, end):
            return ((),)
        following = _NEXT.match(self._text, end)
        return self.all_from(following.end(), most) if following else ()

    def _values(self, operator: Operator, start: int) -> Iterator[tuple[tuple[str, ...], int]]:
        text = self._text
        if operator in _UNARY:
            yield (), start
        elif operator is Operator.IN:
            if (found := _LIST.match(text, start)) and self._is_boundary(found.end()):
                yield tuple(_plain(one) for one in _ELEMENT.findall(found[0])), found.end()
        elif operator is Operator.BETWEEN:
            if (found := _BETWEEN.match(text, start)) and self._is_boundary(found.end()):
                yield (_plain(found["low"]), _plain(found["high"])), found.end()
        elif text.startswith("'", start):
            yield from (((value,), end) for value, end in self._literals(start + 1))
        elif (found := _BARE.match(text, start)) and self._is_boundary(found.end()):
            yield (found[0],), found.end()

    def _literals(self, start: int) -> Iterator[tuple[str, int]]:
        """The ways in which a literal that begins here can end: its value, and where the text goes on."""
        text, parts, at = self._text, list[str](), start
        while (quote := text.find("'", at)) >= 0:
            parts.append(text[at:quote])
            if text.startswith("''", quote):
                if self._is_boundary(quote + 2):
                    # A quote of the value, and the one that ends it: the platform doubles none.
                    yield "".join([*parts, "'"]), quote + 2
                at = quote + 2
            elif self._is_boundary(quote + 1):
                yield "".join(parts), quote + 1
                return
            else:
                at = quote + 1
            parts.append("'")

    def _is_boundary(self, at: int) -> bool:
        return bool(_END.match(self._text, at) or _NEXT.match(self._text, at))


def _column(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def _plain(literal: str) -> str:
    return literal[1:-1].replace("''", "'") if literal.startswith("'") else literal


def _where(text: str) -> str:
    head = _HEAD.match(text)
    return f" after {head['column']} {head['operator']}" if head else f" ({_shown(text)})"


def _shown(text: str) -> str:
    return repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}...")
