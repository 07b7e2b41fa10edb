"""Filters: what each text asks, and that no text asks anything else than it says."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfill_assets.core.tables import Column, Condition, Filter, Group, Logic, Operator, TableShape
from backfill_assets.errors import PermanentError
from backfill_assets.table_backfill.filters import both, read_filter, write_clause
from backfill_assets.table_backfill.scanning import Clause, scan

TYPES = {
    "id": "integer",
    "small": "smallint",
    "amount": "numeric(10,2)",
    "rate": "double precision",
    "customer": "text",
    "zip": "character varying(10)",
    "is_open": "boolean",
    "day": "date",
    "local": "timestamp without time zone",
    "seen": "timestamp(3) with time zone",
    "guid": "uuid",
    "peer": "inet",
    "tags": "text[]",
    "Mixed Case": "text",
}
SHAPE = TableShape(
    schema="public", name="orders", key=("id",), columns=tuple(Column(name=n, type=t) for n, t in TYPES.items())
)


def asked(text: str) -> Filter:
    return read_filter(text, SHAPE)


def one(text: str) -> tuple[str, str, tuple[str, ...]]:
    found = asked(text)
    assert isinstance(found, Condition)
    return (found.column, str(found.operator), found.values)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id = 5", ("id", "=", ("5",))),
        ("id = '5'", ("id", "=", ("5",))),
        ("id = 1e2", ("id", "=", ("100",))),
        ("amount >= 1.50", ("amount", ">=", ("1.50",))),
        ("rate != nan", ("rate", "!=", ("NaN",))),
        ("zip = 00012", ("zip", "=", ("00012",))),
        ("customer = 1", ("customer", "=", ("1",))),
        ("customer = 'O'Brien'", ("customer", "=", ("O'Brien",))),
        ("customer = 'O''Brien'", ("customer", "=", ("O'Brien",))),
        ("customer = 'x''", ("customer", "=", ("x'",))),
        ("customer = '''", ("customer", "=", ("'",))),
        ("customer = ''''", ("customer", "=", ("'",))),
        ("customer = ''", ("customer", "=", ("",))),
        ("customer = 'a;b'", ("customer", "=", ("a;b",))),
        ("customer = 'it's; fine'", ("customer", "=", ("it's; fine",))),
        ("customer LIKE 'a%'", ("customer", "LIKE", ("a%",))),
        ("customer ilike '%b'", ("customer", "ILIKE", ("%b",))),
        ("customer IS NULL", ("customer", "IS NULL", ())),
        ("customer is  not null;", ("customer", "IS NOT NULL", ())),
        ("CUSTOMER = 'a'", ("customer", "=", ("a",))),
        ("\"Mixed Case\" = 'a'", ("Mixed Case", "=", ("a",))),
        ("id IN (1, '2',3)", ("id", "IN", ("1", "2", "3"))),
        ("id BETWEEN 1 AND '9'", ("id", "BETWEEN", ("1", "9"))),
        ("is_open = True", ("is_open", "=", ("true",))),
        ("day > 2024-02-29", ("day", ">", ("2024-02-29",))),
        ("local = '2024-01-01 10:00:00+02:00'", ("local", "=", ("2024-01-01 08:00:00",))),
        ("seen < '2024-01-01 10:00'", ("seen", "<", ("2024-01-01 10:00:00+00:00",))),
        (
            "guid = 'A0EEBC999C0B4EF8BB6D6BB9BD380A11'",
            ("guid", "=", ("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",)),
        ),
        ("peer = '10.0.0.1'", ("peer", "=", ("10.0.0.1/32",))),
    ],
)
def test_a_clause_asks_for_what_it_says(text: str, expected: tuple[str, str, tuple[str, ...]]) -> None:
    assert one(text) == expected


def test_nothing_asks_for_nothing() -> None:
    assert asked("") is None
    assert asked(" ; ; ") is None
    assert read_filter(None, SHAPE) is None


def test_clauses_must_all_hold() -> None:
    found = asked("id > 1;customer = 'O'Brien';;zip IS NULL")
    assert isinstance(found, Group)
    assert found.logic is Logic.AND
    assert [member.values for member in found.members if isinstance(member, Condition)] == [("1",), ("O'Brien",), ()]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("id = 1 OR 1=1", "cannot be read after id ="),
        ("id = 1; DROP TABLE orders", "cannot be read"),
        ("id == 1", "cannot be read"),
        ("1 = 1", "cannot be read"),
        ("customer = 'x", "cannot be read"),
        ("id IN ()", "cannot be read"),
        ("id IN (1,)", "cannot be read"),
        ("id IN (SELECT 1)", "cannot be read"),
        ("id BETWEEN 1", "cannot be read"),
        ("id = 1/**/", "cannot be read"),
        ("id = 1 -- x", "cannot be read"),
        ("(id) = 1", "cannot be read"),
        ("customer = 'a'';zip = 'b'", "can be read in two ways"),
        ("nosuch = 1", "names column 'nosuch', which table orders does not have; it has id, small"),
        ("id = abc", "compares id, which is integer, with 'abc', which is none"),
        ("id = 1.5", "compares id, which is integer"),
        ("id = 99999999999", "compares id, which is integer"),
        ("small = 40000", "compares small, which is smallint"),
        ("id = 'inf'", "compares id"),
        ("day = 2023-02-29", "compares day, which is date"),
        ("is_open > true", "uses > on is_open, which is boolean"),
        ("id LIKE '1%'", "uses LIKE on id, which is integer"),
        ("guid = 'x'", "compares guid, which is uuid"),
        ("id = 1e999999999", "compares id, which is integer"),
        ("customer = 'a\x00b'", "NUL"),
        (
            '{"version": 2, "groups": [{"conditions": [{"column": "zip", "operator": "=", "value": "\\ud800"}]}]}',
            "half a",
        ),
        ("a=1;" * 6, "more than 5 conditions"),
        ("id=1;" * 1900, "more than 5 conditions"),
        ("customer = '" + "x" * 10_000 + "'", "longer than 10000"),
        ("{", "begins as JSON and is none"),
        ('{"version": 1}', "not of version 2"),
    ],
)
def test_anything_else_is_refused_with_a_sentence(text: str, told: str) -> None:
    with pytest.raises(PermanentError) as caught:
        asked(text)
    assert told in str(caught.value)


def version_2(*groups: Any, between: list[str] | None = None) -> str:
    return json.dumps({"version": 2, "groups": list(groups), "interLogic": between or []})


def group(*conditions: tuple[Any, ...], logic: str = "AND") -> dict[str, Any]:
    keys = ("column", "operator", "value", "value2")
    return {"conditions": [dict(zip(keys, c, strict=False)) for c in conditions], "intraLogic": logic}


def compared(column: str, value: str) -> Condition:
    return Condition(column=column, operator=Operator.EQUAL, values=(value,))


def test_groups_are_joined_as_if_in_parentheses() -> None:
    """An OR slipped out of the engine's conditions, so that its job never ended."""
    found = asked(version_2(group(("id", "=", 1), ("zip", "=", "a"), logic="OR")))
    expected = Group(logic=Logic.OR, members=(compared("id", "1"), compared("zip", "a")))
    assert found == expected
    kept = compared("customer", "c")
    assert both(found, kept) == Group(logic=Logic.AND, members=(expected, kept))


