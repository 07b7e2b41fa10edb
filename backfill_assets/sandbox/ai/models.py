"""What the stand-in's models answer: always the same for the same text.

Here belong answers and tokens. They are derived from the text, so that a test can say what is right: `insight` and
`vector` are the truth. Texts that share words have vectors that are near each other.
"""

import json
from functools import lru_cache
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt

CHARACTERS_PER_TOKEN = 4
LONGEST_TEXT = 100_000

Floats = npt.NDArray[np.float32]


def insight(text: str) -> dict[str, Any]:
    """The insight of a text; every tenth text tells no cause and no resolution."""
    words, digest = text.split(), sha256(text.encode()).digest()
    tells_all = digest[0] % 10 != 0
    return {
        "component": f"Component {digest[1] % 50}",
        "fault": " ".join(words[:6])[:200],
        "cause": f"Cause {digest[2] % 20}" if tells_all else "",
        "resolution_steps": ["Replaced the part", f"Ran test {digest[3] % 9}"] if tells_all else [],
        "summary": f"Work order: {text[:200]}",
        "confidence": digest[4] % 101 / 100,
    }


def written(text: str) -> str:
    """The insight as a model writes it."""
    return json.dumps(insight(text), ensure_ascii=False)


def tokens(text: str) -> int:
    """How many tokens a text is, for the stand-in; never more than its bytes."""
    return len(text) // CHARACTERS_PER_TOKEN + 1


def vector(text: str, dimensions: int) -> Floats:
    """The sum of its words' vectors, of unit length."""
    words = text.lower().split() or [""]
    total: Floats = np.sum([_word(word, dimensions) for word in words], axis=0, dtype=np.float32)
    length = float(np.linalg.norm(total))
    return np.asarray(total / length if length else _word("", dimensions), dtype=np.float32)


@lru_cache(maxsize=4096)
def _word(word: str, dimensions: int) -> Floats:
    seed = int.from_bytes(sha256(word.encode()).digest()[:8], "big")
    direction = np.random.default_rng(seed).standard_normal(dimensions).astype(np.float32)
    return np.asarray(direction / np.linalg.norm(direction), dtype=np.float32)
