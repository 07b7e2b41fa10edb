"""The grammar of ServiceNow's encoded queries: what it means, what it lets pass, and what it says about time and id."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfill_assets.sandbox.logic import Cover
from backfill_assets.sandbox.ordering import Order
from backfill_assets.sandbox.selection import Box, Selection
from backfill_assets.sandbox.servicenow.encoded_query import EncodedQuery, parse
from backfill_assets.sandbox.servicenow.records import ids_of

IDS = ids_of("key")
RECORD: Mapping[str, str] = {
    "sys_id": IDS.write(17),
    "number": "INC0000017",
    "priority": "2",
    "state": "10",
    "short_description": "Printer ^ offline",
    "closed_at": "",
    "sys_updated_on": "2024-01-07 00:00:00",
    "caller_id": "7",
    "caller_id.name": "Zoë Żak",
}
JANUARY_7 = 1_704_585_600


def read(record: Mapping[str, Any], field: str) -> str | None:
    return record.get(field)


def parsed(text: str) -> EncodedQuery:
    return parse(text, ids=IDS, read=read, knows=RECORD.__contains__)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("number=INC0000017", True),
        ("number=inc0000017", True),
        ("number!=INC0000017", False),
        ("priority<3", True),
        ("priority<=1", False),
        ("state>9", True),
        ("state>=11", False),
        ("priorityIN1,2", True),
        ("priorityIN3,4", False),
        ("priorityNOT IN3,4", True),
        ("closed_atISEMPTY", True),
        ("numberISEMPTY", False),
        ("numberISNOTEMPTY", True),
        ("closed_at>2020-01-01 00:00:00", False),
        ("closed_at!=2020-01-01 00:00:00", True),
        ("short_descriptionLIKEoffline", True),
        ("short_descriptionNOT LIKEoffline", False),
        ("short_descriptionSTARTSWITHprint", True),
        ("short_descriptionENDSWITHprint", False),
        ("short_descriptionLIKEr ^^ o", True),
        ("caller_id.nameSTARTSWITHzoë", True),
        ("priority=1^ORpriority=2", True),
        ("priority=2^ORpriority=1^state=11", False),
        ("state=11^priority=1^ORpriority=2", False),
        ("state=11^NQpriority=2", True),
        ("state=11^NQpriority=2^number=x", False),
        ("unheard=1", True),
        ("unheard.of=1^priority=2", True),
        ("priority", True),
        ("sys_updated_on>=yesterday", True),
        ("sys_updated_on<=2024-01-07", True),
        ("sys_updated_on<2024-01-07^priority=2", False),
        ("sys_updated_on=2024-01-07T00:00:00Z^priority=2", True),
    ],
)
def test_a_query_means_what_it_says(text: str, expected: bool) -> None:
    assert parsed(text).condition.matches(RECORD) is expected


def test_orders_are_read_wherever_they_stand_and_only_of_fields_that_exist() -> None:
    query = parsed("ORDERBYpriority^state=10^ORDERBYDESCsys_updated_on^ORDERBYunheard^NQstate=9")
    assert query.orders == (Order(field="priority"), Order(field="sys_updated_on", descending=True))


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("sys_updated_on>=2024-01-07 00:00:00^sys_updated_on<2024-01-08 00:00:00", JANUARY_7, JANUARY_7 + 86_400),
        ("sys_updated_on>2024-01-07 00:00:00^priority=1", JANUARY_7 + 1, None),
        ("sys_updated_on<=2024-01-07 00:00:00", None, JANUARY_7 + 1),
        ("sys_updated_on>2024-01-08^NQsys_updated_on=2024-01-07", JANUARY_7, None),
        ("sys_updated_on>=2024-01-07^ORpriority=1", None, None),
    ],
)
def test_the_range_of_time_is_read_off_a_query(text: str, start: int | None, end: int | None) -> None:
    hull = Selection(boxes=parsed(text).condition.cover().boxes).hull
    assert (hull.start, hull.end) == (start, end)


def test_named_ids_are_looked_up_one_by_one_and_others_are_nowhere() -> None:
    covered = parsed(f"sys_idIN{IDS.write(17)}, {IDS.write(3)}").condition.cover()
    assert covered == Cover(boxes=(Box(low=17, high=18), Box(low=3, high=4)), is_exact=True)
    assert all(box.is_empty for box in parsed("sys_id=nonsense").condition.cover().boxes)


@given(st.integers(0, 50), st.sampled_from(("<", "<=", ">", ">=", "=")), st.sampled_from(("", "0", "!")))
def test_ids_are_bounded_by_texts_that_need_not_be_ids(number: int, operator: str, rest: str) -> None:
    text = IDS.write(number) + rest
    covered = parsed(f"sys_id{operator}{text}").condition.cover()
    compare = {"<": str.__lt__, "<=": str.__le__, ">": str.__gt__, ">=": str.__ge__, "=": str.__eq__}[operator]
    inside = [n for n in range(60) if Selection(boxes=covered.boxes).covers(n, 0)]
    assert inside == [n for n in range(60) if compare(IDS.write(n), text)]