def test_and_binds_before_or_between_groups() -> None:
    text = version_2(group(("id", "=", "1")), group(("id", "=", "2")), group(("id", "=", "3")), between=["OR", "AND"])
    right = Group(logic=Logic.AND, members=(compared("id", "2"), compared("id", "3")))
    assert asked(text) == Group(logic=Logic.OR, members=(compared("id", "1"), right))


def test_version_2_has_lists_ranges_and_patterns_of_its_own() -> None:
    assert one(version_2(group(("id", "IN", "1, 2")))) == ("id", "IN", ("1", "2"))
    assert one(version_2(group(("id", "in", [1, 2])))) == ("id", "IN", ("1", "2"))
    assert one(version_2(group(("id", "BETWEEN", 1, 5)))) == ("id", "BETWEEN", ("1", "5"))
    assert one(version_2(group(("customer", "LIKE", "v")))) == ("customer", "LIKE", ("%v%",))
    assert one(version_2(group(("customer", "IS NULL", None)))) == ("customer", "IS NULL", ())
    assert one(version_2(group(("is_open", "=", True)))) == ("is_open", "=", ("true",))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (version_2(group(*[("id", "=", 1)] * 6)), "more than 5"),
        (version_2(group(("id", "=", 1)), group(("id", "=", 2))), "interLogic"),
        (version_2(group(("id", "=", 1)), group(), between=["OR"]), "every row"),
        (version_2(group(("id", "XOR", 1))), "operator 'XOR' is not known"),
        (version_2(group(("id", "=", None))), "without a value"),
        (version_2(group(("id", "BETWEEN", 1))), "without a value"),
        (version_2(group(("id", "IN", ""))), "lists no value"),
        (version_2(group((5, "=", 1))), "names no column"),
        (version_2(group(("id", "=", 1), logic="NAND")), "AND and OR"),
        (json.dumps({"version": 2, "groups": 5}), "is no list"),
    ],
)
def test_version_2_that_makes_no_sense_is_refused(text: str, told: str) -> None:
    with pytest.raises(PermanentError, match=told):
        asked(text)


