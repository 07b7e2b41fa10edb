"""The quality of insights, and the in-memory twins."""

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfill_assets.core.enrichment import (
    QUALITY_WANTED,
    Insight,
    MemoryEmbedder,
    MemoryExtractor,
    Spent,
    hashed_vector,
    quality,
)

WHOLE = {
    "component": "fan",
    "fault": "noisy",
    "cause": "worn",
    "resolution_steps": ("replaced",),
    "summary": "The fan was noisy.",
}


def insight(**other: object) -> Insight:
    return Insight(**{**WHOLE, "confidence": 1.0, **other})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({}, 1.0),
        ({"cause": ""}, 0.7),
        ({"resolution_steps": ()}, 0.7),
        ({"resolution_steps": (" ",)}, 0.7),
        ({"component": " "}, 0.6),
        ({"fault": ""}, 0.6),
        ({"summary": "x" * 9}, 0.7),
        ({"summary": "x" * 10}, 1.0),
        ({"summary": "x" * 500}, 1.0),
        ({"summary": "x" * 501}, 0.7),
        ({"summary": ""}, 0.3),
        ({"component": "", "cause": "", "summary": ""}, 0.0),
    ],
)
def test_quality_is_what_is_there(other: dict[str, object], expected: float) -> None:
    assert quality(insight(**other)) == expected
    assert (quality(insight(**other)) >= QUALITY_WANTED) == (expected >= 0.7)


def test_calls_add_up() -> None:
    one, other = Spent(requests=1, tokens_in=2, tokens_out=3, dollars=0.5), Spent(requests=1, dollars=0.25)
    assert one + other == Spent(requests=2, tokens_in=2, tokens_out=3, dollars=0.75)
    assert (one + other).tokens == 5


@given(text=st.text(), dimensions=st.integers(min_value=1, max_value=100))
def test_a_hashed_vector_is_a_function_of_its_text_and_has_unit_length(text: str, dimensions: int) -> None:
    text = text.encode(errors="replace").decode()
    vector = hashed_vector(text, dimensions)
    assert vector == hashed_vector(text, dimensions)
    assert len(vector) == dimensions
    assert math.hypot(*vector) == pytest.approx(1)


def test_the_twins_remember_what_they_were_asked() -> None:
    extractor, embedder = MemoryExtractor(), MemoryEmbedder()

    async def use() -> None:
        extraction = await extractor.extract("the fan was noisy")
        assert extraction.origin == extractor.origin
        assert len((await embedder.embed(["one", "two"])).vectors) == 2

    asyncio.run(use())
    assert (extractor.asked, embedder.asked) == (["the fan was noisy"], ["one", "two"])
