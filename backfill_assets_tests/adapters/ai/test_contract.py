"""One contract for all providers: two over real HTTP, and the one on this machine."""

import asyncio
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backfill_assets.adapters.ai.opening import Opened
from backfill_assets.core.enrichment import Embeddings, Extraction, Insight, quality
from backfill_assets_tests.adapters.ai.rig import Rig

TEXT = "Gantry fan noisy, error 4013 due to worn bearing. Replaced the fan and ran a test scan."
PECULIAR = [
    "CT扫描仪图像伪影，更换球管后正常。",
    "nul \0 inside of it",
    "half a pair \ud83d here",
    "x" * 20_000,
    '"}]}\n\\',
]


def extractions(rig: Rig, texts: list[str]) -> list[Extraction]:
    async def use(opened: Opened) -> list[Extraction]:
        return list(await asyncio.gather(*map(opened.extractor.extract, texts)))

    return rig.run(use)


def embeddings(rig: Rig, texts: list[str]) -> Embeddings:
    async def use(opened: Opened) -> Embeddings:
        return await opened.embedder.embed(texts)

    return rig.run(use)


def near(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True)) / math.hypot(*one) / math.hypot(*other)


def test_an_extraction_says_what_was_found_and_who_found_it(rig: Rig) -> None:
    [extraction] = extractions(rig, [TEXT])
    method = rig.endpoint.provider if rig.endpoint else "offline"
    assert extraction.origin.method == method
    assert extraction.origin.model_version
    assert extraction.origin.prompt_version
    assert extraction.attempts == 1
    assert extraction.insight.component
    assert extraction.insight.fault
    assert 10 <= len(extraction.insight.summary) <= 500
    assert 0 <= extraction.insight.confidence <= 1
    assert quality(extraction.insight) >= 0.7


def test_the_origin_is_known_before_anything_is_asked(rig: Rig) -> None:
    async def use(opened: Opened) -> bool:
        return (await opened.extractor.extract(TEXT)).origin == opened.extractor.origin

    assert rig.run(use)


@pytest.mark.parametrize("text", PECULIAR, ids=["chinese", "nul", "surrogate", "long", "json"])
def test_peculiar_texts_are_read_too(rig: Rig, text: str) -> None:
    [extraction] = extractions(rig, [text])
    insight = extraction.insight
    told = (insight.component, insight.fault, insight.cause, insight.summary, *insight.resolution_steps)
    assert all("\0" not in each for each in told)
    assert len(embeddings(rig, [text]).vectors) == 1


def test_many_at_once_are_answered_as_one_by_one(rig: Rig) -> None:
    texts = [f"{TEXT} Order {number}." for number in range(40)]
    assert [each.insight for each in extractions(rig, texts)] == [
        each.insight for text in texts for each in extractions(rig, [text])
    ]


def test_vectors_come_in_the_order_of_their_texts_whatever_the_batch(rig: Rig) -> None:
    texts = [f"{['coil', 'pump', 'tube', 'fan'][number % 4]} number {number} broke" for number in range(21)]
    together = embeddings(rig, texts)
    assert len(together.vectors) == 21
    assert {len(vector) for vector in together.vectors} == {together.dimensions}
    for number in (0, 7, 8, 20):
        [alone] = embeddings(rig, [texts[number]]).vectors
        assert (
            near(list(together.vectors[number]), list(alone)) > 0.98
        )  # of a model of eight bits, padding changes a bit


def test_embeddings_say_their_model_before_and_after(rig: Rig) -> None:
    async def use(opened: Opened) -> None:
        embedder = opened.embedder
        said = await embedder.embed([TEXT])
        assert (said.model, said.dimensions, said.method) == (embedder.model, embedder.dimensions, embedder.method)

    rig.run(use)


def test_no_texts_cost_nothing(rig: Rig) -> None:
    nothing = embeddings(rig, [])
    assert (list(nothing.vectors), nothing.spent.requests) == ([], 0)


def test_texts_that_are_alike_are_near_each_other(rig: Rig) -> None:
    texts = ["the cooling pump is leaking water", "water leaks from the cooling pump", "invoice was sent to accounting"]
    one, alike, other = (list(vector) for vector in embeddings(rig, texts).vectors)
    assert near(one, alike) > near(one, other) + 0.2


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text(min_size=10, max_size=300), min_size=1, max_size=5))
def test_whatever_the_text_an_insight_comes_back(rig: Rig, texts: list[str]) -> None:
    assert all(isinstance(each.insight, Insight) for each in extractions(rig, texts))