QUOTES = st.text(alphabet="'\";ab= \\", max_size=30)
COMMENTS = st.sampled_from(["--", "/*", "*/", "#", "x' --", "'; DROP TABLE t; --", "1; SELECT pg_sleep(9)"])
UNICODE = st.text(max_size=30)
KEYWORDS = st.sampled_from(["NULL", "OR 1=1", "AND id = 1", "SELECT", "UNION ALL SELECT", "x' OR 'a'='a", "IS NULL"])
NULL_BYTES = st.text(alphabet="\x00'a", min_size=1, max_size=9).filter(lambda text: "\x00" in text)
OVERLONG = st.integers(9_000, 12_000).map(lambda size: "x" * size)
HOSTILE = {
    "quotes": QUOTES,
    "comments": COMMENTS,
    "unicode": UNICODE,
    "keywords": KEYWORDS,
    "null bytes": NULL_BYTES,
    "overlong": OVERLONG,
}


@pytest.mark.parametrize("kind", HOSTILE)
@given(drawn=st.data())
def test_a_hostile_value_is_a_plain_value_or_refused(kind: str, drawn: st.DataObject) -> None:
    """As the platform writes it, without doubling a quote: what comes of it is this value, never more than it."""
    value = drawn.draw(HOSTILE[kind])
    text = f"customer = '{value}'"
    try:
        found = asked(text)
    except PermanentError:
        return
    conditions = list(found.members) if isinstance(found, Group) else [found]
    assert all(isinstance(each, Condition) and each.column in TYPES for each in conditions)
    if ";" not in value:
        # The platform deletes every ; from a value, so that its clauses end where it says.
        assert (
            found == Condition(column="customer", operator=Operator.EQUAL, values=(value.replace("''", "'"),))
            or "''" in value
        )


@given(column=st.sampled_from(sorted(TYPES)), values=st.lists(st.text(max_size=20), min_size=1, max_size=3))
def test_what_is_written_is_read_as_it_was_meant_or_not_written(column: str, values: list[str]) -> None:
    for operator, given_values in ((Operator.EQUAL, values[:1]), (Operator.IN, values)):
        try:
            text = write_clause(column, operator, given_values)
        except PermanentError:
            continue
        assert scan(text) == (Clause(column=column, operator=operator, values=tuple(given_values)),)


@given(text=st.text(alphabet="ab'\";=<> INORULKE()0%,", max_size=60))
def test_no_text_raises_anything_but_a_sentence(text: str) -> None:
    with suppress(PermanentError):
        asked(text)


def test_only_what_is_ambiguous_is_not_written() -> None:
    assert write_clause("customer", Operator.EQUAL, ["O'Brien"]) == "customer = 'O''Brien'"
    with pytest.raises(PermanentError, match="two ways"):
        write_clause("customer", Operator.EQUAL, ["x';zip = 'y"])
