"""The grammar of ConnectWise's conditions: what it means, what it refuses, and what it says about time and id."""

from typing import Any

import pytest

from backfill_assets.errors import UsageError
from backfill_assets.sandbox.connectwise.condition_syntax import parse
from backfill_assets.sandbox.logic import Cover
from backfill_assets.sandbox.selection import Box, Selection

RECORD: dict[str, Any] = {
    "id": 17,
    "summary": 'Printer "A" offline',
    "closedFlag": False,
    "actualHours": 1.5,
    "contact": None,
    "board": {"id": 2, "name": "Help Desk"},
    "requiredDate": "2024-01-05T00:00:00Z",
    "_info": {"lastUpdated": "2024-01-07T00:00:00Z"},
}
FIELDS = {*RECORD, "lastUpdated"}
JANUARY_7 = 1_704_585_600


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id = 17", True),
        ("id != 17", False),
        ("id < 18 and id > 16", True),
        ("id <= 16 or id >= 18", False),
        ("not id = 16", True),
        ("not (id = 16 or id = 17)", False),
        ("id = 17 or id = 1 and id = 2", True),
        ("(id = 17 or id = 1) and id = 2", False),
        ("id in (1, 17)", True),
        ("id not in (1, 17)", False),
        ('board/name = "Help Desk"', True),
        ('board/name = "help desk"', True),
        ('board/name in ("Projects", "Help Desk")', True),
        ("board/id=2", True),
        ('summary like "printer%"', True),
        ('summary like "%line"', True),
        ('summary like "%A%off%"', True),
        ('summary like "printer"', False),
        ('summary not like "printer%"', False),
        ('summary contains "offline"', True),
        ('summary not contains "online"', True),
        (r'summary contains "\"A\""', True),
        ("closedFlag = False", True),
        ("closedFlag = true", False),
        ("actualHours > 1.25", True),
        ("actualHours > -1", True),
        ("contact = null", True),
        ("contact != NULL", False),
        ('contact/name = "Jane"', False),
        ('contact/name like "%"', False),
        ("contact/id > 0", False),
        ('id = "17"', False),
        ("summary > 3", False),
        ("closedFlag = 0", False),
        ("requiredDate < [2024-01-06]", True),
        ("requiredDate = [2024-01-05T01:00:00+01:00]", True),
        ("lastUpdated >= [2024-01-07T00:00:00Z]", True),
        ("lastUpdated > [2024-01-07T00:00:00Z]", False),
        ("_info/lastUpdated = [2024-01-07T00:00:00Z]", True),
        ("lastUpdated < [2024-01-07T00:00:00.001Z]", True),
        ("id = 3 OR id = 17", True),
        ("id = 17 AND NOT closedFlag = TRUE", True),
    ],
)
def test_a_condition_means_what_it_says(text: str, expected: bool) -> None:
    assert parse(text, known=FIELDS).matches(RECORD) is expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("id >", "expected a value at the end"),
        ("id", "expected an operator at the end"),
        ("id = 1 and", "expected a field at the end"),
        ("(id = 1", "expected ')' at the end"),
        ("id = 1)", "expected the end at position 6"),
        ("id == 1", "expected a value at position 4, found '='"),
        ("id = one", "expected a value at position 5, found 'one'"),
        ("id in 1", "expected '('"),
        ("id in ()", "expected a value"),
        ("id = 1 id = 2", "expected the end at position 7, found 'id'"),
        ('summary = "open', "unexpected"),
        ("summary like 5", "like needs a string"),
        ("id not > 5", "expected an operator"),
        ("lastUpdated > [yesterday]", "not a datetime"),
        ("lastUpdated > [2024-13-01]", "not a datetime"),
        ("lastUpdated > [2024-01-01", "unexpected"),
        ('lastUpdated > "2024-01-01"', "needs a datetime in square brackets"),
        ("lastUpdate > [2024-01-01]", "there is no field 'lastUpdate'"),
        ("id = 1; drop", "unexpected"),
        ("(" * 60 + "id = 1" + ")" * 60, "more than 50 levels"),
        ("not " * 5000 + "id = 1", "more than 50 levels"),
    ],
)
def test_a_condition_that_makes_no_sense_is_refused_with_its_place(text: str, complaint: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse(text, known=FIELDS)
    assert complaint in str(refused.value)


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("lastUpdated >= [2024-01-07] and lastUpdated < [2024-01-08]", JANUARY_7, JANUARY_7 + 86_400),
        ("lastUpdated > [2024-01-07] and lastUpdated <= [2024-01-08]", JANUARY_7 + 1, JANUARY_7 + 86_401),
        ("lastUpdated >= [2024-01-07T00:00:00.5Z]", JANUARY_7 + 1, None),
        ("_info/lastUpdated < [2024-01-07T00:00:00.5Z]", None, JANUARY_7 + 1),
        ("lastUpdated = [2024-01-07]", JANUARY_7, JANUARY_7 + 1),
        ("lastUpdated > [2020-01-01] and (lastUpdated >= [2024-01-07] and id > 3)", JANUARY_7, None),
        ("lastUpdated >= [2024-01-07] or id = 3", None, None),
        ("not lastUpdated >= [2024-01-07]", None, None),
    ],
)
def test_the_range_of_time_is_read_off_a_condition(text: str, start: int | None, end: int | None) -> None:
    hull = Selection(boxes=parse(text, known=FIELDS).cover().boxes).hull
    assert (hull.start, hull.end) == (start, end)


def test_ids_are_bounded_and_what_is_left_over_is_looked_at() -> None:
    plain = parse("id > 5 and id <= 20", known=FIELDS).cover()
    assert plain == Cover(boxes=(Box(low=6, high=21),), is_exact=True)
    further = parse("id > 5 and id <= 20 and closedFlag = False and board/id = 2", known=FIELDS).cover()
    assert further == Cover(boxes=(Box(low=6, high=21),), is_exact=False)


def test_named_ids_are_looked_up_one_by_one() -> None:
    covered = parse("id in (17, 3)", known=FIELDS).cover()
    assert covered == Cover(boxes=(Box(low=17, high=18), Box(low=3, high=4)), is_exact=True)
