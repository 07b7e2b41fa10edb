"""The labelled work orders: `{CLASS|private}` must go, `<term>` must stay. Every person in them is fictitious.

`held_out.txt` was written before the rules and is not tuned on; `tuning.txt` is what rules are tuned on.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HALVES = ("held_out", "tuning")

_PRIVATE = re.compile(r"\{(\w+)\|([^}]*)\}")
_KEPT = re.compile(r"<([^>]*)>")
_TITLES = {"Dr", "Mr", "Mrs", "Ms"}


@dataclass(frozen=True, kw_only=True)
class Line:
    """A work order's text, what is private in it by class, and the terms to be kept."""

    text: str
    private: Sequence[tuple[str, str]]
    kept: Sequence[str]


def lines(half: str) -> list[Line]:
    """All lines of one half; Chinese names are a class of their own."""
    written = (Path(__file__).parent / f"{half}.txt").read_text(encoding="utf-8").splitlines()
    return [
        Line(
            text=_KEPT.sub(r"\1", _PRIVATE.sub(r"\2", line)),
            private=[
                ("CHINESE NAME" if _chinese(kind, value) else kind, value) for kind, value in _PRIVATE.findall(line)
            ],
            kept=_KEPT.findall(line),
        )
        for line in written
    ]


def leaks(value: str, scrubbed: str) -> bool:
    """Whether any part of a private value is still to be read."""
    left = re.sub(r"\[[A-Z]+\]", " ", scrubbed)
    return value in left or any(part in left for part in re.findall(r"\w{2,}", value) if part not in _TITLES)


def _chinese(kind: str, value: str) -> bool:
    return kind == "NAME" and not value.isascii() and "\u4e00" <= value[0] <= "\u9fff"
