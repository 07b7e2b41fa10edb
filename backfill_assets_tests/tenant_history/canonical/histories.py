"""Random histories, full of ties, deletions, repetitions and texts that look like something else."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from random import Random
from typing import Any

from hypothesis import strategies as st

from backfill_assets_tests.tenant_history.canonical.reference import Version
from backfill_assets_tests.tenant_history.canonical.worlds import ALERTS, REQUESTS, version

TEXTS = (
    None,
    "",
    "-",
    "1",
    "1,1",
    "|",
    "a|b",
    "null",
    "NULL",
    "'",
    '"; DROP',
    "\\",
    "\n",
    "\0",
    "a\0b",
    "ä",
    "ａ",
    "💥",
)
VALUES: Mapping[str, Mapping[str, Sequence[Any]]] = {
    REQUESTS.name: {
        "title": TEXTS,
        "hours": (None, 0.0, -0.0, 0.1, 0.1 + 0.2, -1.5, 1e300, 5e-324),
        "visits": (None, 0, -1, 2**63 - 1, -(2**63)),
        "active": (None, True, False),
        "due": (None, date(1, 1, 1), date(2024, 2, 29)),
        "seen": (None, datetime(1, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, 0, 0, 0, 1, tzinfo=UTC)),
        "editor": ("a", "b"),
    },
    ALERTS.name: {"title": TEXTS, "level": TEXTS},
}
MINUTES = (0, 1, 1440, 1441, 4320)
IDS = (-1, 2, 10)


def versions_of(name: str) -> st.SearchStrategy[Sequence[Version]]:
    """Versions of one table, each (id, time) once; a column may be absent from all of them."""
    values = {column: st.sampled_from(found) for column, found in VALUES[name].items()}
    marked = {"record_id": st.sampled_from(IDS), "minute": st.sampled_from(MINUTES), "deleted": st.booleans()}

    def of(columns: frozenset[str]) -> st.SearchStrategy[Sequence[Version]]:
        found = st.fixed_dictionaries({**marked, **{name: values[name] for name in sorted(columns)}})
        return st.lists(found, max_size=10, unique_by=lambda x: (x["record_id"], x["minute"])).map(
            lambda rows: [version(**row) for row in rows]
        )

    return st.frozensets(st.sampled_from(sorted(values))).flatmap(of)


def raws() -> st.SearchStrategy[Mapping[str, Sequence[Version]]]:
    """Histories over both tables."""
    return st.fixed_dictionaries({name: versions_of(name) for name in VALUES})


def random_raw(random: Random, *, each: int) -> Mapping[str, Sequence[Version]]:
    """A history with at most so many versions of each table, spread over 12 days."""
    return {name: _random_versions(random, name, each) for name in VALUES}


def _random_versions(random: Random, name: str, each: int) -> Sequence[Version]:
    keys = {(random.randrange(6), random.randrange(36) * 480) for _ in range(each)}
    return [
        version(
            record_id,
            minute,
            deleted=random.random() < 0.2,
            **{column: random.choice(found[:3]) for column, found in VALUES[name].items()},
        )
        for record_id, minute in sorted(keys)
    ]
