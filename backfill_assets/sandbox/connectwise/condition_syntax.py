"""How ConnectWise's `conditions` parameter is written: from text to a tree.

    closedFlag = False and (board/name = "Help Desk" or priority/id in (1, 2)) and lastUpdated >= [2024-01-01T00:00:00Z]

What the parts of the tree mean belongs to `conditions.py`.
"""

import re
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from backfill_assets.errors import UsageError
from backfill_assets.sandbox.connectwise.conditions import OPERATORS, UPDATED, Comparison, Membership, Moment, Value
from backfill_assets.sandbox.dataset import as_moment
from backfill_assets.sandbox.logic import And, Node, Not, Or

DEEPEST = 50
_KEYWORDS = {"and", "or", "not", "in", "like", "contains", "true", "false", "null"}
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>"(?:[^"\\]|\\.)*")
    | \[(?P<moment>[^\]]*)\]
    | (?P<number>-?\d+(?:\.\d+)?(?![\w/]))
    | (?P<word>[A-Za-z_]\w*(?:/\w+)*)
    | (?P<sign><=|>=|!=|=|<|>|\(|\)|,)
    )""",
    re.VERBOSE,
)


def parse(text: str, *, known: Collection[str]) -> Node:
    """Read a condition on the `known` fields; raises UsageError with the place at which it stops making sense."""
    return _Parser(list(_tokens(text)), known).whole()


class _Token(NamedTuple):
    kind: str
    text: str
    place: int


def _tokens(text: str) -> Iterator[_Token]:
    place = 0
    while text[place:].strip():
        match = _TOKEN.match(text, place)
        if match is None or match.lastgroup is None:
            raise UsageError(f"unexpected {text[place:].strip()[:20]!r} at position {place}")
        kind, found = match.lastgroup, match.group(match.lastgroup)
        if kind == "word" and found.lower() in _KEYWORDS:
            kind, found = found.lower(), found.lower()
        yield _Token(found if kind == "sign" else kind, found, match.start(match.lastgroup))
        place = match.end()


class _Parser:
    def __init__(self, tokens: list[_Token], known: Collection[str]) -> None:
        self._known = known
        self._tokens = [*tokens, _Token("end", "the end", -1)]
        self._next = 0
        self._depth = 0

    def whole(self) -> Node:
        node = self._either()
        self._expect("end")
        return node

    def _either(self) -> Node:
        parts = [self._both()]
        while self._take("or"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else Or(parts=tuple(parts))

    def _both(self) -> Node:
        parts = [self._single()]
        while self._take("and"):
            parts.append(self._single())
        return parts[0] if len(parts) == 1 else And(parts=tuple(parts))

    def _single(self) -> Node:
        if self._take("not"):
            return Not(part=self._deeper(self._single))
        if self._take("("):
            node = self._deeper(self._either)
            self._expect(")")
            return node
        return self._comparison()

    def _deeper(self, rule: Callable[[], Node]) -> Node:
        self._depth += 1
        if self._depth > DEEPEST:
            raise UsageError(f"more than {DEEPEST} levels of parentheses")
        node = rule()
        self._depth -= 1
        return node

    def _comparison(self) -> Node:
        path = self._path(self._expect("word"))
        negated = self._take("not") is not None
        node = self._membership(path) if self._take("in") else self._operation(path, negated)
        return Not(part=node) if negated else node

    def _path(self, field: _Token) -> tuple[str, ...]:
        path = UPDATED if field.text == "lastUpdated" else tuple(field.text.split("/"))
        if path[0] not in self._known:
            raise UsageError(f"there is no field {field.text!r}, named at position {field.place}")
        return path

    def _operation(self, path: tuple[str, ...], negated: bool) -> Node:
        wanted = ("like", "contains") if negated else tuple(OPERATORS)
        operator = next((token for kind in wanted if (token := self._take(kind))), None)
        if operator is None:
            raise self._surprise("an operator")
        place, value = self._tokens[self._next].place, self._value()
        if operator.kind in ("like", "contains") and not isinstance(value, str):
            raise UsageError(f"{operator.kind} needs a string at position {place}")
        if path == UPDATED and value is not None and not isinstance(value, Moment):
            raise UsageError(f"lastUpdated needs a datetime in square brackets at position {place}")
        return Comparison(path=path, operator=operator.kind, value=value)

    def _membership(self, path: tuple[str, ...]) -> Node:
        self._expect("(")
        values = [self._value()]
        while self._take(","):
            values.append(self._value())
        self._expect(")")
        return Membership(path=path, values=tuple(values))

    def _value(self) -> Value:
        token = self._tokens[self._next]
        if token.kind not in _VALUES:
            raise self._surprise("a value")
        self._next += 1
        return _VALUES[token.kind](token)

    def _take(self, kind: str) -> _Token | None:
        token = self._tokens[self._next]
        if token.kind != kind:
            return None
        self._next += 1
        return token

    def _expect(self, kind: str) -> _Token:
        if (token := self._take(kind)) is None:
            raise self._surprise({"word": "a field", "end": "the end"}.get(kind, repr(kind)))
        return token

    def _surprise(self, expected: str) -> UsageError:
        token = self._tokens[self._next]
        where = "at the end" if token.kind == "end" else f"at position {token.place}, found {token.text!r}"
        return UsageError(f"expected {expected} {where}")


def _moment(token: _Token) -> Moment:
    try:
        return Moment(as_moment(token.text.strip()))
    except ValueError:
        raise UsageError(f"[{token.text}] at position {token.place} is not a datetime") from None


_VALUES: dict[str, Callable[[_Token], Value]] = {
    "string": lambda token: re.sub(r"\\(.)", r"\1", token.text[1:-1]),
    "moment": _moment,
    "number": lambda token: float(token.text),
    "true": lambda token: True,
    "false": lambda token: False,
    "null": lambda token: None,
}
