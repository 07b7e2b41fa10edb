"""How much of the labelled private text goes, and how much of the rest stays, on each half."""

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

import pytest

from backfill_assets.adapters.pii.analysis import scrub
from backfill_assets_tests.work_orders.pii.labelled import HALVES, Line, leaks, lines

PATTERNED = ("MRN", "SERIAL", "CARD", "ID", "BANK", "ADDRESS", "EMAIL", "PHONE", "DOB")


def recall(half: Sequence[Line], scrubbed: Sequence[str]) -> dict[str, Fraction]:
    there, gone = Counter[str](), Counter[str]()
    for line, text in zip(half, scrubbed, strict=True):
        for kind, value in line.private:
            there[kind] += 1
            gone[kind] += not leaks(value, text)
    return {kind: Fraction(gone[kind], there[kind]) for kind in there}


@pytest.fixture(scope="module", params=HALVES)
def half(request: pytest.FixtureRequest) -> list[Line]:
    return lines(request.param)


@pytest.fixture(scope="module")
def scrubbed(half: list[Line]) -> list[str]:
    return [found.text for found in scrub([line.text for line in half], names=True)]


def test_each_half_has_two_hundred_lines_and_every_class(half: list[Line]) -> None:
    assert len(half) >= 200
    assert {kind for line in half for kind, _ in line.private} == {*PATTERNED, "NAME", "CHINESE NAME"}


def test_patterned_identifiers_go(half: list[Line], scrubbed: list[str]) -> None:
    there = [
        (value, text)
        for line, text in zip(half, scrubbed, strict=True)
        for kind, value in line.private
        if kind in PATTERNED
    ]
    kept = [value for value, text in there if leaks(value, text)]
    assert len(kept) <= 0.02 * len(there), kept


def test_latin_names_go(half: list[Line], scrubbed: list[str]) -> None:
    assert recall(half, scrubbed)["NAME"] >= 0.85


def test_chinese_names_go(half: list[Line], scrubbed: list[str]) -> None:
    assert recall(half, scrubbed)["CHINESE NAME"] >= 0.85


def test_products_and_components_survive(half: list[Line], scrubbed: list[str]) -> None:
    lost = [term for line, text in zip(half, scrubbed, strict=True) for term in line.kept if term not in text]
    assert len(lost) <= 0.1 * sum(len(line.kept) for line in half), lost


def test_lines_without_anything_private_stay_as_they_are(half: list[Line], scrubbed: list[str]) -> None:
    """Of what is replaced as a name, at least nine in ten are names."""
    changed = [text for line, text in zip(half, scrubbed, strict=True) if not line.private and text != line.text]
    assert len(changed) <= 0.1 * sum(not line.private for line in half), changed


def test_scrubbing_what_is_scrubbed_changes_nothing(scrubbed: list[str]) -> None:
    assert [found.text for found in scrub(scrubbed, names=True)] == scrubbed


def test_patterns_alone_find_the_identifiers_too(half: list[Line]) -> None:
    found = [one.text for one in scrub([line.text for line in half], names=False)]
    there = [
        (value, text)
        for line, text in zip(half, found, strict=True)
        for kind, value in line.private
        if kind in PATTERNED
    ]
    assert sum(leaks(value, text) for value, text in there) <= 0.02 * len(there)
