"""How a value is found in the data of a process instance, and how it becomes text.

Here belong the rules, which are the same for every database; which task's data is meant, and reading it, belong to the
adapters. A path walks dictionaries only: a list, a text, a number or nothing on the way means that there is no value.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

MOST_CHARACTERS = 255
"""What the product's column holds; characters, not bytes."""

EMPTY_HASH = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
"""The product's name for the document `{}`, which needs no reading."""

NOT_STORABLE = "its value holds a NUL or half a character, which a text column cannot hold"
NOT_READABLE = "the data of its last completed task cannot be decoded"
NOT_THERE = "the data of its last completed task is missing from json_data"

_DECODER = json.JSONDecoder()
_UNFIT = re.compile("[\0\ud800-\udfff]")


class Value(NamedTuple):
    """A value as text, whether it was cut, and why it cannot be stored, where it cannot.

    One is made for each instance and field, and a tuple is made three times as fast as a frozen dataclass.
    """

    text: str
    truncated: bool = False
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What one document holds at a path; `shadows` where it decides what a document below it says there."""

    shadows: bool
    value: Value | None


NOTHING = Found(shadows=False, value=None)


def segments(path: str) -> Sequence[str]:
    """The keys that lead to the value, `customer.id` being two; keys with a dot in them cannot be reached."""
    return path.split(".")


def find(document: Any, keys: Sequence[str]) -> Found:
    """Walk one document."""
    if not isinstance(document, dict) or keys[0] not in document:
        return NOTHING
    for key in keys:
        if not isinstance(document, dict) or key not in document:
            return Found(shadows=True, value=None)
        document = document[key]
    return Found(shadows=True, value=as_value(document))


def find_all(text: str, paths: Sequence[Sequence[str]]) -> Sequence[Found] | None:
    """Decode one document and walk it along each path; None where it cannot be decoded."""
    try:
        document = _DECODER.decode(text)
        return [find(document, keys) for keys in paths]
    except (ValueError, RecursionError):
        return None


def merged(json_data: Found, python_env_data: Found) -> Value | None:
    """The value that a task has: the product merges both documents, and json_data wins, also with a null."""
    return json_data.value if json_data.shadows else python_env_data.value


def as_value(decoded: Any) -> Value | None:
    """A decoded value as the product writes it; None for null, for which the product keeps no row."""
    if decoded is None:
        return None
    text = str(decoded)
    kept = text[:MOST_CHARACTERS]
    fits = (kept.isascii() and "\0" not in kept) or not _UNFIT.search(kept)
    problem = "" if fits else NOT_STORABLE
    return Value(text=kept, truncated=len(text) > MOST_CHARACTERS, problem=problem)


def value_of_json(text: str | None) -> Value | None:
    """The value that this JSON text stands for; what cannot be decoded is a value with a problem."""
    if text is None or text == "null":
        return None
    # Most values are plain texts and numbers, and decoding is what takes the time.
    if text.startswith('"') and "\\" not in text:
        return as_value(text[1:-1])
    if text.isdigit() and len(text) <= MOST_CHARACTERS:
        return as_value(text)
    try:
        return as_value(_DECODER.decode(text))
    except (ValueError, RecursionError):
        return Value(text="", problem=NOT_READABLE)
