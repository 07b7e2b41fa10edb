"""Canonical tables of random histories, beside the reference."""

from collections.abc import Mapping, Sequence
from random import Random

import pytest
from hypothesis import given, settings

from backfill_assets.adapters.lake.storage import Storage
from backfill_assets_tests.tenant_history.canonical.histories import random_raw, raws
from backfill_assets_tests.tenant_history.canonical.reference import Row, Version
from backfill_assets_tests.tenant_history.canonical.worlds import (
    build,
    built,
    expected,
    lake_on,
    rows_in,
    store,
)


@settings(max_examples=60)
@given(raw=raws())
def test_a_history_becomes_what_the_reference_says(
    raw: Mapping[str, Sequence[Version]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = built(raw, tmp_path_factory.mktemp("lake"))
    assert rows == expected(raw)
    require_invariants(rows)


@pytest.mark.parametrize("seed", range(3))
def test_long_histories_become_what_the_reference_says_on_either_storage(storage: Storage, seed: int) -> None:
    raw, lake = random_raw(Random(seed), each=120), lake_on(storage)
    store(lake, raw)
    done = build(lake)
    rows = rows_in(storage)
    assert rows == expected(raw)
    require_invariants(rows)
    assert done.versions == sum(len(found) for found in raw.values())
    assert (done.rows, done.ids) == (len(rows), len({row["source_id"] for row in rows}))
    assert done.current == sum(row["is_current"] for row in rows)


def require_invariants(rows: Sequence[Row]) -> None:
    """Whatever the versions say: at most one row of an id is current, and intervals touch and never overlap."""
    ids = {row["source_id"] for row in rows}
    for history in ([row for row in rows if row["source_id"] == found] for found in ids):
        *earlier, last = history
        assert last["is_current"] == (last["change_type"] != "DELETE")
        assert not any(row["is_current"] for row in earlier)
        for row, after in zip(earlier, history[1:], strict=True):
            ends = row["effective_from"] if row["change_type"] == "DELETE" else after["effective_from"]
            assert row["effective_to"] == ends
            assert row["effective_from"] < after["effective_from"]
