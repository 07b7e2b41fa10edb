"""How SOQL is written: from text to a query on the fields that an object has.

    SELECT Id, Name FROM Account WHERE SystemModstamp >= 2024-01-01T00:00:00Z AND (Name LIKE 'A%' OR Phone = null)
    ORDER BY SystemModstamp, Id LIMIT 10

As in Salesforce, AND and OR do not mix without parentheses. What the parts mean belongs to `soql.py`.
"""

import re
from collections.abc import Callable, Iterator
from datetime import date
from typing import NamedTuple

from backfill_assets.sandbox.dataset import as_moment
from backfill_assets.sandbox.logic import WHATEVER, And, Node, Not, Or
from backfill_assets.sandbox.ordering import Order
from backfill_assets.sandbox.salesforce.schema import OBJECTS, Field, SObject
from backfill_assets.sandbox.salesforce.soql import (
    LARGEST_OFFSET,
    Comparison,
    Moment,
    Soql,
    SoqlError,
    Value,
    any_of,
    require_fit,
)

DEEPEST = 50
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>'(?:[^'\\]|\\.)*')
    | (?P<moment>\d{4}-\d\d-\d\dT[0-9:.]+(?:Z|[+-]\d\d:?\d\d))
    | (?P<day>\d{4}-\d\d-\d\d(?![\w:]))
    | (?P<number>[+-]?\d+(?:\.\d+)?(?![\w.]))
    | (?P<word>[A-Za-z_][\w.]*)
    | (?P<sign><=|>=|!=|<>|=|<|>|\(|\)|,)
    )""",
    re.VERBOSE,
)
_OPERATORS = ("=", "!=", "<>", "<", "<=", ">", ">=")


def parse(text: str) -> Soql:
    """Read a query; raises `SoqlError`."""
    return _Parser(list(_tokens(text))).query()


class _Token(NamedTuple):
    kind: str
    text: str

    def is_word(self, word: str) -> bool:
        return self.kind == "word" and self.text.upper() == word


def _tokens(text: str) -> Iterator[_Token]:
    place = 0
    while text[place:].strip():
        match = _TOKEN.match(text, place)
        if match is None or match.lastgroup is None:
            raise _malformed(f"unexpected token: '{text[place:].strip()[:20]}'")
        yield _Token(match.lastgroup, match.group(match.lastgroup))
        place = match.end()


class _Parser:
    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = [*tokens, _Token("end", "<EOF>")]
        self._next = 0
        self._depth = 0

    def query(self) -> Soql:
        self._expect_word("SELECT")
        names = self._selected()
        self._expect_word("FROM")
        sobject = _object(self._word())
        condition = self._condition(sobject) if self._take_word("WHERE") else WHATEVER
        orders = self._orders(sobject) if self._take_word("ORDER") else ()
        limit = self._whole() if self._take_word("LIMIT") else None
        offset = self._whole() if self._take_word("OFFSET") else 0
        if self._token.kind != "end":
            raise self._surprise()
        if offset > LARGEST_OFFSET:
            raise SoqlError("NUMBER_OUTSIDE_VALID_RANGE", f"Maximum SOQL offset allowed is {LARGEST_OFFSET}")
        fields = tuple(_field(sobject, name) for name in names)
        return Soql(sobject=sobject, fields=fields, condition=condition, orders=orders, limit=limit, offset=offset)

    def _selected(self) -> list[str]:
        if self._take_word("COUNT"):
            self._expect_sign("(")
            self._expect_sign(")")
            return []
        names = [self._word()]
        while self._take_sign(","):
            names.append(self._word())
        return names

    def _orders(self, sobject: SObject) -> tuple[Order, ...]:
        self._expect_word("BY")
        orders = [self._order(sobject)]
        while self._take_sign(","):
            orders.append(self._order(sobject))
        return tuple(orders)

    def _order(self, sobject: SObject) -> Order:
        field = _field(sobject, self._word())
        if field.type in ("address", "textarea"):
            raise _malformed(f"field '{field.name}' can not be sorted in a query call")
        descending = self._take_word("DESC")
        if not descending:
            self._take_word("ASC")
        return Order(field=field.name, descending=descending)

    def _condition(self, sobject: SObject) -> Node:
        parts = [self._single(sobject)]
        joined = self._joined()
        while joined and self._take_word(joined):
            parts.append(self._single(sobject))
        if self._joined():
            raise self._surprise()
        if len(parts) == 1:
            return parts[0]
        return Or(parts=tuple(parts)) if joined == "OR" else And(parts=tuple(parts))

    def _joined(self) -> str:
        return next((word for word in ("AND", "OR") if self._token.is_word(word)), "")

    def _single(self, sobject: SObject) -> Node:
        if self._take_word("NOT"):
            return Not(part=self._deeper(lambda: self._single(sobject)))
        if self._take_sign("("):
            node = self._deeper(lambda: self._condition(sobject))
            self._expect_sign(")")
            return node
        return self._comparison(sobject)

    def _deeper(self, rule: Callable[[], Node]) -> Node:
        self._depth += 1
        if self._depth > DEEPEST:
            raise _malformed(f"more than {DEEPEST} levels of parentheses")
        node = rule()
        self._depth -= 1
        return node

    def _comparison(self, sobject: SObject) -> Node:
        field = _field(sobject, self._word())
        if field.type in ("address", "textarea"):
            raise SoqlError("INVALID_FIELD", f"field '{field.name}' can not be filtered in a query call")
        if self._take_word("IN"):
            return any_of(sobject, field, self._values(field))
        if self._take_word("NOT"):
            self._expect_word("IN")
            return Not(part=any_of(sobject, field, self._values(field)))
        operator = self._operator()
        value = self._value(field, operator)
        return Comparison(sobject=sobject, field=field, operator=operator, value=value)

    def _operator(self) -> str:
        if self._take_word("LIKE"):
            return "LIKE"
        found = next((sign for sign in _OPERATORS if self._take_sign(sign)), None)
        if found is None:
            raise self._surprise()
        return "!=" if found == "<>" else found

    def _values(self, field: Field) -> tuple[Value, ...]:
        self._expect_sign("(")
        values = [self._value(field, "=")]
        while self._take_sign(","):
            values.append(self._value(field, "="))
        self._expect_sign(")")
        return tuple(values)

    def _value(self, field: Field, operator: str) -> Value:
        value = _value_of(self._token)
        require_fit(field, operator, value)
        self._next += 1
        return value

    def _whole(self) -> int:
        token = self._token
        if token.kind != "number" or not token.text.isdigit():
            raise self._surprise()
        self._next += 1
        return int(token.text)

    @property
    def _token(self) -> _Token:
        return self._tokens[self._next]

    def _word(self) -> str:
        token = self._token
        if token.kind != "word":
            raise self._surprise()
        self._next += 1
        return token.text

    def _take_word(self, word: str) -> bool:
        taken = self._token.is_word(word)
        self._next += taken
        return taken

    def _take_sign(self, sign: str) -> bool:
        taken = self._token == ("sign", sign)
        self._next += taken
        return taken

    def _expect_word(self, word: str) -> None:
        if not self._take_word(word):
            raise self._surprise()

    def _expect_sign(self, sign: str) -> None:
        if not self._take_sign(sign):
            raise self._surprise()

    def _surprise(self) -> SoqlError:
        return _malformed(f"unexpected token: '{self._token.text}'")


def _malformed(message: str) -> SoqlError:
    return SoqlError("MALFORMED_QUERY", message)


def _object(name: str) -> SObject:
    found = next((sobject for key, sobject in OBJECTS.items() if key.casefold() == name.casefold()), None)
    if found is None:
        raise SoqlError("INVALID_TYPE", f"sObject type '{name}' is not supported.")
    return found


def _field(sobject: SObject, name: str) -> Field:
    field = sobject.field(name)
    if field is None:
        raise SoqlError("INVALID_FIELD", f"No such column '{name}' on entity '{sobject.name}'.")
    return field


def _value_of(token: _Token) -> Value:
    try:
        match token.kind:
            case "string":
                return re.sub(r"\\(.)", r"\1", token.text[1:-1])
            case "moment":
                return Moment(as_moment(token.text))
            case "day":
                return date.fromisoformat(token.text)
            case "number":
                return float(token.text)
            case "word" if token.text.upper() in ("TRUE", "FALSE", "NULL"):
                return {"TRUE": True, "FALSE": False, "NULL": None}[token.text.upper()]
    except ValueError:
        raise _malformed(f"line 1: '{token.text}' is not a date") from None
    raise _malformed(f"unexpected token: '{token.text}'")
