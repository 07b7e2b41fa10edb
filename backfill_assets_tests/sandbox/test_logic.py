"""Conditions put together by and, or and not: the ranges that follow from them hold all that they let through."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfill_assets.sandbox.logic import (
    MOST_BOXES,
    UNKNOWN,
    WHATEVER,
    And,
    Cover,
    Node,
    Not,
    Or,
    id_cover,
    interval,
    moment_cover,
)
from backfill_assets.sandbox.selection import EVERYTHING, NOTHING, Box, Selection

OPERATORS = ("=", "<", "<=", ">", ">=")
SIZE = 8


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A comparison of a record's id, moment or colour."""

    field: str
    operator: str
    value: float

    def matches(self, record: Mapping[str, Any]) -> bool:
        """See `Node.matches`."""
        found, value = float(record[self.field]), self.value
        return {
            "=": found == value,
            "<": found < value,
            "<=": found <= value,
            ">": found > value,
            ">=": found >= value,
        }[self.operator]

    def cover(self) -> Cover:
        """See `Node.cover`."""
        if self.field == "id":
            return id_cover(self.operator, self.value)
        return moment_cover(self.operator, self.value) if self.field == "moment" else UNKNOWN


VALUES = st.integers(0, 2 * SIZE).map(lambda half: half / 2)
LEAVES: st.SearchStrategy[Node] = st.builds(
    Compared, field=st.sampled_from(("id", "moment", "colour")), operator=st.sampled_from(OPERATORS), value=VALUES
)
NODES: st.SearchStrategy[Node] = st.recursive(
    LEAVES,
    lambda parts: st.one_of(
        st.builds(And, parts=st.lists(parts, max_size=3).map(tuple)),
        st.builds(Or, parts=st.lists(parts, max_size=3).map(tuple)),
        st.builds(Not, part=parts),
    ),
    max_leaves=8,
)
RECORDS = [{"id": i, "moment": m, "colour": (i + m) % 3} for i in range(1, SIZE) for m in range(SIZE)]


@given(NODES)
def test_a_cover_holds_what_the_condition_lets_through_and_nothing_else_where_it_is_exact(node: Node) -> None:
    covered = node.cover()
    selection = Selection(boxes=covered.boxes)
    inside = [record for record in RECORDS if selection.covers(record["id"], record["moment"])]
    met = [record for record in RECORDS if node.matches(record)]
    assert met == inside if covered.is_exact else all(record in inside for record in met)
    assert all(selection.hull.covers(record["id"], record["moment"]) for record in inside)


@given(
    st.lists(st.sampled_from(range(SIZE)), min_size=4, max_size=4),
    st.lists(st.sampled_from(range(SIZE)), min_size=4, max_size=4),
)
def test_what_is_in_both_boxes_is_in_their_meeting(one: list[int], other: list[int]) -> None:
    boxes = [Box(start=a, end=b, low=c, high=d) for a, b, c, d in (one, other)]
    meeting, around = boxes[0].meet(boxes[1]), boxes[0].around(boxes[1])
    for record in RECORDS:
        place = record["id"], record["moment"]
        inside = [box.covers(*place) for box in boxes]
        assert meeting.covers(*place) == all(inside)
        assert around.covers(*place) or not any(inside)
        assert not (meeting.is_empty and all(inside))


def test_a_keyset_is_two_boxes_that_do_not_meet() -> None:
    later = Compared(field="moment", operator=">", value=5)
    same = And(parts=(Compared(field="moment", operator="=", value=5), Compared(field="id", operator=">", value=3)))
    covered = And(parts=(Or(parts=(later, same)), Compared(field="moment", operator="<", value=9))).cover()
    assert covered == Cover(boxes=(Box(start=6, end=9), Box(start=5, end=6, low=4)), is_exact=True)
    assert Selection(boxes=covered.boxes).are_disjoint


def test_too_many_alternatives_become_one_box_around_them() -> None:
    many = Or(parts=tuple(Compared(field="id", operator="=", value=2 * n) for n in range(MOST_BOXES + 1))).cover()
    assert many == Cover(boxes=(Box(low=0, high=2 * MOST_BOXES + 1),), is_exact=False)


def test_no_condition_lets_everything_and_no_alternative_nothing_through() -> None:
    assert WHATEVER.cover() == Cover(boxes=(EVERYTHING,), is_exact=True)
    assert Selection(boxes=Or(parts=()).cover().boxes).hull == NOTHING


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("value", [3, 3.5])
def test_an_interval_holds_the_whole_numbers_that_compare_so(operator: str, value: float) -> None:
    start, end = interval(operator, value)
    inside = [n for n in range(SIZE) if (start is None or start <= n) and (end is None or n < end)]
    assert inside == [n for n in range(SIZE) if Compared(field="n", operator=operator, value=value).matches({"n": n})]
