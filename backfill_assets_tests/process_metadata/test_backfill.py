"""What the use case does around the batches: lines, counts, tries, letters, and where it stops."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Self

import pytest

from backfill_assets.adapters.spiffworkflow.memory import MemoryInstances
from backfill_assets.core.dead_letters import Fate
from backfill_assets.core.instances import Part, Span, Texts
from backfill_assets.core.metadata import MetadataField
from backfill_assets.errors import BackfillError, PermanentError, RejectedRecord, TransientError, UsageError
from backfill_assets.process_metadata.backfill import MonthFailed
from backfill_assets_tests.process_metadata.filling import NOW, Filling, in_month, months, total
from backfill_assets_tests.process_metadata.installations import CUSTOMER, DANGLING, MODEL, TOTAL, Shop, orders

TOKEN = "celery_task_backfill_metadata[run-1]: "


class Troubled(MemoryInstances):
    """A database whose transactions fail as they are told to, by month; `away` where nothing works from then on."""

    def __init__(self, shop: Shop, failures: dict[str, list[BackfillError]], *, away: bool = False) -> None:
        super().__init__(shop)
        self._failures = failures
        self._month = ""
        self._away = away
        self.broken = False

    def cut(self, part: Part, limit: int) -> Span | None:
        """See `InstanceDatabase.cut`."""
        self._month = part.month.key if part.month else ""
        return super().cut(part, limit)

    @contextmanager
    def begin(self) -> Iterator[Self]:
        """See `InstanceDatabase.begin`."""
        if failures := self._failures.get(self._month):
            self.broken = self._away
            raise failures.pop(0)
        with super().begin() as work:
            yield work

    def check(self) -> None:
        """See `InstanceDatabase.check`."""
        if self.broken:
            raise TransientError("The database is away.")


def outcomes_by_month(filling: Filling, fields: Sequence[MetadataField]) -> dict[str, str]:
    return {
        outcome.month.key[:7]: outcome.reason if isinstance(outcome, MonthFailed) else "done"
        for outcome in filling.backfill.fill(months(2, 4), fields)
    }


def three_months() -> Shop:
    shop = Shop()
    for month in (2, 3, 4):
        for _ in range(3):
            shop.order({"customer": {"id": 1}, "total": 2}, created_at=in_month(month))
    return shop


def test_the_lines_are_those_of_the_usage_guide() -> None:
    filling = Filling(database=MemoryInstances(orders(10)), batch_size=4)
    filling.fill([CUSTOMER])
    seconds = filling.lines[-1].rpartition("Time: ")[2]
    assert filling.lines == [
        f"{TOKEN}Starting metadata backfill for process model: {MODEL}",
        f"{TOKEN}Metadata backfill progress: 4/10 instances processed for model {MODEL}",
        f"{TOKEN}Metadata backfill progress: 8/10 instances processed for model {MODEL}",
        f"{TOKEN}Metadata backfill progress: 10/10 instances processed for model {MODEL}",
        f"{TOKEN}Completed metadata backfill for process model: {MODEL}. Processed: 10, Updated: 10, Time: {seconds}",
    ]
    assert seconds == f"{float(seconds[:-1]):.2f}s"


def test_no_line_and_no_letter_holds_a_value() -> None:
    shop = Shop()
    for value in ("Secret\0", "Secret", "Secret" * 100):
        shop.order({"customer": {"id": value}})
    filling = Filling(database=MemoryInstances(shop))
    filling.fill([CUSTOMER])
    [letter] = filling.letters.letters()
    assert "Error processing metadata backfill for instance 1, key customer: its value holds a NUL" in filling.lines[1]
    assert "Secret" not in repr((filling.lines, letter))
    assert json.loads(letter.payload) == {
        "process_instance_id": 1,
        "key": "customer",
        "path": "customer.id",
        "rewrite_before": None,
    }


def test_every_instance_is_counted_once() -> None:
    shop = Shop()
    for data in ({"total": 1}, {"total": "x" * 256}, {"total": None}, {}, {"total": "\0"}):
        shop.order(data)
    shop.order(json_data_hash=DANGLING)
    shop.row(shop.order({"total": 2}), TOTAL, "live", in_month(1))
    [march] = Filling(database=MemoryInstances(shop)).fill([TOTAL], months(3, 3))
    counts = march.counts
    assert (counts.processed, counts.updated, counts.unchanged, counts.missing, counts.failed) == (7, 2, 1, 2, 2)
    assert counts.truncated == 1


def test_one_pass_serves_all_fields_and_each_is_told_of() -> None:
    shop = orders(9)
    filling = Filling(database=MemoryInstances(shop), batch_size=100)
    done = filling.fill([CUSTOMER, TOTAL], months(2, 3))
    assert [(one.month.key, one.field, one.counts.updated) for one in done] == [
        ("2024-02-01", CUSTOMER, 0),
        ("2024-02-01", TOTAL, 0),
        ("2024-03-01", CUSTOMER, 9),
        ("2024-03-01", TOTAL, 9),
    ]
    assert sum("progress" in line for line in filling.lines) == 1


def test_no_more_instances_than_asked_for_are_processed() -> None:
    filling = Filling(database=MemoryInstances(three_months()), batch_size=2)
    done = filling.fill([CUSTOMER], most_instances=5)
    assert total(done).processed == 5
    assert "5/5" in filling.lines[-2]


def test_what_comes_before_a_batch_may_end_it_between_two() -> None:
    shop, asked = orders(10), []

    def stop_at_the_third() -> None:
        asked.append(len(shop.rows))
        if len(asked) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Filling(database=MemoryInstances(shop), batch_size=2).fill([CUSTOMER], before_batch=stop_at_the_third)
    assert asked == [0, 2, 4]
    assert len(shop.rows) == 4


def test_a_failure_that_passes_is_tried_three_more_times_with_longer_and_longer_pauses() -> None:
    failures = [TransientError("A deadlock.") for _ in range(3)]
    database = Troubled(three_months(), {"2024-03-01": list(failures)})
    filling = Filling(database=database)
    assert outcomes_by_month(filling, [CUSTOMER]) == {"2024-02": "done", "2024-03": "done", "2024-04": "done"}
    assert filling.pauses == [1.0, 2.0, 4.0]
    assert len(database.installation.rows) == 9


def test_a_month_that_fails_for_good_costs_no_other() -> None:
    failures = [TransientError("A deadlock.") for _ in range(4)]
    filling = Filling(database=Troubled(three_months(), {"2024-03-01": list(failures)}))
    assert outcomes_by_month(filling, [CUSTOMER]) == {"2024-02": "done", "2024-03": "A deadlock.", "2024-04": "done"}
    assert "Error processing metadata backfill for process model shop/order, month 2024-03-01" in str(filling.lines)


def test_what_cannot_pass_is_not_tried_again() -> None:
    filling = Filling(database=Troubled(three_months(), {"2024-02-01": [PermanentError("No such table.")]}))
    assert outcomes_by_month(filling, [CUSTOMER])["2024-02"] == "No such table."
    assert filling.pauses == []


def test_a_database_that_does_not_work_ends_it_and_all_that_is_left_has_failed() -> None:
    failures = [TransientError("It is away.") for _ in range(4)]
    filling = Filling(database=Troubled(three_months(), {"2024-03-01": list(failures)}, away=True))
    found = outcomes_by_month(filling, [CUSTOMER])
    assert found == {"2024-02": "done", "2024-03": "It is away.", "2024-04": "It is away."}


def test_a_month_that_failed_can_be_filled_again() -> None:
    shop = three_months()
    list(Filling(database=Troubled(shop, {"2024-03-01": [PermanentError("No.")]})).backfill.fill(months(), [CUSTOMER]))
    assert len(shop.rows) == 6
    [march] = Filling(database=MemoryInstances(shop)).fill([CUSTOMER], months(3, 3))
    assert (march.complete, len(shop.rows)) == (True, 9)


class Picky(MemoryInstances):
    """A database that does not take the rows of one instance."""

    def write(
        self, part: Part, rows: Mapping[str, Texts], *, at: datetime, rewrite_before: datetime | None
    ) -> Mapping[str, int]:
        """See `InstanceWork.write`."""
        if any(instance == 3 for instance, _ in rows.get("customer", ())):
            raise RejectedRecord("It did not take a row.")
        return super().write(part, rows, at=at, rewrite_before=rewrite_before)


def test_a_row_that_the_database_does_not_take_costs_only_that_field_of_its_instance() -> None:
    shop = orders(6)
    filling = Filling(database=Picky(shop), batch_size=100)
    done = {one.field: one for one in filling.fill([CUSTOMER, TOTAL], months(3, 3))}
    assert (done[CUSTOMER].counts.updated, done[CUSTOMER].counts.failed) == (5, 1)
    assert (done[TOTAL].counts.updated, done[TOTAL].counts.failed) == (6, 0)
    assert (done[CUSTOMER].complete, done[TOTAL].complete) == (False, True)
    assert [(letter.table, letter.record_id) for letter in filling.letters.letters()] == [("customer", "3")]


def test_a_letter_names_model_key_instance_and_partition() -> None:
    shop = Shop()
    shop.order(json_data_hash=DANGLING)
    filling = Filling(database=MemoryInstances(shop))
    filling.fill([MetadataField(model=MODEL, key="a, b", path="a")])
    [letter] = filling.letters.letters()
    assert (letter.domain, letter.tenant, letter.service, letter.table) == ("process_metadata", "", MODEL, "a, b")
    assert (letter.record_id, letter.version, letter.run_id, letter.seen_at) == ("1", "", "run-1", NOW)
    assert letter.partition == "2024-03-01|shop/order:a%2C b"


def test_a_letter_is_gone_once_its_instance_fits() -> None:
    shop = Shop()
    shop.order(json_data_hash=DANGLING)
    filling = Filling(database=MemoryInstances(shop))
    filling.fill([CUSTOMER, TOTAL])
    assert len(filling.letters.letters()) == 2
    shop.documents[DANGLING] = '{"total": 5}'
    filling.fill([TOTAL])
    assert [letter.table for letter in filling.letters.letters()] == ["customer"]


def test_letters_are_tried_again_one_by_one() -> None:
    shop = Shop()
    mended, still = (shop.order(json_data_hash=name) for name in (DANGLING, "e" * 64))
    gone = shop.order(json_data_hash="f" * 64)
    filling = Filling(database=MemoryInstances(shop))
    filling.fill([TOTAL])
    shop.documents[DANGLING] = '{"total": 5}'
    shop.instances = [one for one in shop.instances if one.id != gone]
    answered = list(filling.backfill.retry(filling.letters.letters()))
    assert [(one.letter.record_id, one.fate) for one in answered] == [
        (str(mended), Fate.STORED),
        (str(still), Fate.KEPT),
        (str(gone), Fate.GONE),
    ]
    assert {place: row.value for place, row in shop.rows.items()} == {(mended, "total"): "5"}
    assert [letter.record_id for letter in filling.letters.letters()] == [str(still)]


def test_a_letter_of_an_overwriting_backfill_still_overwrites_when_it_is_tried_again() -> None:
    shop = Shop()
    instance = shop.order(json_data_hash=DANGLING)
    shop.row(instance, TOTAL, "old", in_month(1))
    filling = Filling(database=MemoryInstances(shop))
    filling.fill([TOTAL], overwrite_before=NOW)
    shop.documents[DANGLING] = '{"total": 5}'
    filling.now = NOW + timedelta(days=1)
    [answered] = filling.backfill.retry(filling.letters.letters())
    assert (answered.fate, shop.rows[instance, "total"].value) == (Fate.STORED, "5")


def test_fields_of_two_models_are_refused() -> None:
    filling = Filling(database=MemoryInstances(Shop()))
    with pytest.raises(UsageError, match="exactly one process model"):
        filling.fill([CUSTOMER, MetadataField(model="other", key="k", path="p")])
    with pytest.raises(UsageError, match="exactly one process model"):
        filling.fill([])


def test_recounting_changes_nothing() -> None:
    shop = orders(3)
    filling = Filling(database=MemoryInstances(shop))
    [found] = filling.recount([CUSTOMER], months(3, 3))
    assert (found.source_rows, found.rows, found.counts.processed, shop.rows) == (3, 0, 0, {})
