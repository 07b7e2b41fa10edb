"""How a run says which of its partitions failed.

Here belongs the sentence; what fails, and when, belongs to the domains.
"""

from collections.abc import Sequence

SHOWN_FAILURES = 5


def failure_sentence(failed: Sequence[tuple[str, str]], *, of: int) -> str:
    """How many partitions failed, and why: each reason once, with the partitions that it hit."""
    by_reason: dict[str, list[str]] = {}
    for key, reason in failed:
        by_reason.setdefault(reason, []).append(key)
    told = [f"{_few(keys)}: {reason}" for reason, keys in list(by_reason.items())[:SHOWN_FAILURES]]
    more = len(by_reason) - len(told)
    return "; ".join(
        [f"{len(failed)} of {of} partitions failed", *told, *([f"and {more} more reasons"] if more else [])]
    )


def _few(keys: Sequence[str]) -> str:
    shown = ", ".join(keys[:3])
    return shown if len(keys) <= 3 else f"{shown} and {len(keys) - 3} more"
