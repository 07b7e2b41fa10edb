"""The grammar of SOQL: what it means, what it refuses, and what it says about time and id."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfill_assets.sandbox.logic import Cover
from backfill_assets.sandbox.ordering import Order
from backfill_assets.sandbox.salesforce.schema import CASE, OBJECTS, whole_id
from backfill_assets.sandbox.salesforce.soql import SoqlError
from backfill_assets.sandbox.salesforce.soql_syntax import parse
from backfill_assets.sandbox.selection import Box, Selection

IDS = OBJECTS[CASE].ids
RECORD: dict[str, Any] = {
    "Id": IDS.write(17),
    "Subject": "Zoë's printer",
    "Status": "New",
    "Origin": None,
    "IsClosed": False,
    "AccountId": "0015f0000000017AAA",
    "SystemModstamp": "2024-01-07T00:00:00.000+0000",
    "ClosedDate": None,
}
JANUARY_7 = 1_704_585_600


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("Status = 'new'", True),
        ("Status != 'New'", False),
        ("Status <> 'New'", False),
        ("Origin = null", True),
        ("Origin != null", False),
        ("Origin != 'Web'", True),
        ("Origin > 'A'", False),
        ("Status IN ('New', 'Closed')", True),
        ("Status NOT IN ('New', 'Closed')", False),
        ("NOT Status = 'New'", False),
        ("Subject LIKE 'zo%'", True),
        ("Subject LIKE 'zo_'", False),
        (r"Subject = 'Zoë\'s printer'", True),
        ("IsClosed = false", True),
        ("isclosed = TRUE", False),
        ("IsClosed = false AND Status = 'New' AND Origin = null", True),
        ("Status = 'x' OR (Status = 'New' AND Origin = null)", True),
        ("(Status = 'x' OR Status = 'New') AND IsClosed = true", False),
        ("SystemModstamp >= 2024-01-07T00:00:00Z", True),
        ("SystemModstamp > 2024-01-07T00:00:00.000Z", False),
        ("SystemModstamp = 2024-01-07T01:00:00+01:00", True),
        ("ClosedDate < 2024-01-07T00:00:00Z", False),
        ("AccountId = '0015f0000000017'", True),
        ("AccountId = '0015f0000000017aaa'", False),
    ],
)
def test_a_condition_means_what_it_says(condition: str, expected: bool) -> None:
    assert parse(f"SELECT Id FROM Case WHERE {condition}").condition.matches(RECORD) is expected


def test_a_whole_query_is_read_with_its_order_and_its_bounds() -> None:
    soql = parse("select id, SUBJECT from case order by systemmodstamp desc, Id asc limit 10 offset 20")
    assert [field.name for field in soql.fields] == ["Id", "Subject"]
    assert soql.orders == (Order(field="SystemModstamp", descending=True), Order(field="Id"))
    assert (soql.limit, soql.offset) == (10, 20)
    assert parse("SELECT COUNT() FROM Lead").fields == ()


@pytest.mark.parametrize(
    ("text", "code", "complaint"),
    [
        ("", "MALFORMED_QUERY", "<EOF>"),
        ("SELECT FROM Case", "MALFORMED_QUERY", "Case"),
        ("SELECT Id, FROM Case", "MALFORMED_QUERY", "Case"),
        ("SELECT Id FROM Case WHERE", "MALFORMED_QUERY", "<EOF>"),
        ("SELECT Id FROM Case WHERE Status", "MALFORMED_QUERY", "<EOF>"),
        ("SELECT Id FROM Case WHERE Status ~ 'x'", "MALFORMED_QUERY", "~"),
        ("SELECT Id FROM Case WHERE Status = New", "MALFORMED_QUERY", "New"),
        ("SELECT Id FROM Case WHERE Status IN 'x'", "MALFORMED_QUERY", "'x'"),
        ("SELECT Id FROM Case WHERE (Status = 'x'", "MALFORMED_QUERY", "<EOF>"),
        ("SELECT Id FROM Case WHERE Status = 'x' OR Status = 'y' AND Id = null", "MALFORMED_QUERY", "AND"),
        ("SELECT Id FROM Case ORDER Id", "MALFORMED_QUERY", "Id"),
        ("SELECT Id FROM Case ORDER BY Description", "MALFORMED_QUERY", "sorted"),
        ("SELECT Id FROM Case LIMIT many", "MALFORMED_QUERY", "many"),
        ("SELECT Id FROM Case LIMIT 1 nonsense", "MALFORMED_QUERY", "nonsense"),
        ("SELECT Id FROM Case WHERE SystemModstamp > 2024-13-01T00:00:00Z", "MALFORMED_QUERY", "2024-13-01"),
        ("SELECT Id FROM Case WHERE " + "NOT " * 60 + "Id = null", "MALFORMED_QUERY", "50 levels"),
        ("SELECT Nothing FROM Case", "INVALID_FIELD", "No such column 'Nothing' on entity 'Case'"),
        ("SELECT Id FROM Case WHERE Description = 'x'", "INVALID_FIELD", "filtered"),
        ("SELECT Id FROM Account WHERE BillingAddress = null", "INVALID_FIELD", "filtered"),
        ("SELECT Id FROM Case WHERE SystemModstamp > '2024-01-01T00:00:00Z'", "INVALID_FIELD", "type datetime"),
        ("SELECT Id FROM Case WHERE IsClosed = 'true'", "INVALID_FIELD", "type boolean"),
        ("SELECT Id FROM Case WHERE IsClosed > false", "INVALID_FIELD", "type boolean"),
        ("SELECT Id FROM Case WHERE Status = true", "INVALID_FIELD", "type picklist"),
        ("SELECT Id FROM Lead WHERE NumberOfEmployees LIKE '3'", "INVALID_FIELD", "type int"),
        ("SELECT Id FROM Unicorn", "INVALID_TYPE", "'Unicorn' is not supported"),
        ("SELECT Id FROM Case OFFSET 2001", "NUMBER_OUTSIDE_VALID_RANGE", "2000"),
    ],
)
def test_a_query_that_makes_no_sense_is_refused_in_salesforces_words(text: str, code: str, complaint: str) -> None:
    with pytest.raises(SoqlError) as refused:
        parse(text)
    assert refused.value.code == code
    assert complaint in str(refused.value)


@pytest.mark.parametrize(
    ("condition", "start", "end"),
    [
        (
            "SystemModstamp >= 2024-01-07T00:00:00Z AND SystemModstamp < 2024-01-08T00:00:00Z",
            JANUARY_7,
            JANUARY_7 + 86_400,
        ),
        ("LastModifiedDate > 2024-01-07T00:00:00Z AND Status = 'New'", JANUARY_7 + 1, None),
        ("SystemModstamp = 2024-01-07T00:00:00.500Z AND Id > 'x'", None, None),
        ("SystemModstamp > 2024-01-07T00:00:00Z OR Status = 'New'", None, None),
        ("NOT SystemModstamp > 2024-01-07T00:00:00Z", None, None),
        ("CreatedDate > 2024-01-07T00:00:00Z", None, None),
    ],
)
def test_the_range_of_time_is_read_off_a_condition(condition: str, start: int | None, end: int | None) -> None:
    boxes = parse(f"SELECT Id FROM Case WHERE {condition}").condition.cover().boxes
    hull = Selection(boxes=tuple(box for box in boxes if not box.is_empty)).hull
    assert (hull.start, hull.end) == (start, end)


def test_named_ids_are_looked_up_one_by_one() -> None:
    covered = parse(f"SELECT Id FROM Case WHERE Id IN ('{IDS.write(17)}', '{IDS.write(3)[:15]}')").condition.cover()
    assert covered == Cover(boxes=(Box(low=17, high=18), Box(low=3, high=4)), is_exact=True)


@given(st.integers(0, 70), st.sampled_from(("<", "<=", ">", ">=", "=")), st.sampled_from(("", "0", "!")))
def test_ids_are_bounded_by_texts_that_need_not_be_ids(number: int, operator: str, rest: str) -> None:
    text = IDS.write(number) + rest
    covered = parse(f"SELECT Id FROM Case WHERE Id {operator} '{text}'").condition.cover()
    compare = {"<": str.__lt__, "<=": str.__le__, ">": str.__gt__, ">=": str.__ge__, "=": str.__eq__}[operator]
    inside = [n for n in range(80) if Selection(boxes=covered.boxes).covers(n, 0)]
    assert inside == [n for n in range(80) if compare(IDS.write(n), text)]


def test_the_check_of_an_id_says_which_letters_are_upper_case() -> None:
    assert whole_id("001D000000IRFma") == "001D000000IRFmaIAH"
    assert whole_id("too short") == "too short"
    assert [IDS.number(IDS.write(n)) for n in range(0, 10_000, 997)] == list(range(0, 10_000, 997))
    assert IDS.number("5005f0000000000AAB") is None
