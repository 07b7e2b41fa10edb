"""Taking out of a text what is private, before it leaves.

Here belongs the interface and its in-memory twin. The rules belong to `adapters/pii`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Scrubbed:
    """A text without what is private in it, and how many places of each class were replaced."""

    text: str
    counts: Mapping[str, int] = field(default_factory=dict)


class Scrubber(Protocol):
    """Scrubs texts; threads may share it."""

    @property
    def rules(self) -> str:
        """The version of the rules: what other rules have scrubbed is scrubbed again."""
        ...

    def scrub(self, texts: Sequence[str]) -> Sequence[Scrubbed]:
        """Scrub these, in their order; `RejectedRecord` where one of them cannot be, and then none is given."""
        ...


@dataclass(kw_only=True)
class MemoryScrubber:
    """The scrubber's in-memory twin: replaces the words it is told of; `asked` are the texts it was given."""

    private: Sequence[str] = ()
    rules: str = "memory-1"
    asked: list[str] = field(default_factory=list)

    def scrub(self, texts: Sequence[str]) -> Sequence[Scrubbed]:
        """See `Scrubber.scrub`."""
        self.asked.extend(texts)
        return [self._scrubbed(text) for text in texts]

    def _scrubbed(self, text: str) -> Scrubbed:
        count = sum(text.count(word) for word in self.private)
        for word in self.private:
            text = text.replace(word, "[PRIVATE]")
        return Scrubbed(text=text, counts={"PRIVATE": count} if count else {})
