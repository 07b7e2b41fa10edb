"""Scrubbing in processes: the same as in one, once a text, and never past a death."""

import os
import signal
from collections.abc import Iterator

import pytest

from backfill_assets.adapters.pii import pool
from backfill_assets.adapters.pii.analysis import scrub
from backfill_assets.adapters.pii.pool import PooledScrubber
from backfill_assets.core.scrubbing import MemoryScrubber, Scrubber
from backfill_assets.errors import ConfigurationError, RejectedRecord

SECRET = "Spoke with Gordon Fairweather, MRN 00482917"


@pytest.fixture(scope="module")
def pooled() -> Iterator[PooledScrubber]:
    with PooledScrubber(processes=2, names=False) as scrubber:
        yield scrubber


@pytest.fixture(params=["pooled", "memory"])
def scrubber(request: pytest.FixtureRequest, pooled: PooledScrubber) -> Scrubber:
    return pooled if request.param == "pooled" else MemoryScrubber(private=["00482917"])


def test_scrubs_in_order_and_repeats_what_is_asked_twice(scrubber: Scrubber) -> None:
    texts = ["MRN 00482917", "nothing here", "MRN 00482917"]
    found = scrubber.scrub(texts)
    assert "00482917" not in found[0].text
    assert [found[1].text, found[2]] == ["nothing here", found[0]]
    assert sum(found[0].counts.values()) == 1
    assert scrubber.rules


def test_nothing_is_asked_of_nothing(scrubber: Scrubber) -> None:
    assert list(scrubber.scrub([])) == []


def test_processes_find_what_one_finds(pooled: PooledScrubber) -> None:
    texts = [f"{number}: MRN {number:08d}, call 617-555-{number:04d}" for number in range(300)]
    assert pooled.scrub(texts) == scrub(texts, names=False)


def test_a_text_is_scrubbed_once() -> None:
    with PooledScrubber(processes=1, names=False) as scrubber:
        first = scrubber.scrub([SECRET])
        scrubber.close()
        assert scrubber.scrub([SECRET]) == first
        assert scrubber.worker_ids() == []


def test_memory_is_bounded() -> None:
    with PooledScrubber(processes=1, names=False, remembered=2) as scrubber:
        scrubber.scrub([f"text {number}" for number in range(5)])
        scrubber.close()
        scrubber.scrub(["text 4"])
        assert scrubber.worker_ids() == []
        scrubber.scrub(["text 0"])
        assert scrubber.worker_ids() != []


def test_modes_do_not_share_a_version() -> None:
    assert PooledScrubber(processes=1).rules != PooledScrubber(processes=1, names=False).rules


def test_a_killed_worker_stops_the_record_and_the_next_has_new_ones() -> None:
    with PooledScrubber(processes=1, names=False) as scrubber:
        scrubber.scrub(["warm up"])
        [worker] = scrubber.worker_ids()
        os.kill(worker, signal.SIGKILL)
        with pytest.raises(RejectedRecord, match="died") as caught:
            scrubber.scrub([SECRET])
        assert "Fairweather" not in str(caught.value)
        assert "00482917" not in scrubber.scrub([SECRET])[0].text


def test_an_error_in_a_worker_quotes_no_text() -> None:
    with pytest.raises(RejectedRecord) as caught:
        pool.scrub_slice([SECRET, None], names=False)  # type: ignore[list-item]
    assert "Fairweather" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_no_process_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least one process"):
        PooledScrubber(processes=0)
