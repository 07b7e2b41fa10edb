"""The rules one by one, and that their version changes with them."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backfill_assets.adapters.pii import vocabulary
from backfill_assets.adapters.pii.analysis import scrub
from backfill_assets.adapters.pii.patterns import RULES, RULES_VERSION, luhn, mod97, resident

DIGEST = {"pii-1": "?"}
"""Of the rules, by version. When this fails: raise `RULES_VERSION`, and write the new pair in place of the old one."""

PRIVATE = (
    "078-05-1120",
    "4111111111111111",
    "DE89370400440532013000",
    "g.fair@example.org",
    "13812345678",
    "11010519491231002X",
)


def test_rules_that_change_have_a_new_version() -> None:
    written = [(rule.entity, rule.pattern, rule.valid and rule.valid.__name__) for rule in RULES]
    rules = repr((written, sorted(vocabulary.DEVICE_WORDS)))
    assert {RULES_VERSION: hashlib.sha256(rules.encode()).hexdigest()} == DIGEST


@pytest.mark.parametrize(
    ("valid", "good", "bad"),
    [
        (luhn, "4111 1111 1111 1111", "4111 1111 1111 1112"),
        (mod97, "DE89 3704 0044 0532 0130 00", "DE88 3704 0044 0532 0130 00"),
        (resident, "11010519491231002X", "110105194912310021"),
    ],
)
def test_check_digits_decide(valid: object, good: str, bad: str) -> None:
    assert callable(valid)
    assert valid(good)
    assert not valid(bad)


@pytest.mark.parametrize(
    "text",
    [
        "CT扫描仪图像伪影，更换探测器",
        "Definition Edge aborts at 120 kV, error 4013 at 10:42:11, part 10762340",
        "2 Harmonic Table Drive ordered",
        "Service on 2024-05-11, version 5.12.3.1",
    ],
)
def test_what_is_technical_stays(text: str) -> None:
    assert scrub([text], names=True)[0].text == text


def test_places_are_counted_by_class() -> None:
    [found] = scrub(["Call 617-555-0142 or 617-555-0143, MRN 00482917"], names=False)
    assert found.text == "Call [PHONE] or [PHONE], MRN [MRN]"
    assert found.counts == {"PHONE": 2, "MRN": 1}


@settings(deadline=None, max_examples=150)
@given(st.text(max_size=80))
def test_any_text_can_be_scrubbed_and_then_stays(text: str) -> None:
    once = scrub([text], names=True)[0].text
    assert scrub([once], names=True)[0].text == once


@settings(deadline=None, max_examples=150)
@given(st.text(max_size=40), st.sampled_from(PRIVATE), st.text(max_size=40))
def test_no_surroundings_bring_private_text_into_view(before: str, private: str, after: str) -> None:
    assert private not in scrub([f"{before}, {private}, {after}".replace(private, "", 0)], names=False)[0].text
